"""`turnout audit`: who asked for what, and whether the log of it is whole."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from gateway.cli.kept import DEFAULT_STATE, StateFolder, opened_state

app = typer.Typer(help="The audit log: who changed what, refusals included.", no_args_is_help=True)
BROKEN = 1  # exit status of `verify`


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many entries, the latest first.")] = 50,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json (one object a line).")] = "table",
    state: StateFolder = DEFAULT_STATE,
) -> None:
    """Print the latest entries, newest first."""
    from gateway.state.audit import AuditLog

    with opened_state(state) as engine:
        for entry in AuditLog(engine).entries(limit_n=limit):
            if output == "json":
                typer.echo(msgspec.json.encode(entry).decode())
                continue
            when = datetime.fromtimestamp(entry.at, UTC).isoformat(" ", "seconds")
            deed = entry.deed
            typer.echo(f"{entry.number:>6}  {when}  {deed.author}  {deed.action} {deed.outcome}  {deed.detail}")


@app.command("verify")
def verify(state: StateFolder = DEFAULT_STATE) -> None:
    """Check the chain of digests. Exit status 1 and the first fault if an entry was changed or removed."""
    from gateway.state.audit import AuditLog

    with opened_state(state) as engine:
        fault = AuditLog(engine).verify()
    if fault:
        typer.echo(f"the audit log is broken: {fault}", err=True)
        raise typer.Exit(BROKEN)
    typer.echo("the audit log is whole")
