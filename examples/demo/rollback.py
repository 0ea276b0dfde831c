"""A canary that takes itself back: its candidate answers nonsense, clients notice nothing, and nobody is at work."""

import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from claims import Claims
from clients import Answer, HttpClient
from rich.console import Console
from routes import ITSELF
from server import Gateway

UNITS_N = 200
LINE_S = 2.0  # of requests in each line of the picture
LIMIT_S = 120.0
BAR = 30
PAUSE_S = 0.002  # between requests: the machine has other things to do


@dataclass
class Rollback:
    """What clients saw, two seconds a line, and why the gateway said that it went back."""

    seen: list[Answer] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    reason: str = ""


def watch_rollback(gateway: Gateway, rows: list[dict], console: Console, claims: Claims) -> Rollback:
    """Ask until the gateway has taken the candidate back, and a little longer."""
    asker, began_at, found = HttpClient(gateway.ports["http"]), time.monotonic(), Rollback()
    told: dict = {}
    with console.status("clients ask, and a canary takes itself back"):
        for seen in _lines(asker, rows):
            found.seen += seen
            told = _route(gateway)
            fallback_n = sum(answer.fallback != "" for answer in seen)
            phase = told["rollout"]["phase"]
            found.lines.append(f"{time.monotonic() - began_at:4.0f} s  {_bar(fallback_n / len(seen))}  {_about(told)}")
            if (phase == "rolled_back" and not fallback_n) or time.monotonic() - began_at > LIMIT_S:
                break
    found.reason = told["rollout"]["reason"]
    claims.equal("itself: everybody got a digit", [], [answer for answer in found.seen if answer.digit is None])
    claims.equal("itself: who stepped in for nonsense", {"", "invalid_output"}, {each.fallback for each in found.seen})
    claims.equal("itself: the candidate is taken back", "rolled_back", told["rollout"]["phase"])
    claims.true("itself: the record says by which guardrail", "invalid_output" in found.reason)
    failed = {answer.event for answer in found.seen if answer.fallback}
    first = set(found.reason.rpartition("first: ")[2].split(", "))
    claims.true("itself: and names three requests that it has hurt", len(first) == 3 and first <= failed)
    return found


def show_rollback(found: Rollback, console: Console) -> None:
    console.print(
        "\n[bold]a canary by itself[/bold]: █ linear answers, ▒ linear answers for a network that answers NaN"
    )
    for line in found.lines:
        console.print(f"  {line}", markup=False)
    console.print(f"  {found.reason}", markup=False)


def _bar(fallback: float) -> str:
    width = round(BAR * fallback)
    return "█" * (BAR - width) + "▒" * width


def _about(told: dict) -> str:
    phase = told["rollout"]["phase"]
    return told["sentence"].partition("; ")[2].partition(",")[0] if phase == "baking" else phase.replace("_", " ")


def _lines(asker: HttpClient, rows: list[dict]) -> Iterator[list[Answer]]:
    """Requests without end, those of two seconds at a time."""
    number = 0
    while True:
        ends_at, seen = time.monotonic() + LINE_S, list[Answer]()
        while time.monotonic() < ends_at or not seen:
            seen.append(asker.infer(ITSELF, rows[number % len(rows)]["pixels"], f"customer-{number % UNITS_N}"))
            number += 1
            time.sleep(PAUSE_S)
        yield seen


def _route(gateway: Gateway) -> dict:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ports["admin"], timeout=30)
    try:
        connection.request("GET", f"/v1/routes/{ITSELF}")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
