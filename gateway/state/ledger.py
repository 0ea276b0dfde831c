"""The ledger: everything that a decision may read. What is read here never changes again."""

from collections import defaultdict
from collections.abc import Sequence
from math import fsum
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Engine, select
from sqlalchemy.engine import Row

from gateway.increments import LATENCY, quantile_of
from gateway.state.bookings import Stored, add, read_stored
from gateway.state.database import reading
from gateway.state.schema import experiment, first_bad, lost, tally
from strategies.evidence.epochs import ArmCounts, Epoch, Moments

QUANTILES = (0.5, 0.9, 0.99)
LEAST_MEASURED_N = 100  # calls, for a 99th percentile to be one

Place = tuple[int, int, str]  # epoch, step, shares


class Offence(Struct, frozen=True):
    """A bad event that was counted: its request's event id, and when that arrived, in Unix time."""

    event_id: str
    at: float


class Ledger:
    """The reading side. Methods block for a transaction and may be called from any thread. Raise StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def epochs(self, name: str, after: int = 0) -> tuple[Epoch, ...]:
        """The closed epochs of an experiment with a number above `after`, in order; those without any news left out."""
        with reading(self._engine) as connection:
            about = connection.execute(select(experiment).where(experiment.c.name == name)).one_or_none()
            if about is None:
                return ()
            inside = (tally.c.experiment == name, tally.c.epoch > after, tally.c.epoch <= about.closed)
            order = (tally.c.epoch, tally.c.step, tally.c.shares, tally.c.arm, tally.c.gateway)
            rows = connection.execute(select(tally).where(*inside).order_by(*order)).all()
            gone = (lost.c.experiment == name, lost.c.epoch > after, lost.c.epoch <= about.closed)
            losses = connection.execute(select(lost).where(*gone).order_by(lost.c.gateway, lost.c.why)).all()
        crowded = msgspec.json.decode(about.crowded, type=dict[str, int])
        return _epochs(rows, losses, crowded)

    def closed(self, name: str) -> int:
        """The last epoch of an experiment that will never change, 0 for none."""
        with reading(self._engine) as connection:
            found = connection.execute(select(experiment.c.closed).where(experiment.c.name == name)).scalar()
        return int(found or 0)

    def experiments(self, route: str) -> tuple[str, ...]:
        """A route's experiments that the ledger knows, the one that was counted last first."""
        query = select(experiment.c.name).where(experiment.c.route == route).order_by(experiment.c.latest.desc())
        with reading(self._engine) as connection:
            return tuple(connection.execute(query).scalars())

    def offending(self, name: str, arm: str, metric: str, *, limit_n: int = 10) -> tuple[Offence, ...]:
        """The first bad events of an arm."""
        here = (first_bad.c.experiment == name, first_bad.c.metric == metric, first_bad.c.arm == arm)
        query = select(first_bad.c.event_id, first_bad.c.at).where(*here)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(first_bad.c.at, first_bad.c.event_id).limit(limit_n))
            return tuple(Offence(row.event_id, row.at) for row in rows)

    def late_n(self, name: str) -> int:
        """How many requests of an experiment came when their epoch was closed. No verdict knows of them."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(tally.c.late).where(tally.c.experiment == name, tally.c.late != "{}"))
            return sum(stored.requests_n + stored.withheld_n for stored in map(read_stored, rows.scalars()))

    def latency_quantiles(self, route: str, since: int, until: int) -> tuple[float, ...]:
        """p50, p90 and p99 in seconds of all arms of a route in the epochs from `since` to before `until`.

        Nothing where too few calls were measured. Old epochs are as good as closed ones: thresholds are no evidence.
        """
        inside = (experiment.c.route == route, tally.c.epoch >= since, tally.c.epoch < until)
        query = select(tally.c.counts).join(experiment, experiment.c.name == tally.c.experiment).where(*inside)
        pooled: defaultdict[int, int] = defaultdict(int)
        with reading(self._engine) as connection:
            for text in connection.execute(query).scalars():
                for bucket, n in read_stored(text).latency_n.items():
                    pooled[bucket] += n
        if sum(pooled.values()) < LEAST_MEASURED_N:
            return ()
        return tuple(quantile_of(pooled, share) or 0.0 for share in QUANTILES)


def _epochs(rows: Sequence[Row[Any]], losses: Sequence[Row[Any]], crowded: dict[str, int]) -> tuple[Epoch, ...]:
    places: dict[Place, dict[str, list[Stored]]] = {}
    for row in rows:
        if row.counts != "{}":
            arms = places.setdefault((row.epoch, row.step, row.shares), {})
            arms.setdefault(row.arm, []).append(read_stored(row.counts))
    missing: defaultdict[int, list[str]] = defaultdict(list)
    for row in losses:
        missing[row.epoch].append(f"{row.gateway}: {row.why}")
    for epoch in missing:
        if not any(place[0] == epoch for place in places):  # nothing is left but that something is missing
            places[epoch, 0, "{}"] = {}
    return tuple(
        Epoch(
            number=number,
            step=step,
            shares_ppm=msgspec.json.decode(shares, type=dict[str, int]),
            arms={arm: _counts(parts) for arm, parts in arms.items()},
            lost=tuple(missing[number]),
            crowded=tuple(sorted(metric for metric, first in crowded.items() if first <= number)),
        )
        for (number, step, shares), arms in sorted(places.items())
    )


def _counts(parts: Sequence[Stored]) -> ArmCounts:
    """One arm's counts in all gateways. Sums of measured values are exact before they are rounded: no order tells."""
    whole = Stored()
    for part in parts:
        add(whole, part)
    latency = fsum(part.latency_s for part in parts), fsum(part.latency_s2 for part in parts)
    values = {metric: [part.values[metric] for part in parts if metric in part.values] for metric in whole.values}
    return ArmCounts(
        requests_n=whole.requests_n,
        units_n=whole.units_n,
        runs_n=whole.runs_n,
        withheld_n=whole.withheld_n,
        events=whole.events,
        values=({LATENCY: Moments(sum(whole.latency_n.values()), *latency)} if whole.latency_n else {})
        | {
            metric: Moments(sum(n for n, _, _ in sums), fsum(s for _, s, _ in sums), fsum(q for _, _, q in sums))
            for metric, sums in values.items()
        },
    )
