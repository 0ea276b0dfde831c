"""Tallies: what settled lists say of every ranker and the baseline, counted by lists and by units."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import asdict
from sqlalchemy import Connection, insert, select, tuple_, update

from gateway.state.schema import preference, unit_preference
from strategies.evidence.sign_test import log_e

UNITS_LIMIT = 1_000_000  # of an experiment; lists of further units count, the units themselves do not
CHUNK = 200


class Outcome(Struct, frozen=True):
    """A settled list: its experiment, its unit's digest or "", its rankers, the baseline first, and their credits."""

    experiment: str
    unit: str
    rankers: tuple[str, ...]
    credits: tuple[int, ...]


class Tally(Struct):
    """One ranker beside the baseline. A win is a list whose clicks gave the ranker more credit than the baseline.

    `unit_*` count units by the sign of their wins less losses; `first_*` by the first of their lists that was decided,
    which is what a test may look at again and again, as it never changes. Peaks are the highest ln E there ever were.
    `units_beyond` are lists whose unit came after UNITS_LIMIT others.
    """

    experiment: str
    ranker: str
    baseline: str
    wins: int = 0
    losses: int = 0
    ties: int = 0
    unit_wins: int = 0
    unit_losses: int = 0
    unit_ties: int = 0
    first_wins: int = 0
    first_losses: int = 0
    units_beyond: int = 0
    peak: float = 0.0
    unit_peak: float = 0.0
    settled_at: float = 0.0


class _Unit(Struct):
    ahead: int = 0
    first: int = 0
    is_new: bool = True


UnitKey = tuple[str, str, str]  # experiment, ranker, unit


def read_tallies(connection: Connection, experiment: str) -> tuple[Tally, ...]:
    """Those of all rankers of an experiment, by name."""
    rows = connection.execute(
        select(preference).where(preference.c.experiment == experiment).order_by(preference.c.ranker)
    )
    return tuple(Tally(**row._mapping) for row in rows)  # noqa: SLF001 - how SQLAlchemy spells a row as a mapping


class Tallies:
    """Adds outcomes to what is stored, in a transaction of the caller's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._units: dict[UnitKey, _Unit] = {}

    def add(self, outcomes: Sequence[Outcome], now: float) -> None:
        """Add outcomes in their order, and store what they make."""
        stored: set[tuple[str, str]] = set()
        for experiment in {each.experiment for each in outcomes}:
            for tally in read_tallies(self._connection, experiment):
                stored.add((experiment, tally.ranker))
                self._tallies[experiment, tally.ranker] = tally
        self._read_units(outcomes)
        for outcome in outcomes:
            for place, ranker in enumerate(outcome.rankers[1:], start=1):
                tally = self._tallies.setdefault(
                    (outcome.experiment, ranker), Tally(outcome.experiment, ranker, outcome.rankers[0])
                )
                tally.settled_at = now
                self._count(tally, outcome.unit, _sign(outcome.credits[place] - outcome.credits[0]))
        self._write(stored, now)

    def _count(self, tally: Tally, unit: str, sign: int) -> None:
        tally.wins += sign > 0
        tally.losses += sign < 0
        tally.ties += sign == 0
        tally.peak = max(tally.peak, log_e(tally.wins, tally.losses))
        if not unit:
            return
        key = (tally.experiment, tally.ranker, unit)
        known = self._units.get(key)
        if known is None:
            if tally.unit_wins + tally.unit_losses + tally.unit_ties >= UNITS_LIMIT:
                tally.units_beyond += 1
                return
            known = self._units[key] = _Unit()
            tally.unit_ties += 1
        _move(tally, _sign(known.ahead), _sign(known.ahead + sign))
        known.ahead += sign
        if sign and not known.first:
            known.first = sign
            tally.first_wins += sign > 0
            tally.first_losses += sign < 0
            tally.unit_peak = max(tally.unit_peak, log_e(tally.first_wins, tally.first_losses))

    def _read_units(self, outcomes: Iterable[Outcome]) -> None:
        table = unit_preference
        keys = list({(each.experiment, each.unit) for each in outcomes if each.unit})
        for at in range(0, len(keys), CHUNK):
            wanted = tuple_(table.c.experiment, table.c.unit).in_(keys[at : at + CHUNK])
            for row in self._connection.execute(select(table).where(wanted)):
                self._units[row.experiment, row.ranker, row.unit] = _Unit(row.ahead, row.first, is_new=False)

    def _write(self, stored: set[tuple[str, str]], now: float) -> None:
        for key, tally in self._tallies.items():
            if key in stored:
                here = (preference.c.experiment == tally.experiment, preference.c.ranker == tally.ranker)
                self._connection.execute(update(preference).where(*here).values(**asdict(tally)))
            else:
                self._connection.execute(insert(preference).values(**asdict(tally)))
        table = unit_preference
        for (experiment, ranker, unit), known in self._units.items():
            values = {"ahead": known.ahead, "first": known.first, "seen_at": now}
            if known.is_new:
                key_values = {"experiment": experiment, "ranker": ranker, "unit": unit}
                self._connection.execute(insert(table).values(**key_values, **values))
            else:
                of = (table.c.experiment == experiment, table.c.ranker == ranker, table.c.unit == unit)
                self._connection.execute(update(table).where(*of).values(**values))


def _move(tally: Tally, before: int, after: int) -> None:
    """A unit that stood on one side stands on another now, or where it stood."""
    for sign, step in ((before, -1), (after, 1)):
        tally.unit_wins += step * (sign > 0)
        tally.unit_losses += step * (sign < 0)
        tally.unit_ties += step * (sign == 0)


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)
