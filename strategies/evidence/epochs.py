"""What is counted: per epoch of ten seconds, step and arm assigned. Whatever decides reads these values alone.

Counting declusters: a unit's errors of one metric count once in an experiment, those of a shared run once. So a number
in `events` is of events that may be taken for independent, and means the same whoever counted it.
"""

from collections.abc import Mapping

from msgspec import Struct

EPOCH_S = 10
ERROR_RATE = "error_rate"  # the arm raised, hung past its deadline or was not there; never what the gateway refused
RUN_ERRORS = "run_errors"  # runs that failed as a whole: judged beside `runs_n`, never beside requests
INVALID_OUTPUT = "invalid_output"
FALLBACK_RATE = "fallback_rate"
WORKER_DEATHS = "worker_deaths"  # serving processes that ended while a run of the arm, and no other, was under way
ACTION = "action:"  # what the metric of a declared action begins with: answers that say a certain thing
LATENCY_METRICS = ("latency_p50", "latency_p90", "latency_p99")  # slower than a threshold frozen when the step began


class Moments(Struct, frozen=True):
    """A measured value: how many, their sum and the sum of their squares."""

    n: int = 0
    sum: float = 0.0
    squares: float = 0.0


class ArmCounts(Struct, frozen=True):
    """One arm in one epoch of one step: of the requests *assigned* to it, whoever answered them in the end.

    `units_n` are units met for the first time in the experiment. `withheld_n` are requests that the gateway itself
    refused: they say nothing about the arm and are in no other number here.
    """

    requests_n: int = 0
    units_n: int = 0
    runs_n: int = 0
    withheld_n: int = 0
    events: Mapping[str, int] = {}  # metric -> bad events
    values: Mapping[str, Moments] = {}  # metric -> measured values


class Epoch(Struct, frozen=True):
    """Ten seconds of one step of an experiment. `number` is the event time in Unix seconds over ten, rounded down.

    `shares_ppm` are the shares of the units that each arm had while this was counted: the null hypothesis. Where they
    changed within the ten seconds, there are two epochs of one number. `lost` says why counts are missing here, nothing
    where none are; `crowded` are metrics of which so many units had bad events that later ones are counted each time.
    """

    number: int
    step: int
    shares_ppm: Mapping[str, int]
    arms: Mapping[str, ArmCounts]
    lost: tuple[str, ...] = ()
    crowded: tuple[str, ...] = ()
