"""The `turnout` command: one file per verb, heavy imports inside the verbs."""

from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from gateway.cli import (
    assign,
    audit,
    bench,
    completion,
    diff,
    disagreements,
    evidence,
    logs,
    look,
    models,
    operate,
    override,
    plan,
    review,
    schema,
    serve,
    simulate,
    state,
    token,
    validate,
)

app = typer.Typer(
    name="turnout",
    help="Serve ONNX models behind A/B tests, canaries and shadows, with a fallback that answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("validate")(validate.validate)
app.command("diff")(diff.diff)
app.command("review")(review.review)
app.command("apply")(operate.apply)
app.command("undo")(operate.undo)
for verb, text in operate.MOVES.items():
    app.command(verb)(operate.move(verb, text))
app.command("freeze")(operate.freeze)
app.command("status")(look.status)
app.command("describe")(look.describe)
app.command("logs")(logs.logs)
app.command("history")(look.history)
app.command("get")(look.get)
app.command("disagreements")(disagreements.disagreements)
app.command("simulate")(simulate.simulate)
app.command("plan")(plan.plan)
app.command("assign")(assign.assign)
app.command("override")(override.override)
app.command("bench")(bench.bench)
app.command("schema")(schema.schema)
app.command("completion")(completion.completion)
app.add_typer(models.app, name="models")
app.add_typer(state.app, name="state")
app.add_typer(audit.app, name="audit")
app.add_typer(evidence.app, name="evidence")
app.add_typer(token.app, name="token")


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"turnout {installed_version('turnout')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda wanted: _print_version(wanted=wanted), is_eager=True)
    ] = False,
) -> None: ...


def main() -> None:
    """The entry point of the installed command."""
    app()
