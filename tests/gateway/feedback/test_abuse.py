"""Clicks that are forged, late, foreign, unknown or sent again are told so, counted, and change nothing."""

import json
import subprocess
import sys
import time
from collections import Counter
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.control.clicks import KEY_FILE
from gateway.feedback.keys import keys_of
from gateway.feedback.token import Origin, Sealed, seal, unseal
from tests.gateway.feedback.shop import Client, settled, write_shop

LIMIT_S = 180
pytestmark = pytest.mark.timeout(300)  # gateways start slowly on a busy machine


def opened(state: Path, token: str) -> Sealed:
    """What a token says, to whoever holds the state's secret."""
    return unseal(keys_of((state / KEY_FILE).read_bytes()), token, now=0.0, window_s=1e12)


def team_items(state: Path, token: str, items: list[int]) -> dict[str, list[int]]:
    """Whose each item is."""
    sealed = opened(state, token)
    (row,) = sealed.rows
    found: dict[str, list[int]] = {"a": [], "b": []}
    for item, team in zip(items, row.teams, strict=True):
        found[sealed.rankers[team]].append(item)
    return found


def counted(port: int) -> Counter[str]:
    """How many clicks of which result the metrics tell."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    families = text_string_to_metric_families(connection.getresponse().read().decode())
    connection.close()
    found: Counter[str] = Counter()
    for family in families:
        if family.name == "turnout_feedback_clicks":
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    found[sample.labels["result"]] += int(sample.value)
    return found


def test_nothing_but_a_first_click_on_a_shown_item_in_time_counts(serve, config, tmp_path) -> None:
    """Whatever else is posted, the preference is that of the honest clicks."""
    state = tmp_path / "state"
    gateway = serve(config, state)
    stranger = serve(config, tmp_path / "elsewhere")
    client = Client(gateway.http)
    token, (items,) = client.lists("shop")
    teams = team_items(state, token, items)
    foreign, _ = Client(stranger.http).lists("shop")
    old = seal(keys_of((state / KEY_FILE).read_bytes()), late_origin(opened(state, token)), (Shown(tuple(items)),))
    changed = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")

    mine = {"row": 0, "item": teams["b"][0]}
    assert (200, 1) == first(client.click(token, [mine]), "accepted")
    assert (200, 1) == first(client.click(token, [mine]), "duplicate")
    nowhere = [{"row": 0, "item": 99}, {"row": 1, "item": items[0]}]
    assert (200, 0) == first(client.click(token, nowhere), "accepted")
    theirs = [{"row": 0, "item": item} for item in teams["a"]]
    told = {
        name: client.click(each, theirs) for name, each in (("forged", changed), ("foreign", foreign), ("late", old))
    }
    assert {"forged": 403, "foreign": 403, "late": 410} == {name: status for name, (status, _) in told.items()}
    assert list(told) == [answer["code"] for _, answer in told.values()]

    n = len(theirs)
    expected = {"accepted": 1, "duplicate": 1, "unknown_item": 2, "forged": n, "foreign": n, "late": n}
    assert expected == counted(gateway.metrics)
    stranger.stop()
    gateway.stop()
    results = [result for event in gateway.events("feedback") for result in event["results"]]
    assert ["accepted", "duplicate", "unknown_item", "unknown_item", "forged", "foreign", "late"] == results
    found = settled(state, "shop@1")
    assert (1, 0, 0) == (found.wins, found.losses, found.ties)


def test_a_token_outlives_the_gateway_and_is_good_at_its_neighbours(serve, config, tmp_path) -> None:
    """A click after a restart counts, one through another gateway of the same state too, and each but once."""
    state = tmp_path / "state"
    gateway = serve(config, state)
    token, (items,) = Client(gateway.http).lists("shop")
    gateway.stop()
    again = serve(config, state)
    neighbour = serve(config, state)
    click = [{"row": 0, "item": items[0]}]
    assert (200, 1) == first(Client(again.http).click(token, click), "accepted")
    assert (200, 1) == first(Client(neighbour.http).click(token, click), "duplicate")
    again.stop()
    neighbour.stop()
    found = settled(state, "shop@1")
    assert 1 == found.wins + found.losses + found.ties


def test_clicks_count_once_whichever_worker_takes_them(serve, config, tmp_path) -> None:
    gateway = serve(config, tmp_path / "state", "--workers", "2")
    client = Client(gateway.http)
    token, (items,) = client.lists("shop", **{"x-turnout-unit": "account-1"})
    for _ in range(20):
        client.click(token, [{"row": 0, "item": items[0]}])
    assert Counter(accepted=1, duplicate=19) == Counter(client.results) == counted(gateway.metrics)
    gateway.stop()
    found = settled(tmp_path / "state", "shop@1")
    assert 1 == found.unit_wins + found.unit_losses + found.unit_ties


def test_status_says_which_ranker_people_prefer(serve, tmp_path) -> None:
    """The same words on the state and at the gateway, in text and as JSON, once the window has closed."""
    config, state = write_shop(tmp_path / "config", ["shop"], "feedback_window: 2s\n"), tmp_path / "state"
    gateway = serve(config, state)
    client, ends_at = Client(gateway.http), time.monotonic() + LIMIT_S
    while client.results.count("accepted") < 60:  # a busy machine may be late with some
        assert time.monotonic() < ends_at
        token, (items,) = client.lists("shop", **{"x-turnout-unit": f"account-{len(client.results) % 7}"})
        client.click(token, [{"row": 0, "item": team_items(state, token, items)["b"][0]}])
    server = f"http://127.0.0.1:{gateway.admin}"
    while True:
        (line,) = json.loads(turnout("status", "shop", "--server", server, "-o", "json"))["routes"]
        if not line["lists_open"] and line["preferences"]:
            break
        assert time.monotonic() < ends_at
    (preference,) = line["preferences"]
    sentence = preference["sentence"]
    assert sentence.startswith("people prefer b to a: b won 60 of 60 decided lists, 100.0% (")
    assert "; 7 of 7 units lean to b, p " in sentence
    assert (60, 0, 0, 0.5) == tuple(preference["lists"][word] for word in ("wins", "losses", "ties", "delta"))
    assert [preference] == json.loads(turnout("status", "shop", "--state", str(state), "-o", "json"))["routes"][0][
        "preferences"
    ]
    assert f"shop: {sentence}" in turnout("status", "shop", "--server", server).splitlines()
    assert f"shop: {sentence}" in turnout("status", "--state", str(state)).splitlines()
    assert "people prefer b" in turnout("status", "shop", "--state", str(state), "-o", "yaml")
    gateway.stop()


def turnout(*arguments: str) -> str:
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT_S).stdout


def first(told: tuple[int, dict], word: str) -> tuple[int, int]:
    """The status, and how many clicks were of a kind."""
    return told[0], told[1][word]


def late_origin(sealed: Sealed) -> Origin:
    return Origin("0" * 28, sealed.route, sealed.experiment, sealed.unit, time.time() - 1801)


class Shown:
    """A list of which every item is the baseline's."""

    row, rankers = 0, ("a", "b")

    def __init__(self, items: tuple[int, ...]) -> None:
        self.items = tuple(map(str, items))
        self.shares = ((Fraction(1), Fraction(0)),) * len(items)
