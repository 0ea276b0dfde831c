"""Booking: the increments of one gateway's workers go into the ledger, each exactly once, all of a call or none.

A closed epoch is never written to again: what comes for it is kept beside it, as late.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, bindparam, delete, insert, select, update

from gateway.increments import CellKey, Counts, Increment, add_moments
from gateway.state.closing import Reporter, close_epochs, note_lost, note_return, write_reporter
from gateway.state.database import writing
from gateway.state.schema import experiment, reporter, source, tally
from gateway.state.units import count_bad, count_units, crowd
from strategies.evidence.epochs import EPOCH_S

NEW = {"closed": 0, "crowded": "{}", "units_skipped": 0, "units_kept": 0}


class Booking(Struct, frozen=True):
    """What one worker has said: its name, the number of the message, and what was in it."""

    source: str
    seq: int
    counts: Counts


class Stored(Struct, omit_defaults=True):
    """What the ledger keeps of a cell, as JSON."""

    requests_n: int = 0
    units_n: int = 0
    runs_n: int = 0
    withheld_n: int = 0
    events: dict[str, int] = {}
    values: dict[str, tuple[int, float, float]] = {}
    latency_n: dict[int, int] = {}
    latency_s: float = 0.0
    latency_s2: float = 0.0


class Bookings:
    """The writing side of the ledger. Methods block for a transaction, from any thread. Raise StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def book(self, bookings: Sequence[Booking], me: Reporter, lost_by: Mapping[str, str]) -> None:
        """Add what workers said, unless it was added before; then close the epochs that everybody is past.

        `me` is this gateway as of now. `lost_by` maps experiments to the reason why counts of the present epoch are
        missing.
        """
        with writing(self._engine) as connection:
            fresh = _fresh(connection, bookings, me)
            closed = _open_experiments(connection, fresh, me)
            _add(connection, fresh, closed, me.gateway)
            _note(connection, fresh, closed, me.gateway)
            _lose(connection, me, lost_by)
            write_reporter(connection, me)
            close_epochs(connection, me.seen_at)

    def begin(self, gateway: str) -> None:
        """A gateway of this name begins to count: if the one before it was killed, that is written down."""
        with writing(self._engine) as connection:
            note_return(connection, gateway)

    def leave(self, gateway: str) -> None:
        """Nothing more will come from this gateway: nobody has to wait for it."""
        with writing(self._engine) as connection:
            connection.execute(delete(reporter).where(reporter.c.gateway == gateway))


def _fresh(connection: Connection, bookings: Sequence[Booking], me: Reporter) -> list[Counts]:
    """What was not booked before. A source's messages come in the order of their numbers."""
    names = [booking.source for booking in bookings]
    query = select(source.c.id, source.c.seq).where(source.c.id.in_(names))
    known: dict[str, int] = {row.id: row.seq for row in connection.execute(query)}
    fresh: list[Counts] = []
    for booking in bookings:
        if booking.seq <= known.get(booking.source, 0):
            continue
        fresh.append(booking.counts)
        values = {"seq": booking.seq, "seen_at": me.seen_at}
        if booking.source in known:
            connection.execute(update(source).where(source.c.id == booking.source).values(**values))
        else:
            connection.execute(insert(source).values(id=booking.source, gateway=me.gateway, **values))
        known[booking.source] = booking.seq
    return fresh


def _open_experiments(connection: Connection, fresh: Iterable[Counts], me: Reporter) -> dict[str, int]:
    """The last closed epoch of every experiment that something is said of, after making those that are new."""
    latest: defaultdict[str, int] = defaultdict(int)
    for counts in fresh:
        for cell in counts.cells:
            latest[cell.key.experiment] = max(latest[cell.key.experiment], cell.key.epoch)
        for name, epochs in counts.lost.items():
            latest[name] = max(latest[name], *epochs)
        for name in counts.crowded:
            latest[name] = max(latest[name], 0)
    query = select(experiment.c.name, experiment.c.closed, experiment.c.latest).where(experiment.c.name.in_(latest))
    found = {row.name: row for row in connection.execute(query)}
    for name, epoch in latest.items():
        if name not in found:
            values = {"latest": epoch, "seen_at": me.seen_at, "route": name.rpartition("@")[0]}
            connection.execute(insert(experiment).values(name=name, **values, **NEW))
        elif epoch > found[name].latest:
            mine = update(experiment).where(experiment.c.name == name)
            connection.execute(mine.values(latest=epoch, seen_at=me.seen_at))
    return {name: found[name].closed if name in found else 0 for name in latest}


def _add(connection: Connection, fresh: Iterable[Counts], closed: Mapping[str, int], gateway: str) -> None:
    cells = [cell for counts in fresh for cell in counts.cells]
    units, bad = count_units(connection, cells), count_bad(connection, cells)
    sums: dict[tuple[CellKey, bool], Stored] = {}
    for cell, units_n, bad_n in zip(cells, units, bad, strict=True):
        is_late = cell.key.epoch <= closed[cell.key.experiment]
        stored = sums.setdefault((cell.key, is_late), Stored())
        add(stored, cell.increment)
        stored.units_n += units_n - cell.increment.units_n
        for metric, n in bad_n.items():
            stored.events[metric] = stored.events.get(metric, 0) + n
    _store(connection, sums, gateway)


def _note(connection: Connection, fresh: Iterable[Counts], closed: Mapping[str, int], gateway: str) -> None:
    """What workers say of counts that they could not make, or not as they should."""
    for counts in fresh:
        for name, epochs in counts.lost.items():
            for epoch in epochs:
                note_lost(connection, name, max(epoch, closed[name] + 1), gateway, "requests could not be counted")
        for name, metrics in counts.crowded.items():
            for metric in metrics:
                crowd(connection, name, metric)


def _lose(connection: Connection, me: Reporter, lost_by: Mapping[str, str]) -> None:
    """A worker has ended without its last words: its latest counts of these experiments are missing."""
    query = select(experiment.c.name, experiment.c.closed).where(experiment.c.name.in_(lost_by))
    for name, closed in connection.execute(query).all():
        epoch = max(int(me.seen_at) // EPOCH_S, closed + 1)
        note_lost(connection, name, epoch, me.gateway, lost_by[name])
        connection.execute(update(experiment).where(experiment.c.name == name).values(latest=epoch))


def _store(connection: Connection, sums: Mapping[tuple[CellKey, bool], Stored], gateway: str) -> None:
    """Add to the rows of this gateway, with one question and two orders: a hundred routes write two hundred rows."""
    names, epochs = {key.experiment for key, _ in sums}, {key.epoch for key, _ in sums}
    here = (tally.c.gateway == gateway, tally.c.experiment.in_(names), tally.c.epoch.in_(epochs))
    known = {
        CellKey(row.experiment, row.step, row.shares, row.epoch, row.arm): [row.counts, row.late]
        for row in connection.execute(select(tally).where(*here))
    }
    texts: dict[CellKey, list[str]] = {}
    for (key, is_late), stored in sums.items():
        mine = texts.setdefault(key, known.get(key, ["{}", "{}"]))
        whole = read_stored(mine[is_late])
        add(whole, stored)
        mine[is_late] = msgspec.json.encode(whole).decode()
    rows = [
        {f"its_{name}": value for name, value in msgspec.structs.asdict(key).items()} | {"now": now, "later": later}
        for key, (now, later) in texts.items()
    ]
    old = [row for row, key in zip(rows, texts, strict=True) if key in known]
    new = [row for row, key in zip(rows, texts, strict=True) if key not in known]
    if old:
        its = [tally.c[name] == bindparam(f"its_{name}") for name in CellKey.__struct_fields__]
        order = update(tally).where(*its, tally.c.gateway == gateway)
        connection.execute(order.values(counts=bindparam("now"), late=bindparam("later")), old)
    if new:
        its_own: dict[str, Any] = {name: bindparam(f"its_{name}") for name in CellKey.__struct_fields__}
        order_new = insert(tally).values(**its_own, gateway=gateway, counts=bindparam("now"), late=bindparam("later"))
        connection.execute(order_new, new)


def add(stored: Stored, more: Increment | Stored) -> None:
    """Add counts of the same cell. Units and first bad events of an increment are counted elsewhere."""
    stored.requests_n += more.requests_n
    stored.units_n += more.units_n
    stored.runs_n += more.runs_n
    stored.withheld_n += more.withheld_n
    for metric, n in more.events.items():
        stored.events[metric] = stored.events.get(metric, 0) + n
    stored.latency_s += more.latency_s
    stored.latency_s2 += more.latency_s2
    for bucket, n in more.latency_n.items():
        stored.latency_n[bucket] = stored.latency_n.get(bucket, 0) + n
    for metric, sums in more.values.items():
        stored.values[metric] = add_moments(stored.values.get(metric, (0, 0.0, 0.0)), sums)


def read_stored(text: str) -> Stored:
    return msgspec.json.decode(text, type=Stored)
