"""What a route answers whose arms are in several places."""

import re
from urllib.request import urlopen

from tests.gateway.cli.test_serve import BODY, ask

SHADOW_CALLS = re.compile(
    r'^turnout_shadow_calls_total\{arm="watched",outcome="(\w+)",route="mixed"\} [^0]', re.MULTILINE
)


def test_arms_here_and_arms_on_ray_share_a_route(gateway, wait_until):
    """The baseline in the gateway, the candidate and a shadow on Ray: each answers for its own units."""

    def shadowed() -> set[str]:
        return set(SHADOW_CALLS.findall(urlopen(f"http://127.0.0.1:{gateway.metrics}/metrics").read().decode()))

    answers = [ask(gateway.http, "/v2/models/mixed/infer", BODY, x_turnout_unit=f"u{n}") for n in range(40)]
    assert {200} == {status for status, _, _ in answers}
    assert {"old", "new"} == {headers["x-turnout-arm"] for _, headers, _ in answers}
    assert {""} == {headers.get("x-turnout-fallback", "") for _, headers, _ in answers}
    # by chance of idle moments some are dropped; what was called agreed with the baseline, which is the same model
    wait_until(shadowed)
    assert "failed" not in shadowed()
