"""`turnout validate`: every mistake at once, and in return the facts that hold for every request."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.loading import compile_routes, read_configuration
from gateway.config.compiled import CompiledRoute
from strategies.core.plan import WHOLE_PPM


def validate(
    config: Annotated[Path, typer.Argument(help="The config directory.")] = Path("configs"),
) -> None:
    """Check a config directory without opening a model. Exit status 0: it can be served; 2: it cannot."""
    configuration = read_configuration(config)
    routes = compile_routes(configuration, {})
    for route in routes:
        typer.echo("\n".join(describe(route)))
    typer.echo(f"{config}: {len(routes)} route{'s' if len(routes) > 1 else ''}, no problem")


def describe(route: CompiledRoute) -> list[str]:
    """What is true of every request to a route, a fact a line."""
    shadows = ", ".join(f"{name} {percent(ppm)}" for name, ppm in route.shadows.items())
    calls = 1 + sum(route.shadows.values()) / WHOLE_PPM
    return [
        f"{route.name}: {route.strategy}",
        "  units     " + ", ".join(f"{plan.serve[0].name} {percent(plan.share_ppm)}" for plan in route.plans),
        "  fallback  " + " → ".join(route.fallback),
        f"  shadows   {shadows or 'none'}",
        f"  calls     {calls:.4g} for a request that needs no fallback",
    ]


def percent(ppm: int) -> str:
    """A share as people read it: 5%, 0.1%."""
    return f"{ppm / 10_000:g}%"
