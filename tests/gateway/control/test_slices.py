"""Slices from a request's header to the sentence of a status: gathered, counted, booked twice, closed, read."""

import pytest

from gateway.arrival import Arrival
from gateway.config.contents import Contents
from gateway.counting import Counter
from gateway.execution.executor import execute
from gateway.publishing.change import Apply
from gateway.publishing.prepare import nothing_yet, prepare
from gateway.publishing.trials import Trials
from gateway.state.bookings import Booking
from gateway.state.closing import Reporter
from gateway.state.shelf import Shelf
from gateway.tally import Tallies
from runners.core.errors import ExecutionFailed
from tests.gateway.conftest import TODAY, documents

NOW = 1_800_000_000.0
WORDS = {
    "attributes": {"tier": {"header": "x-tier"}, "country": {"header": "x-country"}},
    "strategy": {"kind": "ab", "shares": {"new": "50%"}, "slices": {"country": ["nz", "au"]}},
}


@pytest.fixture
def shelf(tmp_path):
    kept = Shelf(tmp_path / "state")
    yield kept
    kept.close()


async def test_harm_in_one_country_is_told_of_that_country(shelf, tmp_path, bind, route_request, endpoints):
    """The candidate fails in nz alone. A booking that comes again counts once."""
    meaning = prepare(nothing_yet(tmp_path), Apply(documents(**WORDS)), today=TODAY, contents=Contents()).meaning
    tallies = Tallies()
    route = bind(tally=tallies.route(meaning.routes["digits"].trial(1)), **WORDS)
    for number in range(400):
        country = ("nz", "au", "fr", "")[number % 4]
        routed = route_request(route, x_turnout_unit=f"u{number}", x_country=country)
        endpoints["new"].script = ExecutionFailed("x") if country == "nz" else None
        route.tally.begin(NOW)
        Counter().count(Arrival(NOW, 0.0, routed.facts.event_id, "http", {}), routed, await execute(routed))
    counts = tallies.take(NOW + 20)
    for _ in range(2):
        shelf.bookings().book([Booking("w", 1, counts)], Reporter("a", counts.open_from, {}, NOW + 20), {})

    told = {"routes": [{"route": "digits", "strategy": "ab", "sentence": "ab"}]}
    (line,) = Trials().add(told, meaning, shelf.ledger)["routes"]
    (found,) = line["evidence"]["comparisons"]
    slices = {each["slice"]: each for each in found["slices"]}
    assert [100, 100, 200] == [sum(slices[f"country={value}"]["requests"]) for value in ("nz", "au", "other")]
    assert {"error_rate", "fallback_rate"} == {each["metric"] for each in slices["country=nz"]["contrasts"]}
    assert slices["country=au"]["contrasts"] == slices["country=other"]["contrasts"] == []
    assert "; differs in slices country=nz in error_rate at least " in line["sentence"]
