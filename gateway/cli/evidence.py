"""`turnout evidence`: what was counted of a route, for people and for programs."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.kept import DEFAULT_STATE, StateFolder, opened_state
from gateway.cli.loading import fail

if TYPE_CHECKING:
    from gateway.state.ledger import Ledger

app = typer.Typer(help="What was counted of a route's arms: the evidence that decisions read.", no_args_is_help=True)
RouteName = Annotated[str, typer.Argument(help="A route, or an experiment of one, such as fraud@3.")]


@app.command("export")
def export(route: RouteName, state: StateFolder = DEFAULT_STATE) -> None:
    """Print every closed epoch of the latest experiment, a line of JSON each, in the order in which they are judged.

    `turnout simulate` reads them, and decides as the gateway did.
    """
    import msgspec

    with opened_state(state) as engine:
        from gateway.state.ledger import Ledger

        ledger = Ledger(engine)
        name = _experiment(ledger, route)
        encode = msgspec.json.Encoder().encode
        for epoch in ledger.epochs(name):
            sys.stdout.buffer.write(encode({"experiment": name, "epoch": epoch}) + b"\n")
        sys.stdout.buffer.flush()


@app.command("show")
def show(route: RouteName, state: StateFolder = DEFAULT_STATE) -> None:
    """Print the sums of the latest experiment, by step and arm, what came too late and what is missing."""
    from collections import Counter

    with opened_state(state) as engine:
        from gateway.state.ledger import Ledger

        ledger = Ledger(engine)
        name = _experiment(ledger, route)
        epochs, late_n = ledger.epochs(name), ledger.late_n(name)
    sums: dict[tuple[int, str], Counter[str]] = {}
    for epoch in epochs:
        for arm, counts in epoch.arms.items():
            numbers = {"requests": counts.requests_n, "units": counts.units_n, "runs": counts.runs_n}
            withheld = {"withheld": counts.withheld_n}
            sums.setdefault((epoch.step, arm), Counter()).update(numbers | withheld | dict(counts.events))
    until = datetime.fromtimestamp(10 * (epochs[-1].number + 1), UTC).isoformat(" ", "seconds") if epochs else "never"
    typer.echo(f"{name}: {len(epochs)} epochs, the last until {until}")
    for (step, arm), numbers_n in sorted(sums.items()):
        told = ", ".join(f"{n} {what}" for what, n in numbers_n.items() if n)
        typer.echo(f"  step {step + 1}  {arm}  {told}")
    for epoch in epochs:
        for why in epoch.lost:
            typer.echo(f"  missing in epoch {epoch.number}: {why}")
    if late_n:
        typer.echo(f"  {late_n} requests were told when their epoch was closed; no decision knows of them")


def _experiment(ledger: "Ledger", route: str) -> str:
    """The experiment that is meant; a name that the ledger does not know ends the command."""
    known = ledger.experiments(route.partition("@")[0])
    if "@" in route and route in known:
        return route
    if "@" not in route and known:
        return known[0]
    return fail(f"nothing was counted of {route}" + (f"; there is {', '.join(known)}" if known else ""))
