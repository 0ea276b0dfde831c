"""`turnout schema`: the documents' JSON Schemas as files."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.loading import fail
from gateway.config.schema import schemas


def schema(
    folder: Annotated[Path, typer.Argument(help="Where to write them.")] = Path("configs/schemas"),
) -> None:
    """Write a JSON Schema for each kind of document; editors check YAML by them while one types."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in schemas().items():
            (folder / name).write_text(text, "utf-8")
            typer.echo(folder / name)
    except OSError as error:
        fail(f"{error.filename}: cannot be written: {error.strerror}")
