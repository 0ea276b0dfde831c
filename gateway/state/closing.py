"""Closing epochs: from then on their counts never change, so that whoever judges them finds the same.

An epoch is closed for an experiment when it is over and every gateway that is there says that it has counted all that
arrived in it. Nobody is waited for longer than a minute: then it is closed without them, and says so.
"""

from collections.abc import Sequence
from math import floor

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from gateway.state.members import FRESH_S
from gateway.state.schema import experiment, lost, member, reporter
from strategies.evidence.epochs import EPOCH_S

GRACE_S = 2.0  # after its end, for gateways that have just started and have not said anything yet
LIMIT_S = 60.0  # after its end an epoch is closed whoever is still missing
QUIET_S = 12.0  # a gateway that counts says so in every epoch


class Reporter(Struct, frozen=True):
    """What a gateway has said last: the first epoch in which it may still count, for all but those it is `holding`."""

    gateway: str
    open_from: int
    holding: dict[str, int]
    seen_at: float

    def counts_from(self, name: str) -> int:
        """The first epoch of an experiment that this gateway may still add to."""
        return self.holding.get(name, self.open_from)


def closed_until(name: str, reporters: Sequence[Reporter], now: float) -> int:
    """The last epoch of an experiment that is over for all. `now` is Unix time."""
    by_clock = floor((now - GRACE_S) / EPOCH_S) - 1
    at_last = floor((now - LIMIT_S) / EPOCH_S) - 1
    reported = min((each.counts_from(name) for each in reporters), default=by_clock + 1) - 1
    return max(at_last, min(by_clock, reported))


def close_epochs(connection: Connection, now: float) -> None:
    """Close what can be closed, for every experiment that has something open."""
    present = _present(connection, now)
    unfinished = select(experiment.c.name, experiment.c.closed).where(experiment.c.latest > experiment.c.closed)
    for name, closed in connection.execute(unfinished).all():
        until = closed_until(name, present, now)
        if until <= closed:
            continue
        for late in present:
            if late.counts_from(name) <= until:
                note_lost(connection, name, until, late.gateway, "it is behind")
        connection.execute(update(experiment).where(experiment.c.name == name).values(closed=until))


def note_lost(connection: Connection, name: str, epoch: int, gateway: str, why: str) -> None:
    """Write down that counts of a gateway are missing in an epoch."""
    values = {"experiment": name, "epoch": epoch, "gateway": gateway, "why": why}
    here = [lost.c[column] == value for column, value in values.items()]
    if connection.execute(select(lost.c.epoch).where(*here)).one_or_none() is None:
        connection.execute(insert(lost).values(**values))


def note_return(connection: Connection, gateway: str) -> None:
    """A gateway of this name has begun. If one was here and did not leave in order, it took counts along."""
    row = connection.execute(select(reporter.c.open_from).where(reporter.c.gateway == gateway)).one_or_none()
    if row is not None:
        _note_gone(connection, gateway, row.open_from)


def write_reporter(connection: Connection, me: Reporter) -> None:
    """Replace what this gateway has said before."""
    values = {"open_from": me.open_from, "holding": msgspec.json.encode(me.holding).decode(), "seen_at": me.seen_at}
    mine = update(reporter).where(reporter.c.gateway == me.gateway).values(**values)
    if connection.execute(mine).rowcount == 0:
        connection.execute(insert(reporter).values(gateway=me.gateway, **values))


def _present(connection: Connection, now: float) -> list[Reporter]:
    """The gateways to wait for. One that went without a word took counts along, and is waited for no more."""
    fresh = set(connection.execute(select(member.c.gateway).where(member.c.seen_at > now - FRESH_S)).scalars())
    present = []
    for row in connection.execute(select(reporter)).all():
        if row.gateway in fresh or row.seen_at > now - QUIET_S:
            holding = msgspec.json.decode(row.holding, type=dict[str, int])
            present.append(Reporter(row.gateway, row.open_from, holding, row.seen_at))
            continue
        _note_gone(connection, row.gateway, row.open_from)
    return present


def _note_gone(connection: Connection, gateway: str, open_from: int) -> None:
    """Write down what went with a gateway: some of what it counted from its first open epoch on, wherever it did."""
    recent = open_from - int(LIMIT_S) // EPOCH_S  # what nobody has counted for a minute was hardly served
    unfinished = select(experiment.c.name, experiment.c.closed).where(experiment.c.latest >= recent)
    for name, closed in connection.execute(unfinished).all():
        epoch = max(closed + 1, open_from)
        note_lost(connection, name, epoch, gateway, "it has gone without a word")
        mine = update(experiment).where(experiment.c.name == name, experiment.c.latest < epoch)
        connection.execute(mine.values(latest=epoch))
    connection.execute(delete(reporter).where(reporter.c.gateway == gateway))
