"""How verbs answer: a table for people, JSON or YAML for programs. Colour is for terminals, and never with NO_COLOR."""

import json
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

WIDE = 1000


class Output(StrEnum):
    """How to print."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print it.")]


def show(output: Output, plain: Any, as_table: Callable[[], None]) -> None:
    """Print dicts, lists and scalars as they are, or what `as_table` makes of them."""
    match output:
        case Output.JSON:
            typer.echo(json.dumps(plain, indent=2, ensure_ascii=False))
        case Output.YAML:
            from gateway.config.yaml import dump

            typer.echo(dump(plain), nl=False)
        case Output.TABLE:
            as_table()


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Columns without a frame; heads that are all empty are left out."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(*heads, show_header=any(heads), box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*map(Text, row))  # Text, for a model's name may look like markup
    if sys.stdout.isatty():
        Console().print(grid, soft_wrap=True)
        return
    console = Console(width=WIDE)  # a program, or a file, has no edge
    with console.capture() as captured:
        console.print(grid)
    typer.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))
