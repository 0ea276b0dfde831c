"""What the replicas of an arm on Ray wrote last."""

from typing import Annotated, Any

import typer

from gateway.cli.desk import DEFAULT_PORT, CaOption, ServerOption, there
from gateway.cli.printing import Output, OutputOption, show

LINES_N = 100


def logs(
    arm: Annotated[str, typer.Argument(metavar="ARM", help="The arm's name.")],
    *,
    route: Annotated[
        str, typer.Option(help="Which route's, where several have an arm of that name.", show_default=False)
    ] = "",
    lines: Annotated[int, typer.Option("--lines", "-n", help="Of each replica.", min=1, max=1000)] = LINES_N,
    server: ServerOption = f"http://127.0.0.1:{DEFAULT_PORT}",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """The last lines that an arm's replicas on Ray wrote, also those that have ended. A running gateway reads them."""
    told = there(server, ca_file).logs(arm, route, lines)
    show(output, told, lambda: _print(told))
    if told["trouble"]:
        typer.echo(told["trouble"], err=True)


def _print(told: dict[str, Any]) -> None:
    for each in told["replicas"]:
        for line in each["lines"]:
            typer.echo(f"{each['replica']}  {line}")
    if not told["replicas"] and not told["trouble"]:
        typer.echo(f"no replica of {told['arm']} has written anything", err=True)
