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
    from runners.core.runner import Endpoint, Runner
    from runners.core.sweep import Advice, Cell
    from runners.core.sweep_threads import Threaded
    from runners.core.tensor import InferenceRequest

THREADS_SHARE = 0.25  # of the time, where numbers of threads are tried at all
THREAD_HEADS = ("threads", "lone call p50 ms", "p99 ms", "rows/s of many callers", "cores")
HEADS = ("rows a call", "callers", "rows/s", "p50 ms", "p99 ms", "cores")


def bench(
    route: Annotated[str, typer.Argument(help="The route's public name.")],
    config: Annotated[Path, typer.Option(help="The config directory.")] = Path("configs"),
    arm: Annotated[str, typer.Option(help="Which arm; by default the baseline.", show_default=False)] = "",
    seconds: Annotated[
        float, typer.Option(min=1.0, max=600.0, help="How long all of it may take, loading apart.")
    ] = 16.0,
    output: OutputOption = Output.TABLE,
) -> None:
    """Load a route's model with several sizes of calls, numbers of callers and of threads, and say how to run it."""
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

    runners, cores_n = Runners(), len(os.sched_getaffinity(0))
    threads_s = seconds * THREADS_SHARE if _has_threads(arm) and cores_n > 1 else 0.0
    try:
        runner = runners.find(arm.runner)
        endpoint = await runner.open(arm.model)
        try:
            rows, source = _requests(arm, endpoint)
            cells = await sweep(endpoint, rows, seconds - threads_s)
        finally:
            await endpoint.close()
        advice = advise(cells, cores_n)
        threaded = await _threaded(runner, arm, rows[0], advice, threads_s) if advice and threads_s else []
    except LoadRefused as refused:
        fail(f"turnout: {refused}")
    finally:
        await runners.close()
    return {
        "arm": arm.arm.name,
        "model": arm.model.reference,
        "runs": _where(endpoint),
        "requests": source,
        "cells": [_plain(cell) for cell in cells],
        "threads": [_plain(each) | {"lone": _plain(each.lone), "crowd": _plain(each.crowd)} for each in threaded],
        "advice": _advice(advice, cells, threaded) if advice else f"every call failed: {cells[0].failure}",
    }


def _has_threads(arm: "CompiledArm") -> bool:
    """Whether it is run here, by threads of ours: a GPU has its own, and another server its own settings."""
    return arm.runner == "embedded" and arm.model.provider.name == "cpu"


async def _threaded(
    runner: "Runner", arm: "CompiledArm", row: "InferenceRequest", advice: "Advice", seconds: float
) -> list["Threaded"]:
    from msgspec.structs import replace

    from runners.core.sweep_threads import sweep_threads, thread_counts

    return await sweep_threads(
        lambda threads_n: runner.open(replace(arm.model, threads=threads_n)),
        thread_counts(len(os.sched_getaffinity(0))),
        row,
        advice.best.callers_n,
        seconds,
    )


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


def _advice(advice: "Advice", cells: list["Cell"], threaded: list["Threaded"]) -> str:
    return " ".join(filter(None, [_sentence(advice, cells), _thread_sentence(threaded)]))


def _thread_sentence(threaded: list["Threaded"]) -> str:
    """What more threads do to a lone call; workers use the cores better where there are many calls."""
    from runners.core.sweep_threads import advise_threads

    advised = advise_threads(threaded)
    if advised is None:
        return ""
    one = next(each for each in threaded if each.threads_n == 1)
    if advised is one:
        return "More intra-op threads bring a lone call next to nothing (threads: 1)."
    many, few = advised.crowd, one.crowd
    return (
        f"With {advised.threads_n} intra-op threads a lone call takes {advised.lone.p50_ms:.2f} ms in place of "
        f"{one.lone.p50_ms:.2f} (threads: {advised.threads_n}), and many callers get {many.rows_s:,.0f} rows a second "
        f"on {many.cores:.1f} cores in place of {few.rows_s:,.0f} on {few.cores:.1f}. Choose threads where a call must "
        "be quick, workers where there are many calls; each worker has threads of its own."
    )


def _sentence(advice: "Advice", cells: list["Cell"]) -> str:
    best = advice.best
    sizes = sorted({cell.rows_n for cell in cells})
    setting = f"batching: {{max_rows: {advice.max_rows}}}"
    runs = "Runs of 1 row" if advice.max_rows == 1 else f"Runs of {advice.max_rows} rows"
    rows = (
        f"{runs} bring nearly all that larger ones do ({setting})."
        if len(sizes) > 1
        else "Its calls have a fixed size, so none share a run."
    )
    more = f"; --workers {advice.workers} would use the cores of this machine" if advice.workers > 1 else ""
    return (
        f"{rows} With calls of one row a process answers {best.rows_s:,.0f} a second, from {best.callers_n} callers "
        f"at once, on {best.cores:.1f} cores{more}."
    )


def _plain(figures: "Cell | Threaded") -> dict[str, Any]:
    return {name: getattr(figures, name) for name in figures.__struct_fields__}


def _print(facts: dict[str, Any]) -> None:
    print(f"{facts['arm']} ({facts['model']}), {facts['runs']}; requests {facts['requests']}\n")
    table(HEADS, [_row(cell) for cell in facts["cells"]])
    if facts["threads"]:
        print()
        table(THREAD_HEADS, [_thread_row(each) for each in facts["threads"]])
    print(f"\n{facts['advice']}")


def _thread_row(threaded: dict[str, Any]) -> tuple[str, ...]:
    lone, crowd = threaded["lone"], threaded["crowd"]
    if failure := lone["failure"] or crowd["failure"]:
        return (str(threaded["threads_n"]), f"failed: {failure}", "", "", "")
    figures = (f"{lone['p50_ms']:.3f}", f"{lone['p99_ms']:.3f}", f"{crowd['rows_s']:,.0f}", f"{crowd['cores']:.2f}")
    return (str(threaded["threads_n"]), *figures)


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
