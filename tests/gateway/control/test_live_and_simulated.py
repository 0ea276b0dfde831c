"""What a gateway decided, decided again: the real conductor over a ledger workers filled, then the real commands."""

import json
import random
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.app import app
from gateway.control.conductor import Conductor
from gateway.increments import LATENCY_BOUNDS_S
from gateway.publishing.change import Apply, Request
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.simulation.run import MOVES
from gateway.state.bookings import Booking
from gateway.state.closing import Reporter
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from gateway.tally import Tallies
from strategies.core.plan import RequestFacts
from strategies.core.state import WAITING
from strategies.evidence.epochs import EPOCH_S, ERROR_RATE
from tests.gateway.simulation.conftest import ROUTE

START_S = 1_800_000_003.0  # amid an epoch
LONG_S = 160
SERVED_AFTER_S = 2  # until workers have taken over what was published
PATIENT = ROUTE.replace("  guardrails:", "  patience: 1m\n  guardrails:")
TIMED = ROUTE.replace("{metric: error_rate, no_worse_than: 3x}", "{metric: latency, no_worse_than: 3x}")

TWINNED = ROUTE.replace("  guardrails:", "  twin: true\n  guardrails:")
TWINNED_TIMED = TIMED.replace("  guardrails:", "  twin: true\n  guardrails:")

Chance = Callable[[float], float]


class Live:
    """A gateway of two workers, second by second: counted, told, booked, judged, published."""

    def __init__(self, folder: Path, text: str) -> None:
        self.now_s = START_S
        self.moves: list[tuple[object, ...]] = []
        self.text = text
        self.shelf = Shelf(folder / "state")
        self.publisher = Publisher(self.shelf, folder, Rehearsal(is_opening=False), clock=lambda: self.now_s)
        self.conductor = Conductor(self.publisher, self.shelf, "gate")
        self._random = random.Random(11)
        self._workers = [Tallies(), Tallies()]
        self._seq = 0

    @property
    def rollout(self):
        return self.publisher.meaning.kept["fraud"].rollout

    async def begin(self) -> None:
        await self.publisher.publish(Request(Apply({"routes/fraud.yaml": self.text}), "ann", Cause.OPERATE))
        self._serve()

    async def live(self, rate: Chance, errors: Chance, slower: float = 1.0, together_n: int = 1) -> None:
        """`rate` requests in a second, the candidate has `errors` in the place of 1 % and is `slower`.

        Epochs are closed `together_n` at once, as where a gateway waits for answers.
        """
        published_at, number = self.now_s, self.publisher.meaning.number
        for second in range(LONG_S):
            for place in range(int(rate(second))):
                self._count(self._tallies[place % 2], errors(second), slower)
            self.now_s += 1
            self._book(together_n)
            before = self.rollout
            await self.conductor.look()
            self._note(before)
            if self.publisher.meaning.number != number:
                published_at, number = self.now_s, self.publisher.meaning.number
            if self.now_s - published_at == SERVED_AFTER_S:
                self._serve()
            if self.rollout.phase not in WAITING:
                return

    def _serve(self) -> None:
        self._route = self.publisher.meaning.routes["fraud"]
        trial = self._route.trial(self.publisher.meaning.number)
        self._tallies = [worker.route(trial) for worker in self._workers]

    def _count(self, tally, errors: float, slower: float) -> None:
        epoch = int(self.now_s) // EPOCH_S
        unit = str(self._random.random())
        point = self._route.point_of(unit.encode())
        assigned = self._route.decider.allocation.at(point).assigned
        increment = (tally.cells.get(epoch) or tally.open(epoch))[assigned.index]
        increment.requests_n += 1
        increment.runs_n += 1
        tally.experiment.meet(point, increment)
        took_s = self._random.uniform(0.01, 0.02) * (slower if assigned.name == "new" else 1.0)
        bucket = bisect_left(LATENCY_BOUNDS_S, took_s)
        increment.latency_n[bucket] = increment.latency_n.get(bucket, 0) + 1
        for metric, limit_s in tally.slow:
            if took_s > limit_s:
                tally.experiment.show(metric, assigned.index, unit, self.now_s, increment)
        if self._random.random() < (errors if assigned.name == "new" else 0.01):
            facts = RequestFacts(unit, unit, point)
            tally.experiment.blame(ERROR_RATE, assigned.index, facts, self.now_s, increment)

    def _book(self, together_n: int) -> None:
        self._seq += 1
        said = [Booking(f"w{place}", self._seq, each.take(self.now_s)) for place, each in enumerate(self._workers)]
        open_from = int(self.now_s) // EPOCH_S // together_n * together_n
        self.shelf.bookings().book(said, Reporter("gate", open_from, {}, self.now_s), {})

    def _note(self, before) -> None:
        now, course = self.rollout, self.conductor.watched["fraud"].course
        if (now.phase, now.step) != (before.phase, before.step):
            judgement = course.judgement
            moved = (now.last_tick_s, MOVES[now.phase], now.phase, now.step + 1)
            self.moves.append((*moved, judgement.verdict, judgement.guardrail))


def decided_again(folder: Path, text: str) -> list[tuple[object, ...]]:
    (folder / "fraud.yaml").write_text(text)
    exported = CliRunner().invoke(app, ["evidence", "export", "fraud", "--state", str(folder / "state")])
    (folder / "epochs.jsonl").write_text(exported.stdout)
    words = ["simulate", str(folder / "fraud.yaml"), "--observations", str(folder / "epochs.jsonl")]
    lines = map(json.loads, CliRunner().invoke(app, words).stdout.splitlines())
    fields = ("t", "move", "phase", "step", "verdict", "guardrail")
    return [tuple(line[field] for field in fields) for line in lines if line.get("move")]


@pytest.mark.parametrize(
    ("text", "how", "ends"),
    [
        pytest.param(ROUTE, {}, ["advance", "promote"], id="as good"),
        pytest.param(ROUTE, {"together_n": 4}, ["advance", "promote"], id="as good, four closed at once"),
        pytest.param(ROUTE, {"errors": lambda _: 0.2}, ["rollback"], id="worse"),
        pytest.param(ROUTE, {"errors": lambda _: 0.2, "together_n": 4}, ["rollback"], id="worse, four closed at once"),
        pytest.param(
            ROUTE,
            {"errors": lambda second: 0.01 if second < 39 else 0.5},
            ["advance", "rollback"],
            id="worse while it takes a step",
        ),
        pytest.param(PATIENT, {"rate": lambda _: 5}, ["hold"], id="too little to know"),
        pytest.param(
            PATIENT, {"rate": lambda second: 5 if second % 40 < 15 else 0}, ["hold"], id="too little, with pauses"
        ),
        pytest.param(PATIENT, {"rate": lambda second: 0 if 30 < second < 145 else 5}, ["hold"], id="then silence"),
        pytest.param(TIMED, {"slower": 3.0}, ["rollback"], id="slower"),
        pytest.param(TWINNED, {"errors": lambda _: 0.2}, ["rollback"], id="worse than its twin"),
        pytest.param(TWINNED_TIMED, {"slower": 3.0}, ["rollback"], id="slower than its twin"),
    ],
)
async def test_an_exported_ledger_gives_what_was_decided_live(tmp_path, text, how, ends):
    """Each move by itself: when, which, where it led, by what verdict and guardrail."""
    for name in ("old.onnx", "new.onnx"):
        (tmp_path / name).write_text(name)
    live = Live(tmp_path, text)
    await live.begin()
    await live.live(**{"rate": lambda _: 100, "errors": lambda _: 0.01} | how)
    live.shelf.close()
    assert ends == [move for _, move, *_ in live.moves]
    assert live.moves == decided_again(tmp_path, text)
