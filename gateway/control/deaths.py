"""Deaths: what a worker's end says of the arm whose model was run when it came.

What ends a process from within is being run at that moment; what ends it from without strikes whatever happens to run.
So an end is an event of an arm if its model, and no other, was run. How many of these are too many, the rule knows.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct, json

from gateway.config.compiled import CompiledRoute
from gateway.increments import CellIncrement, CellKey, Increment
from runners.core.marks import sign_of
from strategies.evidence.epochs import WORKER_DEATHS


class Blamed(Struct, frozen=True):
    """An arm of an experiment, and the cell in which its requests are counted now."""

    experiment: str
    step: int
    shares_ppm: Mapping[str, int]
    arm: str

    def in_epoch(self, epoch: int) -> CellIncrement:
        shares = json.encode(self.shares_ppm, order="sorted").decode()
        key = CellKey(self.experiment, self.step, shares, epoch, self.arm)
        return CellIncrement(key, Increment(events={WORKER_DEATHS: 1}))


def blamed(routes: Iterable[CompiledRoute], revision: int, ran: frozenset[bytes]) -> tuple[Blamed, ...]:
    """Whom an end speaks against at which these models were run, by sign. Of arms with one model nobody can say."""
    if len(ran) != 1:
        return ()
    found = []
    for route in routes:
        trial = route.trial(revision)
        arms = [each.arm.name for each in route.arms if sign_of(each.model) in ran]
        if len(arms) == 1 and arms[0] in trial.shares_ppm:
            found.append(Blamed(trial.experiment, trial.step, trial.shares_ppm, arms[0]))
    return tuple(found)
