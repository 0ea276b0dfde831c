"""The verbs that change what is live: apply, undo, freeze, and the moves of a rollout."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.desk import CaOption, Desk, Here, ServerOption, desk
from gateway.cli.kept import DEFAULT_STATE, Author, StateFolder, whoever_asks
from gateway.cli.loading import fail, refusals
from gateway.cli.printing import Output, OutputOption, show

if TYPE_CHECKING:
    from gateway.publishing.change import Change, Request

BEHIND = 1  # exit status: it is published, and not everybody serves it
Reason = Annotated[str, typer.Option(help="Why, for those who read the history.", show_default=False)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
Expects = Annotated[int | None, typer.Option(help="Only if this revision is live.", min=0, show_default=False)]
Unrehearsed = Annotated[bool, typer.Option("--unrehearsed", help="Models are not on this machine: open none.")]
Within = Annotated[str, typer.Option(help="How long to wait until every gateway on this state serves it, such as 2m.")]
Restart = Annotated[list[str] | None, typer.Option(help="Begin this route's rollout again at its first step.")]
RouteName = Annotated[str, typer.Argument(metavar="ROUTE", help="The route's public name.")]


def apply(
    what: Annotated[Path, typer.Argument(help="A config directory, or one of its files.")] = Path("configs"),
    *,
    reason: Reason = "",
    dry_run: DryRun = False,
    restart: Restart = None,
    expects: Expects = None,
    unrehearsed: Unrehearsed = False,
    within: Within = "10s",
    author: Author = "",
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make documents live, all or none, and say in words of traffic what that changes.

    Exit status 0: done; 1: published, but a gateway does not serve it; 2: refused, nothing has changed.
    """
    from gateway.publishing.change import Apply

    root = what if what.is_dir() else Path()
    where = _patient(desk(server, state, ca_file, root, is_rehearsing=not unrehearsed), within)
    if what.is_dir():
        documents, expected = _directory(what), expects
    else:
        documents, expected = _with_file(what, where, expects)
    change = Apply(documents, frozenset(restart or ()))
    _publish(where, _request(change, author, reason, expected), output, is_dry=dry_run)


def undo(
    to_revision: Annotated[
        int | None, typer.Option(help="Whose documents to go back to.", min=1, show_default="the ones before")
    ] = None,
    *,
    reason: Reason = "",
    dry_run: DryRun = False,
    restart: Restart = None,
    expects: Expects = None,
    unrehearsed: Unrehearsed = False,
    within: Within = "10s",
    author: Author = "",
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Go back to the documents before those that are live. Rollouts stay where they are; to undo twice is to redo."""
    from gateway.publishing.change import Undo

    change = Undo(to_revision or 0, frozenset(restart or ()))
    where = _patient(desk(server, state, ca_file, is_rehearsing=not unrehearsed), within)
    _publish(where, _request(change, author, reason, expects), output, is_dry=dry_run)


def freeze(
    reason: Annotated[str, typer.Argument(help="Why; whoever is refused is told.", show_default=False)] = "",
    *,
    lift: Annotated[bool, typer.Option("--lift", help="Let changes through again.")] = False,
    author: Author = "",
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Let nothing change, by nobody, but for rollback and hold."""
    from gateway.publishing.change import Freeze

    if bool(reason) == lift:
        fail('say why: turnout freeze "REASON"; or lift it: turnout freeze --lift')
    _publish(desk(server, state, ca_file), _request(Freeze(reason), author, reason, None), output, is_dry=False)


def move(verb: str, text: str) -> Callable[..., None]:
    """The command for one move of a rollout."""

    def command(
        route: RouteName,
        *,
        reason: Reason = "",
        dry_run: DryRun = False,
        expects: Expects = None,
        author: Author = "",
        state: StateFolder = DEFAULT_STATE,
        server: ServerOption = "",
        ca_file: CaOption = None,
        output: OutputOption = Output.TABLE,
    ) -> None:
        from gateway.publishing.change import Operate
        from strategies.rollout.machine import Verb

        change = Operate(route, Verb(verb), reason)
        where = desk(server, state, ca_file)
        _publish(where, _request(change, author, reason, expects), output, is_dry=dry_run)

    command.__doc__ = text
    return command


MOVES = {
    "advance": "Take a rollout one step up its ramp.",
    "promote": "Give the candidate the whole route; the old baseline stays behind it as the fallback.",
    "approve": "Let a rollout that somebody else began go beyond the share that needs no approval.",
    "rollback": "Give the baseline the whole route, until the rollout is restarted.",
    "hold": "Keep a rollout's share where it is until it is resumed.",
    "resume": "Let a held rollout climb again.",
    "restart": "Begin a rollout again at its first step, also after a rollback.",
}


def _request(change: "Change", author: str, reason: str, expects: int | None) -> "Request":
    from gateway.publishing.change import ANY, Apply, Request, Undo
    from gateway.state.revision import Cause

    cause = {Apply: Cause.APPLY, Undo: Cause.UNDO}.get(type(change), Cause.OPERATE)
    return Request(change, whoever_asks(author), cause, reason, ANY if expects is None else expects)


def _patient(where: Desk, within: str) -> Desk:
    """The desk, to wait so long where gateways follow by themselves; one of theirs answers when it has followed."""
    from strategies.core.spec import duration_s

    try:
        within_s = duration_s(within)
    except ValueError as error:
        fail(f"--within: {error}")
    if isinstance(where, Here):
        where.within_s = within_s
    return where


def _publish(where: Desk, request: "Request", output: Output, *, is_dry: bool) -> None:
    told = where.publish(request, is_dry=is_dry)
    show(output, told, lambda: _print(told, is_dry=is_dry))
    if any(_is_behind(each, told) for each in told.get("gateways", ())):
        raise typer.Exit(BEHIND)


def _print(told: dict[str, Any], *, is_dry: bool) -> None:
    for route in told["routes"]:
        typer.echo(route["route"])
        for words in route["words"]:
            typer.echo(f"  {words}")
    live = told["live"]
    if told["published"] is not None:
        typer.echo(f"revision {live} is live")
        for each in told.get("gateways", ()):
            if _is_behind(each, told):
                typer.echo(f"{each['gateway']} serves revision {each['revision']}: {each['trouble'] or 'not yet'}")
    elif is_dry and told["routes"]:
        typer.echo(f"nothing has changed: revision {live} is live")
    else:
        typer.echo(f"nothing to change: revision {live} is live")


def _is_behind(each: dict[str, Any], told: dict[str, Any]) -> bool:
    return bool(each["trouble"]) or each["revision"] < told["live"]


def _directory(folder: Path) -> dict[str, str]:
    from gateway.config.directory import read_directory

    with refusals():
        return read_directory(folder)


def _with_file(file: Path, where: Desk, expects: int | None) -> tuple[dict[str, str], int]:
    """The live documents with one file's in the place of its own, and the revision they are of."""
    from gateway.config.directory import place_of
    from gateway.config.parse import read

    with refusals():
        written = read(file)
        live = where.live()
        path = place_of(written, live.content.documents)
    return {**live.content.documents, path: written.text}, live.number if expects is None else expects
