"""`turnout assign`: which arm a unit meets, computed without a server."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from gateway.cli.desk import CaOption, Desk, ServerOption, desk
from gateway.cli.kept import DEFAULT_STATE, StateFolder
from gateway.cli.loading import compile_routes, fail, parse_steps, read_configuration, refusals
from gateway.config.compiled import CompiledRoute
from strategies.core.assignment import unit_bytes
from strategies.core.enrolment import Draw
from strategies.core.plan import RequestFacts

FIRST_REVISION = 1  # what a directory is to a gateway that has no state yet


def assign(
    route: Annotated[str, typer.Argument(help="The route's public name.")],
    units: Annotated[
        Path, typer.Option(help='A file with a unit a line, or {"unit": …, "attributes": {…}}; - is standard input.')
    ],
    *,
    config: Annotated[Path, typer.Option(help="The config directory.")] = Path("configs"),
    step: Annotated[list[str] | None, typer.Option(help="ROUTE=N: the live step of a ramp, from 1.")] = None,
    revision: Annotated[
        int | None,
        typer.Option(min=1, help="As of this revision of the state, or of --server.", show_default="the directory"),
    ] = None,
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
) -> None:
    """Print the assignment of every unit as one JSON object a line."""
    if revision is None:
        if server:
            fail("--server needs --revision; turnout history --server tells which there are")
        place, routes = str(config), _written(config, step or [])
    else:
        if step:
            fail("--step is for a config directory; a revision says itself where its ramps stand")
        place, routes = f"revision {revision}", _published(desk(server, state, ca_file), revision)
    if route not in routes:
        fail(f"no route '{route}' in {place}; there is {', '.join(routes)}")
    out = sys.stdout.buffer
    for unit, attributes in _read_units(units):
        found = assignment_of(routes[route], unit, attributes, revision or FIRST_REVISION)
        out.write(msgspec.json.encode(found) + b"\n")
    out.flush()


def _written(config: Path, step: list[str]) -> Mapping[str, CompiledRoute]:
    configuration = read_configuration(config)
    return {compiled.name: compiled for compiled in compile_routes(configuration, parse_steps(step))}


def _published(where: Desk, number: int) -> Mapping[str, CompiledRoute]:
    """What a revision means, as every gateway that serves it computes it. Its models need not be at hand."""
    from gateway.publishing.prepare import meaning_of

    revision = where.revision(number)
    try:
        with refusals():
            return meaning_of(revision, Path()).routes
    except ValueError as error:
        fail(f"revision {number} cannot be read by this release: {error}")


def assignment_of(
    route: CompiledRoute, unit: str, attributes: dict[str, str], revision: int = FIRST_REVISION
) -> dict[str, Any]:
    """One unit's assignment, its places in holdout and layer too. Shadows are drawn per request: told is who can be."""
    point = route.point_of(unit_bytes(unit))
    facts = RequestFacts(
        event_id="", unit=unit, point=point, attributes=tuple(attributes.get(n, "") for n in route.attribute_names)
    )
    plan = route.decider.plan_for(facts)
    return {
        "unit": unit,
        "arm": plan.serve[0].name,
        "partners": [arm.name for arm in plan.serve[1:]],
        "share_ppm": plan.share_ppm,
        "reason": plan.reason,
        "salt": route.salt,
        "hash_name": route.hash,
        "hash": f"{point:016x}",
        "point": point,
        "holdout": _holdout(route, facts),
        "layer": _layer(route, facts),
        "shadows": [name for name, ppm in route.shadows.items() if ppm and all(name != arm.name for arm in plan.serve)],
        "revision": revision,
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
