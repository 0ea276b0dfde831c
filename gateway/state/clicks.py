"""Clicks: lists that were clicked while their window is open, then only what they say of the rankers.

A click is known by event, row and place, so that it counts once however often and through whichever gateway it comes.
When a list's window has closed it is settled: its outcome is added to the tallies and its rows go, so that what is kept
of lists is bounded by one window. A mark says how far settling has come; no click on an older list is taken any more.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, Engine, Table, bindparam, delete, func, insert, select, tuple_, update

from gateway.link import Click
from gateway.state.database import reading, writing
from gateway.state.schema import feedback, impression, unit_preference
from gateway.state.tally import Outcome, Tallies, Tally, read_tallies

ACCEPTED, DUPLICATE, LATE = "accepted", "duplicate", "late"
GRACE_S = 1.0  # after the window, for clicks on their way here
SETTLE_LIMIT = 2000  # lists in one transaction
CHUNK = 200  # lists that one query asks for
KEY, MARK = "key", "settled_until"


class Standing(Struct, frozen=True):
    """What is known of an experiment: the tally of every ranker, and how many clicked lists are not settled yet."""

    tallies: tuple[Tally, ...]
    open_n: int


class _List(Struct):
    """One clicked list whose window is open."""

    click: Click
    places: list[int]
    credits: list[int]
    is_new: bool
    is_changed: bool = False


class Clicks:
    """Keeps clicks and settles lists. Methods block for a transaction. Raises StateUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def share_secret(self, ours: bytes) -> bytes:
        """The secret of all gateways of this state: `ours` if there is none yet."""
        with writing(self._engine) as connection:
            known = _value(connection, KEY)
            if known:
                return bytes.fromhex(known)
            _set_value(connection, KEY, ours.hex())
        return ours

    def keep(self, clicks: Sequence[Click]) -> list[str]:
        """Keep clicks, all or none of them; says of each whether it was accepted, a duplicate or late."""
        results: list[str] = []
        with writing(self._engine) as connection:
            mark = float(_value(connection, MARK) or 0.0)
            lists = _read_lists(connection, clicks)
            for click in clicks:
                key = (click.event_id, click.row)
                if click.shown_at <= mark:
                    results.append(LATE)
                    continue
                known = lists.get(key)
                if known is None:
                    known = lists[key] = _List(click, [], [0] * len(click.rankers), is_new=True)
                results.append(_add(known, click))
            _write_lists(connection, lists.values())
        return results

    def settle(self, now: float, window_s: float) -> int:
        """Settle the oldest lists whose window has closed, at most SETTLE_LIMIT; returns how many there were."""
        until = now - window_s - GRACE_S
        order = (impression.c.shown_at, impression.c.event_id, impression.c.row)
        query = select(impression).where(impression.c.shown_at <= until).order_by(*order).limit(SETTLE_LIMIT)
        with reading(self._engine) as connection:
            if connection.execute(query.limit(1)).first() is None:
                return 0
        with writing(self._engine) as connection:
            rows = connection.execute(query).all()
            if not rows:
                return 0
            # No further than what was settled: a gateway whose clock is ahead must not make others' clicks late.
            reached = max(rows[-1].shown_at, float(_value(connection, MARK) or 0.0))
            _set_value(connection, MARK, repr(reached))
            tallies = Tallies(connection)
            tallies.add([_outcome(row) for row in rows], now)
            here = (impression.c.event_id == bindparam("event"), impression.c.row == bindparam("number"))
            gone = delete(impression).where(*here)
            connection.execute(gone, [{"event": row.event_id, "number": row.row} for row in rows])
        return len(rows)

    def forget_units(self, before: float) -> None:
        """Forget what units said whose lists were all settled before a moment; the tallies keep it."""
        with writing(self._engine) as connection:
            connection.execute(delete(unit_preference).where(unit_preference.c.seen_at < before))

    def standing(self, experiment: str) -> Standing:
        """What clicks on an experiment's lists say."""
        count = select(func.count()).select_from(impression).where(impression.c.experiment == experiment)
        with reading(self._engine) as connection:
            return Standing(read_tallies(connection, experiment), int(connection.execute(count).scalar_one()))


def _add(known: _List, click: Click) -> str:
    if click.place in known.places:
        return DUPLICATE
    known.places.append(click.place)
    if click.credits:
        known.credits = [before + more for before, more in zip(known.credits, click.credits, strict=True)]
    known.is_changed = True
    return ACCEPTED


def _read_lists(connection: Connection, clicks: Iterable[Click]) -> dict[tuple[str, int], _List]:
    """The lists that the clicks are on, as far as they were clicked before."""
    first = {(click.event_id, click.row): click for click in reversed(list(clicks))}
    keys = list(first)
    lists: dict[tuple[str, int], _List] = {}
    for at in range(0, len(keys), CHUNK):
        wanted = tuple_(impression.c.event_id, impression.c.row).in_(keys[at : at + CHUNK])
        for row in connection.execute(select(impression).where(wanted)):
            click = first[row.event_id, row.row]
            lists[row.event_id, row.row] = _List(click, _parse(row.places), _parse(row.credits), is_new=False)
    return lists


def _write_lists(connection: Connection, lists: Iterable[_List]) -> None:
    for each in lists:
        if not each.is_changed:
            continue
        click = each.click
        values: dict[str, Any] = {"places": _text(each.places), "credits": _text(each.credits)}
        here = (impression.c.event_id == click.event_id, impression.c.row == click.row)
        if not each.is_new:
            connection.execute(update(impression).where(*here).values(**values))
            continue
        values |= {"event_id": click.event_id, "row": click.row, "experiment": click.experiment}
        values |= {"unit": click.unit, "shown_at": click.shown_at, "rankers": _text(click.rankers)}
        connection.execute(insert(impression).values(**values))


def _outcome(row: Any) -> Outcome:
    return Outcome(
        row.experiment,
        row.unit,
        msgspec.json.decode(row.rankers, type=tuple[str, ...]),
        msgspec.json.decode(row.credits, type=tuple[int, ...]),
    )


def _value(connection: Connection, name: str) -> str:
    return str(connection.execute(select(feedback.c.value).where(feedback.c.name == name)).scalar() or "")


def _set_value(connection: Connection, name: str, value: str) -> None:
    table: Table = feedback
    if connection.execute(update(table).where(table.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(insert(table).values(name=name, value=value))


def _parse(text: str) -> list[int]:
    return msgspec.json.decode(text, type=list[int])


def _text(value: Sequence[int | str]) -> str:
    return msgspec.json.encode(value).decode()
