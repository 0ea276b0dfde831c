"""`turnout bench`: what one of your own models takes here, and how to run it."""

import asyncio
import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.loading import compile_routes, fail, read_configuration
from gateway.cli.printing import Output, OutputOption, show, table

if TYPE_CHECKING:
    from gateway.config.compiled import CompiledArm, CompiledRoute
    from runners.core.runner import Endpoint
    from runners.core.sweep import Advice, Cell
    from runners.core.tensor import InferenceRequest

HEADS = ("rows a call", "callers", "rows/s", "p50 ms", "p99 ms", "cores")


def bench(
    route: Annotated[str, typer.Argument(help="The route's public name.")],
    config: Annotated[Path, typer.Option(help="The config directory.")] = Path("configs"),
    arm: Annotated[str, typer.Option(help="Which arm; by default the baseline.", show_default=False)] = "",
    seconds: Annotated[float, typer.Option(min=1.0, max=600.0, help="How long all of it may take.")] = 16.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Load a route's model with calls of several sizes from several callers, and say how to run it."""
    chosen = _chosen(config, route, arm)
    try:
        facts = asyncio.run(_measured(chosen, seconds))
    except KeyboardInterrupt:
        fail("stopped; nothing was measured to its end")
    show(output, facts, lambda: _print(facts))


async def _measured(arm: "CompiledArm", seconds: float) -> dict[str, Any]:
    from runners.core.catalogue import Runners
    from runners.core.errors import LoadRefused
    from runners.core.sweep import advise, sweep

    runners = Runners()
    try:
        endpoint = await runners.find(arm.runner).open(arm.model)
    except LoadRefused as refused:
        fail(f"turnout: {refused}")
    try:
        rows, source = _requests(arm, endpoint)
        cells = await sweep(endpoint, rows, seconds)
    finally:
        await endpoint.close()
        await runners.close()
    advice = advise(cells, len(os.sched_getaffinity(0)))
    return {
        "arm": arm.arm.name,
        "model": arm.model.reference,
        "runs": _where(endpoint),
        "requests": source,
        "cells": [_plain(cell) for cell in cells],
        "advice": _sentence(advice, cells) if advice else f"every call failed: {cells[0].failure}",
    }


def _requests(arm: "CompiledArm", endpoint: "Endpoint") -> tuple[list["InferenceRequest"], str]:
    """Requests of one row, and where they are from."""
    from runners.core.golden import read_golden
    from runners.core.sweep import as_rows
    from runners.core.tensor import InferenceRequest
    from runners.onnx.rows import made_up_rows

    if arm.model.golden:
        known = list(as_rows([case.request for case in read_golden(arm.model.root / arm.model.golden)]))
        if known:
            return known, f"golden ({arm.model.golden})"
    signature = endpoint.description.signature
    return (made_up_rows(signature) if signature.inputs else [InferenceRequest("", ())]), "made up"


def _chosen(config: Path, route: str, arm: str) -> "CompiledArm":
    routes = {compiled.name: compiled for compiled in compile_routes(read_configuration(config), {})}
    if route not in routes:
        fail(f"no route '{route}' in {config}" + _near(route, list(routes)))
    arms = {compiled.arm.name: compiled for compiled in routes[route].arms}
    wanted = arm or _baseline(routes[route])
    if wanted not in arms:
        fail(f"route '{route}' has no arm '{wanted}'" + _near(wanted, list(arms)))
    return arms[wanted]


def _baseline(route: "CompiledRoute") -> str:
    return next(compiled.arm.name for compiled in route.arms if compiled.arm.role == "baseline")


def _near(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there is {', '.join(known)}"


def _where(endpoint: "Endpoint") -> str:
    placement = getattr(endpoint, "placement", None)
    if placement is None:
        return "wherever its runner has it"
    return "on the event loop" if placement.on_loop else f"in a thread of its own: {placement.why}"


def _sentence(advice: "Advice", cells: list["Cell"]) -> str:
    best = advice.best
    sizes = sorted({cell.rows_n for cell in cells})
    setting = f"batching: {{max_rows: {advice.max_rows}}}"
    rows = (
        f"Runs of {advice.max_rows} rows bring nearly all that larger ones do ({setting})."
        if len(sizes) > 1
        else "Its calls have a fixed size, so none share a run."
    )
    more = f"; --workers {advice.workers} would use the cores of this machine" if advice.workers > 1 else ""
    return (
        f"{rows} With calls of one row a process answers {best.rows_s:,.0f} a second, from {best.callers_n} callers "
        f"at once, on {best.cores:.1f} cores{more}."
    )


def _plain(cell: "Cell") -> dict[str, Any]:
    return {name: getattr(cell, name) for name in cell.__struct_fields__}


def _print(facts: dict[str, Any]) -> None:
    print(f"{facts['arm']} ({facts['model']}), {facts['runs']}; requests {facts['requests']}\n")
    table(HEADS, [_row(cell) for cell in facts["cells"]])
    print(f"\n{facts['advice']}")


def _row(cell: dict[str, Any]) -> tuple[str, ...]:
    size = (str(cell["rows_n"]), str(cell["callers_n"]))
    if cell["failure"]:
        return (*size, f"failed: {cell['failure']}", "", "", "")
    return (
        *size,
        f"{cell['rows_s']:,.0f}",
        f"{cell['p50_ms']:.3f}",
        f"{cell['p99_ms']:.3f}",
        f"{cell['cores']:.2f}",
    )
