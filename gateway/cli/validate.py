"""`turnout validate`: every mistake at once, and in return the facts that hold for every request."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.loading import compile_routes, read_configuration
from gateway.config.compile import CompiledRoute
from strategies.core.plan import WHOLE_PPM


def validate(
    config: Annotated[Path, typer.Argument(help="The config directory.")] = Path("configs"),
) -> None:
    """Check a config directory without opening a model. Exit status 0: it can be served; 2: it cannot."""
    configuration = read_configuration(config)
    routes = compile_routes(configuration, {})
    table = Table("route", "strategy", "units", "falls back to", "shadows", "calls per request", box=None)
    for route in routes:
        table.add_row(
            route.name,
            route.strategy,
            describe_shares(route),
            " → ".join(route.fallback),
            ", ".join(f"{name} {percent(ppm)}" for name, ppm in route.shadows.items()) or "none",
            f"{1 + sum(route.shadows.values()) / WHOLE_PPM:.3g}",
        )
    Console().print(table)
    typer.echo(f"{config}: {len(routes)} route{'s' if len(routes) > 1 else ''}, no problem")


def percent(ppm: int) -> str:
    """A share as people read it: 5%, 0.1%."""
    return f"{ppm / 10_000:g}%"


def describe_shares(route: CompiledRoute) -> str:
    """The plans of a route in one line."""
    return ", ".join(f"{plan.serve[0].name} {percent(plan.share_ppm)}" for plan in route.plans)
