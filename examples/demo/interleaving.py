"""Two rankers in one list: readers click what they like, not knowing whose it is, until the better one is known."""

import http.client
import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from claims import Claims
from rich.console import Console
from routes import RANKERS, SEARCH, UNIT_HEADER
from server import Gateway

FOLDER = Path(__file__).parents[1] / "search"
CATALOGUE_N = 200
LISTS_N = 300
READERS_N = 100
CLICK = {True: 0.9, False: 0.1}  # by whether a find is the digit that is searched for
STOP = {True: 0.1, False: 0.05}  # after a click: patient readers, who want to see more than one
LIMIT_S = 60
SCALE = 40  # characters from 0 to 100 %
STEP_N = 40  # lists more, at least, before the next line


@dataclass
class Readers:
    """Search with rows of the table, and click. `lists_n` are lists with at least one click that was accepted."""

    gateway: Gateway
    rows: list[dict]
    labels: list[int] = field(default_factory=lambda: json.loads((FOLDER / "labels.json").read_text()))
    chance: random.Random = field(default_factory=lambda: random.Random(7))
    results: list[str] = field(default_factory=list)
    lists_n: int = 0
    posts_n: int = 0

    def __post_init__(self) -> None:
        self._data = http.client.HTTPConnection("127.0.0.1", self.gateway.ports["http"], timeout=30)
        self._admin = http.client.HTTPConnection("127.0.0.1", self.gateway.ports["admin"], timeout=30)

    def search(self, number: int) -> None:
        """One reader asks, looks from the top, and clicks."""
        row = self.rows[CATALOGUE_N + number % (len(self.rows) - CATALOGUE_N)]
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": row["pixels"]}
        headers = {UNIT_HEADER: f"reader-{number % READERS_N}"}
        _, answer = ask(self._data, "POST", f"/v2/models/{SEARCH}/infer", {"inputs": [tensor]}, headers)
        ids = next(output["data"] for output in answer["outputs"] if output["name"] == "ids")
        clicked = list(self._clicks(ids, row["label"]))
        if clicked:
            told = self.post(answer["parameters"]["turnout_token"], clicked)
            self.lists_n += "accepted" in told

    def post(self, token: str, items: list[int]) -> list[str]:
        """Tell the gateway of clicks; returns what each came to."""
        body = {"token": token, "clicks": [{"row": 0, "item": item} for item in items]}
        _, answer = ask(self._data, "POST", "/v1/feedback", body)
        told = [each["result"] for each in answer["clicks"]] if "clicks" in answer else [answer["code"]]
        self.results += told
        self.posts_n += 1
        return told

    def preference(self) -> dict | None:
        """What the gateway makes of it so far."""
        _, status = ask(self._admin, "GET", "/v1/status")
        route = next(each for each in status["routes"] if each["route"] == SEARCH)
        return route["preferences"][0] if route["preferences"] else None

    def _clicks(self, ids: list[int], digit: int):
        for item in ids:
            is_found = self.labels[item] == digit
            if self.chance.random() < CLICK[is_found]:
                yield item
                if self.chance.random() < STOP[is_found]:
                    return


def show_interleaving(gateway: Gateway, rows: list[dict], console: Console, claims: Claims) -> int:
    """Let readers search until the preference is known; returns how many lists they were shown."""
    console.print("\n[bold]interleaving[/bold]: two rankers in one list, and whose item a reader clicks decides")
    readers, shown_n = Readers(gateway, rows), 0
    for number in range(LISTS_N):
        readers.search(number)
        shown_n = show_progress(readers, console, shown_n) if number % 10 == 0 else shown_n
    readers.post("no-token", [1])  # and somebody who would like to decide it
    until = time.monotonic() + LIMIT_S
    while settled_n(readers.preference()) < readers.lists_n and time.monotonic() < until:
        shown_n = show_progress(readers, console, shown_n)
        time.sleep(0.1)
    found = readers.preference()
    show_progress(readers, console, -STEP_N)
    claims.equal("interleaving: every clicked list counts once", readers.lists_n, settled_n(found))
    claims.true("interleaving: clicks find the better ranker", found and found["is_shown"])
    claims.true("interleaving: it is the learned one", found and found["lists"]["delta"] > 0)
    claims.equal("interleaving: a forged click is refused", ["forged"], [r for r in readers.results if "for" in r])
    if found:
        console.print(f"  {found['sentence']}")
    return readers.posts_n


def settled_n(preference: dict | None) -> int:
    return sum(preference["lists"][word] for word in ("wins", "losses", "ties")) if preference else 0


def show_progress(readers: Readers, console: Console, shown_n: int) -> int:
    """A line if enough lists are settled since the last; returns how many were by then."""
    found = readers.preference()
    now_n = settled_n(found)
    if found is None or now_n < shown_n + STEP_N:
        return shown_n
    console.print(f"  {now_n:3} lists  {picture(found)}")
    return now_n


def picture(found: dict) -> str:
    """Where the share of decided lists that the candidate wins lies: narrower with every list."""
    low, high = (round(SCALE * edge) for edge in found["win_rate"])
    decided = found["lists"]["wins"] + found["lists"]["losses"]
    seen = round(SCALE * found["lists"]["wins"] / decided) if decided else SCALE // 2
    line = ["·"] * (SCALE + 1)
    line[SCALE // 2] = "│"
    line[low : high + 1] = "━" * (high + 1 - low)
    line[seen] = "●"
    ink = "green" if found["is_shown"] else "yellow"
    baseline, candidate = RANKERS
    scale = f"{baseline} [{ink}]{''.join(line)}[/] {candidate}"
    return f"{scale}  {found['lists']['wins']} of {decided}, p {found['lists']['p_value']:.1g}"


def ask(connection, method: str, path: str, body: object = None, headers: dict | None = None) -> tuple[int, dict]:
    connection.request(method, path, json.dumps(body) if body is not None else None, headers or {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())
