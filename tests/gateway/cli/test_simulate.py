"""`turnout simulate`: what a canary would have done."""

import json
from itertools import groupby
from time import process_time

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.config.directory import load_file
from gateway.simulation.setup import setup_of
from gateway.state.bookings import Booking
from gateway.state.closing import Reporter
from gateway.state.shelf import Shelf
from gateway.tally import Tallies, Trial
from strategies.core.plan import RequestFacts
from strategies.core.state import WAITING, RolloutState
from strategies.rollout.course import after_epoch, enter, published
from tests.gateway.simulation.conftest import ROUTE, as_lines, requests


@pytest.fixture
def simulate(tmp_path):
    """Simulates lines, or observations, with the canary of the other tests of simulations."""
    route = tmp_path / "fraud.yaml"
    route.write_text(ROUTE)
    file = tmp_path / "observations.jsonl"

    def simulating(lines, text: str = ROUTE):
        route.write_text(text)
        file.write_bytes(b"".join(lines))
        return CliRunner().invoke(app, ["simulate", str(route), "--observations", str(file)])

    return simulating


def test_every_run_ends_in_exactly_one_line_of_its_own(simulate):
    """Runs may be mixed; each is a rollout from its first step."""
    streams = [list(requests("good", 30_000)), list(requests("bad", 30_000, harm=8.0)), list(requests(3, 100))]
    mixed = sorted((each for stream in streams for each in stream), key=lambda each: each["t"])
    found = [json.loads(line) for line in simulate(as_lines(mixed)).stdout.splitlines()]
    finals = {line["run"]: line["final"] for line in found if "final" in line}

    assert finals == {"good": "promoted", "bad": "rolled_back", 3: "running"}
    assert sum("final" in line for line in found) == 3
    assert {tuple(line) for line in found} == {
        ("run", "t", "n", "phase", "step", "share_ppm", "verdict", "guardrail", "log_e", "move"),
        ("run", "final", "t", "n"),
    }


def test_runs_by_themselves_are_as_runs_together(simulate):
    one, two = list(requests("one", 20_000, harm=4.0)), list(requests("two", 20_000))
    mixed = sorted(one + two, key=lambda each: each["t"])
    together = simulate(as_lines(mixed)).stdout.splitlines()
    alone = [line for part in (one, two) for line in simulate(as_lines(part)).stdout.splitlines()]
    assert sorted(together) == sorted(alone)


def test_a_million_observations_take_less_than_a_minute(simulate):
    """A tenth of them here, a tenth of that time; processor time, so that neighbours do not matter."""
    lines = as_lines(requests("r", 100_000, rate=1000.0))
    begun = process_time()
    assert simulate(lines, ROUTE.replace("30s", "10m")).exit_code == 0
    assert process_time() - begun < 6


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([b'{"run": 1, "t": 1}\n', b"{no json\n"], "observations.jsonl:2:"),
        ([b'{"run": 1}\n'], "missing required field `t`"),
        ([b'{"run": 1, "t": -1}\n'], "write seconds from 0 on"),
        ([b'{"run": 1, "t": 25}\n', b'{"run": 1, "t": 5}\n'], ":2: run 1: t is in epoch 0, after epoch 2"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(simulate, lines, said):
    found = simulate(lines)
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr


def test_only_a_canary_can_be_simulated(simulate):
    text = ROUTE[: ROUTE.index("strategy:")] + "strategy: {kind: ab, shares: {new: 10%}}\n"
    found = simulate([], text)
    assert (found.exit_code, "kind: ab, which never moves by itself" in found.stderr) == (2, True)


@pytest.mark.parametrize("harm", [1.0, 6.0])
def test_an_exported_ledger_gives_what_was_decided_live(simulate, tmp_path, harm):
    """Requests are counted into the ledger by two workers, and judged there as the control process judges them."""
    setup = setup_of(load_file(_written(tmp_path)))
    shelf = Shelf(tmp_path / "state")
    course, moves = enter(setup.rule, RolloutState()), []
    route = setup.compiled(course.state)
    workers = [Tallies(), Tallies()]
    tallies = _begun(workers, route, course.state.step)
    stream = _by_epoch(requests("r", 40_000, harm=harm, start=1_790_000_000.0))
    for seq, (number, seen) in enumerate(stream, start=1):
        for place, each in enumerate(seen):
            _count(tallies[place % 2], route, each, number)
        now = number * 10.0 + 13
        booked = [Booking(f"w{place}", seq, worker.take(now)) for place, worker in enumerate(workers)]
        shelf.bookings().book(booked, Reporter("gate", number + 1, {}, now), {})
        for epoch in shelf.ledger().epochs("fraud@1", course.epoch):
            course = after_epoch(course, epoch, setup.rule, setup.ramp)
            if course.has_moved:
                moves.append((float(number * 10 + 10), course.state.phase.value, course.state.step + 1))
                course = published(course, course.state)
                route = setup.compiled(course.state, route.decider.allocation)
                tallies = _begun(workers, route, course.state.step)
        if course.state.phase not in WAITING:
            break
    shelf.close()
    exported = CliRunner().invoke(app, ["evidence", "export", "fraud", "--state", str(tmp_path / "state")])
    found = [json.loads(line) for line in simulate([exported.stdout.encode()]).stdout.splitlines()]

    assert [(each["t"], each["phase"], each["step"]) for each in found if each.get("move")] == moves
    assert found[-1]["final"] == ("promoted" if harm == 1.0 else "rolled_back")
    assert len(moves) == 2 if harm == 1.0 else moves[-1][1] == "rolled_back"


def _written(tmp_path):
    file = tmp_path / "live.yaml"
    file.write_text(ROUTE)
    return file


def _begun(workers, route, step):
    shares = {plan.assigned.name: plan.share_ppm for plan in route.plans}
    arms = tuple(each.arm.name for each in route.arms)
    return [worker.route(Trial("fraud@1", step, shares, arms)) for worker in workers]


def _by_epoch(stream):
    return [(number, list(seen)) for number, seen in groupby(stream, key=lambda each: int(each["t"]) // 10)]


def _count(tally, route, seen, number):
    """As a worker counts what an arm answered or failed to."""
    point = route.point_of(seen["unit"].encode())
    assigned = route.decider.allocation.at(point).assigned
    increment = (tally.cells.get(number) or tally.open(number))[assigned.index]
    increment.requests_n += 1
    increment.runs_n += 1
    tally.experiment.meet(point, increment)
    if not seen.get("by_arm", {}).get(assigned.name, seen)["ok"]:
        facts = RequestFacts(seen["unit"], seen["unit"], point)
        tally.experiment.blame("error_rate", assigned.index, facts, seen["t"], increment)
