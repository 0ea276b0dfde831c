"""The verbs that look: status, describe, history, get."""

from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Annotated, Any

import typer

from gateway.cli.arms import print_arms, print_replicas
from gateway.cli.desk import CaOption, ServerOption, desk
from gateway.cli.kept import DEFAULT_STATE, StateFolder
from gateway.cli.loading import fail
from gateway.cli.printing import Output, OutputOption, show, table
from strategies.core.spec import percent

APART = 1  # exit status: a gateway does not serve the live revision
LOOK_S = 2.0


def status(
    route: Annotated[str, typer.Argument(metavar="[ROUTE]", help="Only this route.", show_default=False)] = "",
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Look every two seconds until interrupted.")] = False,
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """What is live, who serves it, and a sentence on every route. Exit status 1: a gateway is not there yet."""
    where = desk(server, state, ca_file)
    while True:
        told = where.status()
        if route:
            told["routes"] = [each for each in told["routes"] if each["route"] == route] or fail(
                f"no route is called '{route}'; there is {', '.join(each['route'] for each in told['routes'])}"
            )
        show(output, told, lambda told=told: _print_status(told, is_whole=bool(route)))  # type: ignore[misc]
        if not watch:
            raise typer.Exit(0 if told["converged"] else APART)
        sleep(LOOK_S)


def describe(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The route's public name.")],
    *,
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """One route: what it is for, what it does, and where it stands."""
    told = desk(server, state, ca_file).route(route)
    show(output, told, lambda: _print_route(told))


def history(
    route: Annotated[str, typer.Argument(metavar="[ROUTE]", help="With --story: whose.", show_default=False)] = "",
    *,
    story: Annotated[bool, typer.Option("--story", help="What became of a route's rollout, in order.")] = False,
    limit: Annotated[int, typer.Option(help="How many, the latest first.", min=1, max=1000)] = 20,
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Who changed what is live, when and why. With --story: how a route's rollout came to where it stands."""
    if story != bool(route):
        fail("a story is of one route: turnout history ROUTE --story")
    if story:
        _tell_story(route, desk(server, state, ca_file).story(route), output)
        return
    found = desk(server, state, ca_file).history(limit)
    rows = [(str(each["revision"]), _when(each["at"]), each["cause"], each["author"], each["reason"]) for each in found]
    show(output, found, lambda: table(("revision", "when", "cause", "author", "reason"), rows))


def get(
    revision: Annotated[int | None, typer.Option(help="Its number.", min=1, show_default="the live one")] = None,
    *,
    to: Annotated[
        Path | None, typer.Option(help="Write the documents into this directory.", show_default=False)
    ] = None,
    state: StateFolder = DEFAULT_STATE,
    server: ServerOption = "",
    ca_file: CaOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """A revision's documents, as they were written."""
    from gateway.publishing.telling import tell_revision

    where = desk(server, state, ca_file)
    found = where.revision(revision) if revision else where.live()
    if to is not None:
        for path, content in found.content.documents.items():
            _write(to / path, content)
        typer.echo(f"{to}: {len(found.content.documents)} documents of revision {found.number}")
        return
    show(output, tell_revision(found), lambda: _print_documents(dict(found.content.documents)))


def _tell_story(route: str, chapters: list[dict[str, Any]], output: Output) -> None:
    from gateway.publishing.story import chapter_words

    if not chapters:
        fail(f"no rollout of '{route}' is live; turnout status names the routes there are")
    rows = [(_when(each["at"]), str(each["revision"]), each["author"], chapter_words(each)) for each in chapters]
    show(output, chapters, lambda: table(("when", "revision", "author", "what"), rows))


def _write(file: Path, content: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, "utf-8")
    except OSError as error:
        fail(f"{file}: cannot be written: {error.strerror}")


def _print_status(told: dict[str, Any], *, is_whole: bool) -> None:
    live = told["live"]
    if live is None:
        typer.echo("nothing is kept: this gateway serves what it was started with")
    else:
        why = f": {live['reason']}" if live["reason"] else ""
        typer.echo(f"revision {live['revision']} of {_when(live['at'])} by {live['author']} ({live['cause']}){why}")
    if told["frozen"]:
        typer.echo(f"frozen: {told['frozen']}")
    for each in told["gateways"]:
        typer.echo(f"{each['gateway']} serves revision {each['revision']}{_trouble(each)}")
    if not told["gateways"]:
        typer.echo("no gateway serves it at the moment")
    for each in told["routes"]:
        typer.echo(f"{each['route']}: {each['sentence']}")
        print_arms(each.get("arms", []), is_whole=is_whole)
        for preference in each.get("preferences", ()):
            typer.echo(f"{each['route']}: {preference['sentence']}")
        if each.get("lists_open"):
            typer.echo(f"{each['route']}: {each['lists_open']} clicked lists more, whose window is open")


def _trouble(each: dict[str, Any]) -> str:
    return f": {each['trouble']}" if each["trouble"] else ""


def _print_route(told: dict[str, Any]) -> None:
    rows = [
        ("does", told["sentence"]),
        ("takes part", f"{percent(told['enrolled_ppm'])} of all units{_of_layer(told)}"),
        ("units", ", ".join(f"{arm} {percent(ppm)}" for arm, ppm in told["shares_ppm"].items())),
        ("shadows", ", ".join(f"{arm} {percent(ppm)}" for arm, ppm in told["shadow_ppm"].items()) or "none"),
        ("fallback", " → ".join(told["fallback"])),
        ("experiment", told["experiment"]),
        ("owner", told["owner"] or "nobody"),
        ("hypothesis", told["hypothesis"] or "none"),
        ("expires", told["expires"] or "never"),
        *((f"model of {arm}", reference) for arm, reference in told["models"].items()),
        *((f"{each['arm']} runs", each["sentence"]) for each in told.get("arms", [])),
    ]
    width = max(len(word) for word, _ in rows)
    for word, text in rows:
        typer.echo(f"{word:{width}}  {text}")
    print_replicas(told.get("arms", []))


def _of_layer(told: dict[str, Any]) -> str:
    return f", in layer {told['layer']}" if told["layer"] else ""


def _print_documents(documents: dict[str, str]) -> None:
    for path, content in documents.items():
        typer.echo(f"# {path}")
        typer.echo(content.rstrip("\n"))


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
