"""Observations: what happened to requests, a line each, in the order of time. Or closed epochs, as the ledger has them.

An observation says what came of the request, and under `by_arm` what came of it, or would have, with a certain arm: the
strategy decides which arm that is.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec import Struct

from strategies.core.arm import TWIN_SUFFIX
from strategies.evidence.epochs import Epoch


class Saying(Struct, frozen=True):
    """What an arm made of a request. What is None is as the observation says for any arm."""

    ok: bool | None = None
    latency_ms: float | None = None
    metrics: Mapping[str, float] = {}


class Observation(Struct, frozen=True, gc=False):
    """One request. `t` is in seconds on any clock of its run, not below 0; `unit` is whom it was for, None for nobody.

    `batch` names the run that the request shared with others: where all of one batch and arm failed, that is one fault
    of the run. `metrics` are numbers; one that bears the name of a guardrail counts as a bad event unless it is 0.
    `withheld` is a request that the gateway itself refused, whichever arm it was meant for.
    """

    run: str | int
    t: float
    unit: str | int | None = None
    ok: bool = True
    latency_ms: float | None = None
    batch: str | int | None = None
    metrics: Mapping[str, float] = {}
    by_arm: Mapping[str, Saying] = {}
    attributes: Mapping[str, str] = {}
    withheld: bool = False

    def of(self, arm: str) -> Saying:
        """What came of it with an arm; with a twin what came of it with the baseline, where nothing is said of it."""
        own = self.by_arm.get(arm) or self.by_arm.get(arm.removesuffix(TWIN_SUFFIX))
        if own is None:
            return Saying(self.ok, self.latency_ms, self.metrics)
        return Saying(
            self.ok if own.ok is None else own.ok,
            self.latency_ms if own.latency_ms is None else own.latency_ms,
            {**self.metrics, **own.metrics} if own.metrics else self.metrics,
        )


class Recorded(Struct, frozen=True):
    """A closed epoch of an experiment."""

    experiment: str
    epoch: Epoch


class BadLine(ValueError):
    """A line that cannot be used: where, and why."""


def read_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[int, Observation | Recorded]]:
    """What lines of JSON say, with their numbers; empty ones are passed over. Raises BadLine."""
    observations, records = msgspec.json.Decoder(Observation), msgspec.json.Decoder(Recorded)
    for number, line in enumerate(lines, start=1):
        if line.isspace():
            continue
        try:
            if line.startswith(b'{"experiment":'):
                yield number, records.decode(line)
            else:
                yield number, _checked(observations.decode(line))
        except (msgspec.MsgspecError, ValueError) as error:
            raise BadLine(f"{name}:{number}: {error}") from error


def _checked(found: Observation) -> Observation:
    if not 0 <= found.t < float("inf"):
        raise ValueError(f"t is {found.t}; write seconds from 0 on")
    return found
