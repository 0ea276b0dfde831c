"""Slices from a request's header to the sentence of a status: gathered, counted, booked twice, closed, read."""

import pytest

from gateway.arrival import Arrival
from gateway.config.contents import Contents
from gateway.counting import Counter
from gateway.execution.executor import execute
from gateway.publishing.change import Apply
from gateway.publishing.evidence import Watches, add_all_evidence
from gateway.publishing.prepare import nothing_yet, prepare
from gateway.publishing.trials import Trials
from gateway.state.bookings import Booking
from gateway.state.closing import Reporter
from gateway.state.shelf import Shelf
from gateway.tally import Tallies
from runners.core.errors import ExecutionFailed
from tests.gateway.conftest import TODAY, ScriptedEndpoint, documents

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


@pytest.fixture
def counted(shelf, tmp_path, bind, route_request, endpoints):
    """A revision and its ledger: the candidate fails in nz alone. A booking that comes again counts once."""

    async def count(words, requests_n=400):
        change = Apply(documents(**words))
        meaning = prepare(nothing_yet(tmp_path), change, today=TODAY, contents=Contents()).meaning
        tallies = Tallies()
        route = bind(tally=tallies.route(meaning.routes["digits"].trial(1)), **words)
        for number in range(requests_n):
            country = ("nz", "au", "fr", "")[number % 4]
            routed = route_request(route, x_turnout_unit=f"u{number}", x_country=country)
            endpoints["new"].script = ExecutionFailed("x") if country == "nz" else None
            route.tally.begin(NOW)
            Counter().count(Arrival(NOW, 0.0, routed.facts.event_id, "http", {}), routed, await execute(routed))
        counts = tallies.take(NOW + 20)
        for _ in range(2):
            shelf.bookings().book([Booking("w", 1, counts)], Reporter("a", counts.open_from, {}, NOW + 20), {})
        return meaning

    return count


async def test_harm_in_one_country_is_told_of_that_country(shelf, counted):
    meaning = await counted(WORDS)

    told = {"routes": [{"route": "digits", "strategy": "ab", "sentence": "ab"}]}
    (line,) = Trials().add(told, meaning, shelf.ledger)["routes"]
    (found,) = line["evidence"]["comparisons"]
    slices = {each["slice"]: each for each in found["slices"]}
    assert [100, 100, 200] == [sum(slices[f"country={value}"]["requests"]) for value in ("nz", "au", "other")]
    assert {"error_rate", "fallback_rate"} == {each["metric"] for each in slices["country=nz"]["contrasts"]}
    assert slices["country=au"]["contrasts"] == slices["country=other"]["contrasts"] == []
    assert "; differs in slices country=nz in error_rate at least " in line["sentence"]


async def test_a_canary_is_told_where_it_differs_and_is_not_judged_by_it(shelf, counted):
    """It is found and told in the sentence; what takes it back are its guardrails."""
    ramp = {"kind": "canary", "candidate": "new", "ramp": [{"share": "50%"}], "guardrails": [{"metric": "run_errors"}]}
    slices = {"country": ["nz", "au"]}
    meaning = await counted({**WORDS, "strategy": {**ramp, "slices": slices}})

    told = {"routes": [{"route": "digits", "strategy": "canary", "sentence": ""}]}
    (line,) = add_all_evidence(told, meaning, Watches().look(meaning, shelf.ledger(), NOW + 20))["routes"]
    found = {each["slice"]: each for each in line["judgement"]["slices"]}
    assert ["country=nz", "country=au", "country=other"] == list(found)
    assert {"error_rate", "fallback_rate"} == {each["metric"] for each in found["country=nz"]["contrasts"]}
    assert "; differs in slices country=nz in error_rate at least " in line["sentence"]
    assert line["sentence"].endswith("(at most 5% of such findings are wrong on average)")
    assert (line["judgement"]["verdict"], line["judgement"]["noise"]) == ("unsure", [])


async def test_how_far_two_copies_of_the_baseline_are_apart_is_told_beside_what_the_candidate_does(
    shelf, counted, endpoints
):
    """What differs between the twin and the rest is no difference of models."""
    endpoints["old@twin"] = ScriptedEndpoint(1)
    canary = {"kind": "canary", "candidate": "new", "ramp": [{"share": "40%"}], "twin": True}
    meaning = await counted({"attributes": WORDS["attributes"], "strategy": canary})

    told = {"routes": [{"route": "digits", "strategy": "canary", "sentence": ""}]}
    (line,) = add_all_evidence(told, meaning, Watches().look(meaning, shelf.ledger(), NOW + 20))["routes"]
    (noise,) = [each for each in line["judgement"]["noise"] if each["metric"] == "latency_s"]
    assert "old@twin" == line["judgement"]["beside"]
    assert noise["candidate_n"] > noise["baseline_n"] > 0  # 40 % and 20 % of the units
