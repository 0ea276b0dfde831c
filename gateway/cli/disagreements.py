"""`turnout disagreements`: where shadows said something else than the client got, and how much of that is noise."""

from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.kept import DEFAULT_STATE, StateFolder
from gateway.cli.loading import fail
from gateway.cli.printing import Output, OutputOption, show, table
from observability.event import ShadowEvent

TEXT_N = 60  # characters of an answer in the table


def disagreements(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="The route's public name.")],
    *,
    arm: Annotated[str, typer.Option(help="Only this shadow.", show_default="all")] = "",
    limit: Annotated[int, typer.Option(help="How many requests to list, the latest first.", min=0, max=10_000)] = 20,
    events: Annotated[Path | None, typer.Option(help="The directory of events.", show_default="STATE/events")] = None,
    state: StateFolder = DEFAULT_STATE,
    output: OutputOption = Output.TABLE,
) -> None:
    """How far a route's shadows agree with the answers served, from the events kept here, and where they do not."""
    from gateway.comparing.account import ShadowAccount
    from gateway.comparing.telling import tell_account
    from observability.segments import shadow_events

    account, latest = ShadowAccount(), deque[ShadowEvent](maxlen=limit)
    folder = events or state / "events"
    try:
        for event in shadow_events(folder, route):
            account.add(event)
            if event.outcome == "mismatch" and arm in ("", event.arm):
                latest.append(event)
    except (OSError, ValueError) as error:
        fail(f"{folder}: events cannot be read: {error}; --events names their directory")
    if not account.arms:
        fail(f"{folder}: no shadow call of route '{route}' is in the events kept here")
    if arm and arm not in account.arms:
        fail(f"route '{route}' has no shadow '{arm}' in the events kept here; there is {', '.join(account.arms)}")
    told = {"route": route, "arms": tell_account(account, arm), "requests": [_tell(each) for each in reversed(latest)]}
    show(output, told, lambda: _print(told))


def _tell(event: ShadowEvent) -> dict[str, Any]:
    return {
        "at": event.at,
        "request_id": event.request_id,
        "event_id": event.event_id,
        "arm": event.arm,
        "answered_arm": event.answered_arm,
        "agreement": event.agreement,
        "invalid": event.invalid,
        "flips": event.flips,
        "max_abs": event.max_abs,
        "served": event.served,
        "shadowed": event.shadowed,
    }


def _print(told: dict[str, Any]) -> None:
    for arm in told["arms"]:
        typer.echo(f"{arm['arm']}: {arm['sentence']}")
    rows = [
        (
            datetime.fromtimestamp(each["at"], UTC).strftime("%Y-%m-%d %H:%M:%S"),
            each["request_id"],
            each["event_id"],
            each["arm"],
            _how(each),
            _short(each["served"]),
            _short(each["shadowed"]),
        )
        for each in told["requests"]
    ]
    if rows:
        typer.echo()
        table(("when", "request", "event", "arm", "how", "served", "shadowed"), rows)


def _how(each: dict[str, Any]) -> str:
    if each["invalid"]:
        return f"invalid: {each['invalid']}"
    if each["flips"]:
        return f"{each['flips']} flipped"
    return f"{1 - each['agreement']:.2%} of elements, at most by {each['max_abs']:.3g}"


def _short(text: str) -> str:
    return text if len(text) <= TEXT_N else text[: TEXT_N - 1] + "…"
