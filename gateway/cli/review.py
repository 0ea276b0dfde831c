"""`turnout review`: what has gone stale in a config directory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.loading import read_configuration
from gateway.cli.printing import Output, OutputOption, show
from gateway.config.review import Finding
from gateway.config.review import review as findings_of

STALE = 1  # exit status
MODELS_FOLDER = "models"
MODEL_SUFFIXES = (".onnx", ".json")  # weights beside a model have any name, and belong to it


def review(
    config: Annotated[Path, typer.Argument(help="The config directory.")] = Path("configs"),
    output: OutputOption = Output.TABLE,
) -> None:
    """Tell what is stale though correct. Exit status 0: nothing; 1: something; 2: the documents have problems."""
    configuration = read_configuration(config)
    files = [file.relative_to(config) for file in (config / MODELS_FOLDER).rglob("*") if file.suffix in MODEL_SUFFIXES]
    found = findings_of(configuration, files, today=datetime.now(UTC).date())
    plain = [{"route": finding.route, "what": finding.what, "cure": finding.cure} for finding in found]
    show(output, plain, lambda: _print(config, found))
    if found:
        raise typer.Exit(STALE)


def _print(config: Path, found: tuple[Finding, ...]) -> None:
    for finding in found:
        typer.echo(f"{finding.route or config}: {finding.what}\n    {finding.cure}")
    typer.echo(f"{config}: {len(found) or 'nothing'} to clear up")
