"""`turnout state`: take the whole history out, or put one in."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.kept import DEFAULT_STATE, StateFolder, opened_state

app = typer.Typer(help="Move or keep the history: revisions and the audit log.", no_args_is_help=True)


@app.command("export")
def export_state(
    file: Annotated[Path, typer.Argument(help="Where to write; - is standard output.")],
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Write all revisions, the audit log and the ledger as lines of JSON. Tokens stay behind."""
    from gateway.state.transfer import export_lines

    with opened_state(state) as engine:
        if str(file) == "-":
            sys.stdout.buffer.writelines(export_lines(engine))
            sys.stdout.buffer.flush()
            return
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")  # a half-written export must not look like one
        try:
            with unfinished.open("wb") as out:
                out.writelines(export_lines(engine))
                out.flush()
                os.fsync(out.fileno())
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)


@app.command("import")
def import_state(
    file: Annotated[Path, typer.Argument(help="What `turnout state export` wrote; - is standard input.")],
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Fill an empty state with an export, whole or not at all."""
    from gateway.state.transfer import import_lines

    with opened_state(state) as engine, sys.stdin.buffer if str(file) == "-" else file.open("rb") as lines:
        imported = import_lines(engine, lines)
    told = f"{imported.revisions_n} revisions and {imported.entries_n} entries of the audit log"
    typer.echo(f"imported {told}" + (f", {imported.evidence_n} rows of evidence" if imported.evidence_n else ""))
