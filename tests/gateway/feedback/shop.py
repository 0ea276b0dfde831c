"""A shop behind a real gateway: constant rankers, whoever asks them over HTTP, and readers who click."""

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from gateway.state.shelf import Shelf
from gateway.state.tally import Tally

A, B = tuple(range(10)), (5, 0, 6, 1, 7, 2, 8, 3, 9, 4)
GRADES = (2, 2, 1, 1, 1, 0, 0, 0, 0, 0)  # of items 0 to 9
POST_CLICKS = 256


@dataclass(frozen=True)
class Reader:
    """Goes down from the top, clicks by an item's grade, and may leave after a click: a dependent click model.

    Source: Guo, Liu and Wang (2009), Efficient multiple-click models in web search.
    """

    click: tuple[float, float, float]
    stop: tuple[float, float, float]
    by_place: float = 1.0  # what a click's chance is multiplied by from each place to the next

    def clicks(self, items: Sequence[int], chance: random.Random) -> Iterator[int]:
        for place, item in enumerate(items):
            if chance.random() < self.click[GRADES[item]] * self.by_place**place:
                yield item
                if chance.random() < self.stop[GRADES[item]]:
                    return


def write_shop(folder: Path, routes: Sequence[str], settings: str = "", strategy: str = "") -> Path:
    """A config directory with routes that interleave A, the baseline, and B."""
    (folder / "models").mkdir(parents=True)
    (folder / "routes").mkdir()
    (folder / "turnout.yaml").write_text(f"turnout: v1\n{settings}")
    for name, ids in (("a", A), ("b", B)):
        output = {"name": "ids", "datatype": "INT64", "shape": [-1, 10], "data": ids}
        query = {"name": "query", "datatype": "INT64", "shape": [-1]}
        (folder / "models" / f"{name}.json").write_text(json.dumps({"inputs": [query], "outputs": [output]}))
    for route in routes:
        (folder / "routes" / f"{route}.yaml").write_text(
            f"turnout: v1\nroute: {route}\narms:\n"
            '  a: {model: "constant:models/a.json", role: baseline}\n'
            '  b: {model: "constant:models/b.json", role: candidate}\n'
            f"strategy: {strategy or '{kind: interleave, partners: [b], ids: ids}'}\n"
            "timeout: 30s\n"
        )
    return folder


@dataclass
class Client:
    """Asks a gateway, and posts clicks. `results` are what clicks came to."""

    port: int
    results: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def lists(self, route: str, rows_n: int = 1, **headers: str) -> tuple[str, list[list[int]]]:
        """The token of an answer, and the list of each of its rows."""
        query = {"name": "query", "datatype": "INT64", "shape": [rows_n], "data": [0] * rows_n}
        status, answer = self.ask("POST", f"/v2/models/{route}/infer", {"inputs": [query]}, **headers)
        assert 200 == status, answer
        ids = answer["outputs"][0]["data"]
        return answer["parameters"]["turnout_token"], [ids[at : at + 10] for at in range(0, len(ids), 10)]

    def click(self, token: str, clicks: Sequence[dict[str, Any]]) -> tuple[int, Any]:
        status, answer = self.ask("POST", "/v1/feedback", {"token": token, "clicks": list(clicks)})
        self.results += [each["result"] for each in answer.get("clicks", ())]
        return status, answer

    def read(self, route: str, reader: Reader, lists_n: int, chance: random.Random, rows_n: int = 100) -> None:
        """Have a reader click on so many lists, which come `rows_n` an answer."""
        for _ in range(0, lists_n, rows_n):
            token, lists = self.lists(route, rows_n)
            clicks = [
                {"row": row, "item": item} for row, items in enumerate(lists) for item in reader.clicks(items, chance)
            ]
            for at in range(0, len(clicks), POST_CLICKS):
                status, answer = self.click(token, clicks[at : at + POST_CLICKS])
                assert 200 == status, answer


def settled(state: Path, experiment: str) -> Tally:
    """What all clicks in a state say, as if every window had closed. For a gateway that has stopped."""
    shelf = Shelf(state)
    try:
        clicks = shelf.clicks()
        while clicks.settle(time.time() + 1e6, 0.0):
            pass
        tallies = clicks.standing(experiment).tallies
    finally:
        shelf.close()
    return tallies[0] if tallies else Tally(experiment, "b", "a")
