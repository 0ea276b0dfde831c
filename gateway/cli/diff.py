"""`turnout diff`: what a change of documents does to traffic, before it does."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.loading import refusals
from gateway.cli.printing import Output, OutputOption, show
from gateway.config.compile import compile_route, inherited_map
from gateway.config.contents import Contents
from gateway.config.diff import RouteDiff, Side, diff_routes
from gateway.config.directory import Configuration, load_directory, load_file

DIFFERS = 1  # exit status, as diff(1) has it; 2 is for what cannot be compared


def diff(
    old: Annotated[Path, typer.Argument(help="A config directory or one route's file.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Say in words of traffic what NEW changes. Exit status 0: nothing; 1: something; 2: one of them has problems."""
    with refusals():
        before = _sides(_load(old), {})
        after = _sides(_load(new), before)
    found = diff_routes(before, after)
    show(output, [difference.plain() for difference in found], lambda: _print(found))
    if found:
        raise typer.Exit(DIFFERS)


def _load(path: Path) -> Configuration:
    return load_directory(path) if path.is_dir() else load_file(path)


def _sides(configuration: Configuration, before: dict[str, Side]) -> dict[str, Side]:
    """Every route compiled; where one came before, its map is derived from that one's."""
    sides, contents = {}, Contents()
    for document in configuration.routes:
        side = before.get(document.route)
        inherited = inherited_map(document, side.compiled if side else None)
        compiled = compile_route(
            document,
            root=configuration.root,
            layers=configuration.layers,
            before=inherited,
            today=datetime.now(UTC).date(),
        )
        sides[document.route] = Side(document, compiled, contents.digests_of(compiled))
    return sides


def _print(found: tuple[RouteDiff, ...]) -> None:
    for difference in found:
        typer.echo(difference.route)
        for words in difference.words:
            typer.echo(f"  {words}")
    if not found:
        typer.echo("no difference")
