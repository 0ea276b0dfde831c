"""Tallies: what this process has counted and not yet handed over. Written on the event loop alone, so without a lock.

Tallies ── one Experiment per route and beginning ── cells: (step, shares) -> epoch -> one Increment per arm
   │                                                   ▲
take(): everything, once a second           RouteTally: one routing table's view, so that a request looks up little
"""

from collections import defaultdict
from collections.abc import Mapping
from weakref import WeakValueDictionary

from msgspec import Struct, json

from gateway.actions import Action
from gateway.increments import Bad, CellIncrement, CellKey, Counts, Increment
from gateway.slicing import Slicing
from strategies.core.plan import RequestFacts
from strategies.evidence.epochs import EPOCH_S, INVALID_OUTPUT, LATENCY_METRICS
from strategies.evidence.slices import REQUESTS, sliced

UNITS_LIMIT = 1 << 15  # units remembered per experiment; beyond, every other one stands for the rest, and so on
BAD_LIMIT = 1 << 15  # units remembered per experiment and metric for having had their bad event
EXAMPLES_LIMIT = 100  # events that are named per experiment, metric and arm, where units do not bound them
CELLS_LIMIT = 4096  # cells (of all experiments) that wait to be handed over
RUNS_KEPT = 1024  # runs remembered per arm, to count each once
SIGN = 1 << 63
ALL_BITS = (1 << 64) - 1
MIXER = 0x9E3779B97F4A7C15  # odd, so that no two points have one number

Cells = dict[int, list[Increment]]  # epoch -> increments by the arm's index


class Experiment:
    """What all routing tables of one process count for one experiment."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inflight: defaultdict[int, int] = defaultdict(int)  # epoch of arrival -> requests not counted yet
        self.cells: dict[tuple[int, str, tuple[str, ...]], Cells] = {}
        self.lost: set[int] = set()
        self.crowded: set[str] = set()
        self._met: set[int] = set()  # points
        self._skipped = 0  # a unit with any of these bits is not among those that stand for all
        self._bad: defaultdict[str, set[int]] = defaultdict(set)
        self._examples: defaultdict[tuple[str, int], int] = defaultdict(int)

    @property
    def first_open(self) -> int | None:
        """The first epoch that still waits for an answer."""
        return min(self.inflight, default=None)

    def meet(self, point: int, increment: Increment) -> None:
        """Count a unit if it is met here for the first time."""
        if point in self._met:
            return
        unit = number_of(point)
        if unit & self._skipped:
            return
        self._met.add(point)
        increment.units.append(unit)
        if len(self._met) > UNITS_LIMIT:
            self._skipped = self._skipped << 1 | 1
            self._met = {point for point in self._met if not number_of(point) & self._skipped}

    def blame(self, metric: str, arm: int, facts: RequestFacts, at: float, increment: Increment) -> None:
        """Count a bad event, but only the first of a unit that has a name. A request without one stands for itself.

        What is no answer is counted each time: three requests, of whomever, are enough to know.
        """
        known, point = self._bad[metric], facts.point
        if not facts.unit or metric == INVALID_OUTPUT:
            self.show(metric, arm, facts.event_id, at, increment)
        elif point in known:
            return
        elif len(known) >= BAD_LIMIT:
            self.crowded.add(metric)
            increment.event(metric)
        else:
            known.add(point)
            increment.bad.append(Bad(metric, number_of(point), facts.event_id, at))

    def show(self, metric: str, arm: int, event_id: str, at: float, increment: Increment) -> None:
        """Count a bad event whoever's it is, and name it while few of the arm are named."""
        increment.event(metric)
        if self._examples[metric, arm] < EXAMPLES_LIMIT:
            self._examples[metric, arm] += 1
            increment.bad.append(Bad(metric, hash(event_id), event_id, at, counts=False))


def number_of(point: int) -> int:
    """A unit's number, signed, 64 bits: its point, with the bits in the middle of it turned into the lowest.

    Low bits say which units stand for all when there are too many; an arm is told by high ones, so no arm gains by it.
    The points of some hashes have low bits that are all the same, hence the turn.
    """
    mixed = point * MIXER & ALL_BITS
    return (mixed >> 32 | (mixed & 0xFFFF_FFFF) << 32) - SIGN


class Trial(Struct, frozen=True):
    """What a route's requests are counted as under one routing table.

    `slow_s` are the durations beyond which a call is slow, in the order of LATENCY_METRICS; () where nobody asks.
    """

    experiment: str
    step: int
    shares_ppm: Mapping[str, int]
    arms: tuple[str, ...]  # by index
    slow_s: tuple[float, ...] = ()
    actions: tuple[Action, ...] = ()
    slicings: tuple[Slicing, ...] = ()


class RouteTally:
    """One route under one routing table: where its requests are counted."""

    def __init__(self, tallies: "Tallies", experiment: Experiment, trial: Trial) -> None:
        self.tallies = tallies
        self.experiment = experiment
        self.slow = tuple(zip(LATENCY_METRICS, trial.slow_s, strict=False))
        self.actions = trial.actions
        self.slicings = trial.slicings
        self.is_detailed = bool(trial.actions or trial.slicings)
        self._runs: list[set[int]] = [set() for _ in trial.arms]  # by the arm's index
        self._names = trial.arms
        shares = json.encode(trial.shares_ppm, order="sorted").decode()
        self._inflight = experiment.inflight
        self.cells = experiment.cells.setdefault((trial.step, shares, self._names), {})

    def begin(self, at: float) -> None:
        """A request has been assigned to one of the arms; `end` will be called for it exactly once."""
        self._inflight[int(at) // EPOCH_S] += 1

    def end(self, epoch: int) -> None:
        """One that arrived in this epoch has been counted, or never will be."""
        inflight = self._inflight
        left_n = inflight[epoch] - 1
        if left_n > 0:
            inflight[epoch] = left_n
        else:
            del inflight[epoch]

    def open(self, epoch: int) -> list[Increment]:
        """Where to count what arrives in an epoch, by the arm's index; made when the first of its requests comes."""
        self.cells[epoch] = opened = [Increment() for _ in self._names]
        self.tallies.wake(self.experiment)
        return opened

    def place(self, facts: RequestFacts, increment: Increment) -> None:
        """Count a request in its slices."""
        for slicing in self.slicings:
            increment.event(sliced(REQUESTS, slicing.of(facts.attributes)))

    def blame(self, metric: str, arm: int, facts: RequestFacts, at: float, increment: Increment) -> None:
        """Count a bad event as the experiment does, and in the request's slices once more."""
        self.experiment.blame(metric, arm, facts, at, increment)
        for slicing in self.slicings:
            name = slicing.of(facts.attributes)
            self.experiment.blame(sliced(metric, name), arm, facts, at, increment)

    def is_new(self, arm: int, run: int) -> bool:
        """Whether an arm's run, by its number, is heard of for the first time. Its loss has minus that number."""
        runs = self._runs[arm]
        if run in runs:
            return False
        if len(runs) >= RUNS_KEPT:  # numbers rise, and nobody is late by half as many
            runs -= set(sorted(runs, key=abs)[: RUNS_KEPT // 2])
        runs.add(run)
        return True

    def lose(self, epoch: int) -> None:
        """Say that a request could not be counted, so that its epoch is not whole."""
        self.tallies.failed_n += 1
        self.experiment.lost.add(epoch)
        self.tallies.wake(self.experiment)


class Tallies:
    """Everything that one process counts."""

    def __init__(self) -> None:
        self.failed_n = 0  # requests that could not be counted
        self.dropped_n = 0  # cells that were given up because nobody took them
        self._experiments: WeakValueDictionary[str, Experiment] = WeakValueDictionary()  # tables and requests hold them
        self._awake: dict[str, Experiment] = {}  # and this, while they have something to hand over

    def route(self, trial: Trial) -> RouteTally:
        """The tally of a route under one routing table. What tables before counted for the same experiment goes on."""
        found = self._experiments.get(trial.experiment)
        if found is None:
            found = self._experiments[trial.experiment] = Experiment(trial.experiment)
        return RouteTally(self, found, trial)

    @property
    def is_awake(self) -> bool:
        """Whether there is anything to hand over."""
        return bool(self._awake)

    def wake(self, experiment: Experiment) -> None:
        """This experiment has something to hand over."""
        self._awake[experiment.name] = experiment
        if len(self._awake) > CELLS_LIMIT or sum(map(_cells_n, self._awake.values())) > CELLS_LIMIT:
            self._drop_oldest()

    def take(self, now: float) -> Counts:
        """All that was counted since it was last taken. `now` is Unix time in seconds."""
        current = int(now) // EPOCH_S
        holding = {}
        for name, experiment in list(self._experiments.items()):
            first = experiment.first_open
            if first is not None and first < current:
                holding[name] = first
        cells: list[CellIncrement] = []
        lost: dict[str, list[int]] = {}
        crowded: dict[str, list[str]] = {}
        for name, experiment in self._awake.items():
            cells += _taken(experiment)
            if experiment.lost:
                lost[name], experiment.lost = sorted(experiment.lost), set()
            if experiment.crowded:
                crowded[name] = sorted(experiment.crowded)
        self._awake = {}
        return Counts(current, holding, cells, lost, crowded)

    def _drop_oldest(self) -> None:
        """Nobody has taken anything for long: give up the oldest epoch of whoever has it, and say so."""
        epochs = [(epoch, e) for e in self._awake.values() for cells in e.cells.values() for epoch in cells]
        if not epochs:
            return
        oldest = min(epoch for epoch, _ in epochs)
        for epoch, experiment in epochs:
            if epoch != oldest:
                continue
            experiment.lost.add(oldest)
            for cells in experiment.cells.values():
                self.dropped_n += cells.pop(oldest, None) is not None


def _cells_n(experiment: Experiment) -> int:
    return sum(map(len, experiment.cells.values()))


def _taken(experiment: Experiment) -> list[CellIncrement]:
    taken = []
    for (step, shares, arms), cells in experiment.cells.items():
        for epoch in list(cells):
            for arm, increment in zip(arms, cells.pop(epoch), strict=True):
                if increment.requests_n or increment.withheld_n:
                    taken.append(CellIncrement(CellKey(experiment.name, step, shares, epoch, arm), increment))
    return taken
