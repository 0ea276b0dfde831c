"""`turnout plan`: how long a canary will take, before it is begun."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.loading import fail
from gateway.cli.printing import Output, OutputOption, show, table
from gateway.cli.rollout_file import setup_in
from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import percent, share_ppm
from strategies.rollout.words import duration


def plan(
    route: Annotated[Path, typer.Argument(metavar="ROUTE.yaml", help="The document of a route with a canary.")],
    *,
    rate: Annotated[float, typer.Option(help="Requests in a second, of all arms.", min=0.001, max=1_000_000)],
    error_rate: Annotated[str, typer.Option(help="The baseline's errors, as in 1% or 0.01.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say for each step how long it takes to catch a doubling of errors, and to prove that there is none."""
    from gateway.simulation.forecast import Stream
    from gateway.simulation.plan import NoErrorRate, plan_of

    setup = setup_in(route)
    try:
        told = plan_of(setup, Stream(rate, _rate_of(error_rate)))
    except NoErrorRate as error:
        fail(f"{route}: {error}")
    show(output, told, lambda: _print(told))


def _rate_of(written: str) -> float:
    try:
        ppm = share_ppm(written)
    except ValueError as error:
        fail(f"--error-rate: {error}")
    if not 0 < ppm <= WHOLE_PPM // 2:
        fail(f"--error-rate: {written} is out of range; write a rate above 0%, and up to 50%")
    return ppm / WHOLE_PPM


def _print(told: dict[str, Any]) -> None:
    typer.echo(
        f"{told['route']}: canary of {told['candidate']}, {told['requests_per_s']:,g} requests a second, "
        f"{percent(told['error_rate'] * WHOLE_PPM)} of them errors; guarded by {', '.join(told['guardrails'])}"
    )
    rows = [
        (
            str(each["step"]),
            percent(each["share_ppm"]),
            duration(each["stays_s"]),
            _told(each["catch"]),
            _told(each["promote"]),
        )
        for each in told["steps"]
    ]
    table(("step", "share", "stays", "catches a doubling after", "proves no worse after"), rows)
    whole_s = told["promoted_after_s"]
    if whole_s is None:
        typer.echo("a candidate that is no worse is not proven so in any foreseeable time: widen no_worse_than")
    else:
        typer.echo(f"a candidate that is no worse takes over after {duration(whole_s)}; all times are medians")


def _told(wait: dict[str, float] | None) -> str:
    return f"{wait['requests']:,.0f} requests, {duration(wait['seconds'])}" if wait else "never"
