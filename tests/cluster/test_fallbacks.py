"""Candidates that fail, here and on Ray: whoever asks is answered by the baseline, and is told why."""

import json

import pytest

from tests.cluster.conftest import FAULTS, LATE, PLACES
from tests.gateway.cli.test_serve import BODY, ask

NUMBERS = json.loads(BODY)
(PIXELS,) = NUMBERS["inputs"]
TRIGGER = json.dumps({**NUMBERS, "inputs": [{**PIXELS, "data": [16, *PIXELS["data"][1:]]}]}).encode()


def answered(gateway, route: str, body: bytes) -> tuple[str, str, list]:
    """Who answered, why not the arm that was meant, and what; a copy in the gateway counts as its arm."""
    status, headers, told = ask(gateway.http, f"/v2/models/{route}/infer", body)
    assert status == 200, told
    return headers["x-turnout-arm"].removesuffix("@resident"), headers.get("x-turnout-fallback", ""), told["outputs"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_candidate_that_fails_is_stood_in_for(gateway, place, fault):
    """What went wrong crosses the hop as what it is, and the answer is the baseline's."""
    _, _, numbers = answered(gateway, "digits-baseline", TRIGGER)
    assert ("old", FAULTS[fault], numbers) == answered(gateway, f"{fault}-{place}", TRIGGER)


@pytest.mark.parametrize("place", PLACES)
def test_a_candidate_that_is_late_is_stood_in_for_and_answers_the_next_request(gateway, place, wait_until):
    """A run that nobody waits for is told to end, wherever it is."""
    assert ("old", "timeout") == answered(gateway, f"{LATE}-{place}", TRIGGER)[:2]
    wait_until(lambda: ("new", "") == answered(gateway, f"{LATE}-{place}", BODY)[:2])
