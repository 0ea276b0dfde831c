"""`turnout assign`: which arm a unit meets, computed without a server."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.cli.loading import compile_routes, fail, parse_steps, read_configuration
from gateway.config.compiled import CompiledRoute
from gateway.routing.table import FIRST_REVISION
from strategies.core.assignment import point_of, salted, unit_bytes
from strategies.core.enrolment import Draw
from strategies.core.plan import RequestFacts


def assign(
    route: Annotated[str, typer.Argument(help="The route's public name.")],
    units: Annotated[
        Path, typer.Option(help='A file with a unit a line, or {"unit": …, "attributes": {…}}; - is standard input.')
    ],
    config: Annotated[Path, typer.Option(help="The config directory.")] = Path("configs"),
    step: Annotated[list[str] | None, typer.Option(help="ROUTE=N: the live step of a ramp, from 1.")] = None,
) -> None:
    """Print the assignment of every unit as one JSON object a line."""
    configuration = read_configuration(config)
    routes = {compiled.name: compiled for compiled in compile_routes(configuration, parse_steps(step or []))}
    if route not in routes:
        fail(f"no route '{route}' in {config}; there is {', '.join(routes)}")
    out = sys.stdout.buffer
    for unit, attributes in _read_units(units):
        out.write(msgspec.json.encode(assignment_of(routes[route], unit, attributes)) + b"\n")
    out.flush()


def assignment_of(route: CompiledRoute, unit: str, attributes: dict[str, str]) -> dict[str, Any]:
    """One unit's assignment, its places in holdout and layer too. Shadows are drawn per request: told is who can be."""
    point = point_of(salted(route.salt), unit_bytes(unit))
    facts = RequestFacts(
        event_id="", unit=unit, point=point, attributes=tuple(attributes.get(n, "") for n in route.attribute_names)
    )
    plan = route.decider.plan_for(facts)
    return {
        "unit": unit,
        "arm": plan.serve[0].name,
        "share_ppm": plan.share_ppm,
        "reason": plan.reason,
        "salt": route.salt,
        "hash": f"{point:016x}",
        "point": point,
        "holdout": _holdout(route, facts),
        "layer": _layer(route, facts),
        "shadows": [name for name, ppm in route.shadows.items() if ppm and name != plan.serve[0].name],
        "revision": FIRST_REVISION,
    }


def _holdout(route: CompiledRoute, facts: RequestFacts) -> dict[str, Any] | None:
    """Where the unit stands on the holdout's line, None where there is no holdout."""
    draw = route.holdout
    return None if draw is None else _place(draw, facts)


def _layer(route: CompiledRoute, facts: RequestFacts) -> dict[str, Any] | None:
    """Where the unit stands in the route's layer, None where the route is in none."""
    slots = route.slots
    return None if slots is None else {"name": slots.layer, **_place(slots.draw, facts)}


def _place(draw: Draw, facts: RequestFacts) -> dict[str, Any]:
    return {
        "salt": draw.salt,
        "hash": f"{draw.point_of(facts):016x}",
        "range_ppm": list(draw.range_ppm),
        "drawn": draw.takes(facts),
    }


def _read_units(file: Path) -> Iterator[tuple[str, dict[str, str]]]:
    try:
        lines = (sys.stdin.buffer if str(file) == "-" else file.open("rb")).readlines()
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}")
    for number, line in enumerate(lines, start=1):
        text = line.rstrip(b"\r\n")
        if text.startswith(b"{"):
            yield _parse_unit(text, f"{file}:{number}")
        elif text:
            yield text.decode("utf-8", "surrogateescape"), {}


class _UnitLine(msgspec.Struct, forbid_unknown_fields=True):
    unit: str
    attributes: dict[str, str] = {}


def _parse_unit(text: bytes, place: str) -> tuple[str, dict[str, str]]:
    try:
        line = msgspec.json.decode(text, type=_UnitLine)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        fail(f'{place}: {error}; write a unit, or {{"unit": "…", "attributes": {{…}}}}')
    return line.unit, line.attributes
