"""Units across workers and gateways: whom nobody has met before, and whose bad event is the first. Both are bounded."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, delete, func, insert, select, update

from gateway.increments import Bad, CellIncrement, CellKey
from gateway.state.schema import experiment, first_bad, met

UNITS_LIMIT = 200_000  # kept per experiment; beyond, every other one stands for the rest, and so on
BAD_LIMIT = 100_000  # kept per experiment and metric; beyond, every bad event is counted
AT_ONCE = 500  # numbers in one question to the database


def count_units(connection: Connection, cells: Sequence[CellIncrement]) -> list[int]:
    """How many units each cell has met that nobody in the experiment had met before; remembers them."""
    counts = [0] * len(cells)
    by_experiment: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for place, cell in enumerate(cells):
        counts[place] = cell.increment.units_n
        for unit in cell.increment.units:
            by_experiment[cell.key.experiment].setdefault(unit, place)
    for name, places in by_experiment.items():
        query = select(experiment.c.units_skipped, experiment.c.units_kept).where(experiment.c.name == name)
        skipped, kept = connection.execute(query).one()
        chosen = [unit for unit in places if not unit & skipped]
        known = _known(connection, met, [met.c.experiment == name], chosen)
        fresh = [unit for unit in chosen if unit not in known]
        if not fresh:
            continue
        connection.execute(insert(met), [{"experiment": name, "unit": unit} for unit in fresh])
        for unit in fresh:
            counts[places[unit]] += 1
        _bound(connection, name, skipped, kept + len(fresh))
    return counts


def count_bad(connection: Connection, cells: Sequence[CellIncrement]) -> list[dict[str, int]]:
    """How many bad events each cell has by metric, of units that had none in the experiment; remembers them."""
    counts: list[dict[str, int]] = [{} for _ in cells]
    by_metric: defaultdict[tuple[str, str], dict[int, tuple[int, Bad]]] = defaultdict(dict)
    for place, cell in enumerate(cells):
        for bad in cell.increment.bad:
            by_metric[cell.key.experiment, bad.metric].setdefault(bad.unit, (place, bad))
    for (name, metric), found in by_metric.items():
        here = [first_bad.c.experiment == name, first_bad.c.metric == metric]
        known = _known(connection, first_bad, here, list(found))
        kept = connection.execute(select(func.count()).select_from(first_bad).where(*here)).scalar_one()
        room = max(0, BAD_LIMIT - kept)
        fresh = [(place, bad) for unit, (place, bad) in found.items() if unit not in known]
        if len(fresh) > room:
            crowd(connection, name, metric)
        if fresh[:room]:
            connection.execute(insert(first_bad), [_row(cells[place].key, bad) for place, bad in fresh[:room]])
        for place, bad in fresh:
            counts[place][metric] = counts[place].get(metric, 0) + bad.counts
    return counts


def crowd(connection: Connection, name: str, metric: str) -> None:
    """Write down that from the first open epoch on a metric is counted every time, unless that is written already."""
    query = select(experiment.c.crowded, experiment.c.closed).where(experiment.c.name == name)
    text, closed = connection.execute(query).one()
    crowded = msgspec.json.decode(text, type=dict[str, int])
    if metric not in crowded:
        text = msgspec.json.encode(crowded | {metric: closed + 1}).decode()
        connection.execute(update(experiment).where(experiment.c.name == name).values(crowded=text))


def _bound(connection: Connection, name: str, skipped: int, kept: int) -> None:
    """Forget every other unit of an experiment that has too many, and from now on never meet their like."""
    while kept > UNITS_LIMIT:
        skipped = skipped << 1 | 1
        gone = delete(met).where(met.c.experiment == name, met.c.unit.bitwise_and(skipped) != 0)
        kept -= connection.execute(gone).rowcount
    values = {"units_skipped": skipped, "units_kept": kept}
    connection.execute(update(experiment).where(experiment.c.name == name).values(**values))


def _known(connection: Connection, table: Table, here: Iterable[Any], units: Sequence[int]) -> set[int]:
    known: set[int] = set()
    for some in _in_parts(units):
        known.update(connection.execute(select(table.c.unit).where(*here, table.c.unit.in_(some))).scalars())
    return known


def _in_parts(units: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(units), AT_ONCE):
        yield units[start : start + AT_ONCE]


def _row(key: CellKey, bad: Bad) -> dict[str, object]:
    return {
        "experiment": key.experiment,
        "metric": bad.metric,
        "unit": bad.unit,
        "arm": key.arm,
        "event_id": bad.event_id,
        "at": bad.at,
    }
