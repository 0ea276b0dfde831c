"""Configurations drawn at random, good ones and such as must be refused, and an operator who publishes them."""

import json
import random
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from time import sleep, time

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper

from benchmarks.load import LoadFailed
from benchmarks.models import ARMS, build_model

ROUTES = ("alpha", "beta", "gamma")
BALLAST = (0, 0, 1_000, 16_000, 64_000, 120_000, 180_000, 250_000)  # floats that a model carries along: up to 1 MiB
BAD_EVERY = 5
ANSWER_S = 60.0  # after which a change has failed
OK, REFUSED = 200, (409, 422)

Document = dict[str, object]


def write_config(folder: Path) -> dict[str, str]:
    """Models and three routes in `folder`; the documents by path."""
    (folder / "routes").mkdir(parents=True)
    for number, size in enumerate(BALLAST):
        onnx.save(laden("tiny", min(ARMS.values()) + number, size), folder / f"m{number}.onnx")
    (folder / "damaged.onnx").write_bytes((folder / "m0.onnx").read_bytes()[:-9])
    documents = {path_of(route): json.dumps(draw_good(random.Random(route), route)) for route in ROUTES}
    for path, text in documents.items():
        (folder / path).write_text(text)
    return documents


def path_of(route: str) -> str:
    return f"routes/{route}.yaml"


def laden(name: str, seed: int, size: int) -> ModelProto:
    """The model called `name` with `size` more floats in it, which change nothing."""
    model = build_model(name, seed)
    (probs,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["bare" if each == probs.name else each for each in node.output]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(size + 1, np.float32), "ballast"))
    model.graph.node.append(helper.make_node("ReduceSum", ["ballast"], ["nothing"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["bare", "nothing"], [probs.name]))
    onnx.checker.check_model(model, full_check=True)
    return model


def draw_good(chance: random.Random, route: str) -> Document:
    """Any document that can be served."""
    models = chance.sample(range(len(BALLAST)), chance.randint(2, 4))
    names = ["old", *chance.sample(["new", "other", "third"], len(models) - 1)]
    arms = {
        name: {"model": f"file:m{model}.onnx", "role": "candidate" if place else "baseline"}
        for place, (name, model) in enumerate(zip(names, models, strict=True))
    }
    document: Document = {"turnout": "v1", "route": route, "arms": arms, "timeout": f"{chance.randint(2, 4)}s"}
    match chance.choice(("baseline", "ab", "ab", "canary")):
        case "ab":
            shares = {name: f"{chance.randint(0, 100 // (len(names) - 1))}%" for name in names[1:]}
            document["strategy"] = {"kind": "ab", "shares": shares}
        case "canary":
            ramp = [{"share": f"{share}%"} for share in sorted(chance.sample(range(1, 100), 2))]
            document["strategy"] = {"kind": "canary", "candidate": names[1], "ramp": ramp}
        case kind:
            document["strategy"] = {"kind": kind}
    if chance.random() < 0.4:
        document["shadow"] = [{"candidate": chance.choice(names[1:]), "share": f"{chance.randint(1, 100)}%"}]
    return document


def draw_bad(chance: random.Random, route: str) -> tuple[str, Document]:
    """What is wrong with a document, and the document."""
    document = draw_good(chance, route)
    arms: dict[str, object] = document["arms"]  # type: ignore[assignment]
    fault = chance.choice(("arm", "share", "fallback", "cycle", "damaged", "missing"))
    match fault:
        case "arm":
            document["strategy"] = {"kind": "ab", "shares": {"nobody": "5%"}}
        case "share":
            document["strategy"] = {"kind": "ab", "shares": {[*arms][1]: "101%"}}
        case "fallback":
            document["fallback"] = ["old", "nobody"]
        case "cycle":
            document["fallback"] = ["old", "old"]
        case _:
            arms["wrong"] = {"model": f"file:{fault}.onnx", "role": "candidate"}
    return fault, document


class Operator:
    """Changes one route after the other, as drawn, at an even pace or as fast as the gateway takes it."""

    def __init__(self, admin_port: int, documents: dict[str, str], seed: int = 1) -> None:
        self.made_n = 0
        self.refused: Counter[str] = Counter()
        self._port = admin_port
        self._documents = documents
        self._chance = random.Random(seed)

    def work(self, per_second: float, ends_at: float) -> int:
        """Until a Unix time; returns how many changes were made. Raises LoadFailed."""
        before_n, due_at = self.made_n, time()
        while due_at < ends_at:
            sleep(max(0.0, due_at - time()))
            self.change()
            due_at = max(due_at + 1 / per_second, time())
        return self.made_n - before_n

    def change(self) -> None:
        """One change. Raises LoadFailed when a good one is refused, or a bad one taken."""
        self.made_n += 1
        route = self._chance.choice(ROUTES)
        fault, document = "", draw_good(self._chance, route)
        if self.made_n % BAD_EVERY == 0:
            fault, document = draw_bad(self._chance, route)
        documents = self._documents | {path_of(route): json.dumps(document)}
        status, told = self._ask("/v1/apply", {"documents": documents, "restart": [route]})
        if (status in REFUSED) != bool(fault) or (status != OK and not fault):
            raise LoadFailed(f"a change with fault {fault!r} came to status {status}: {told}")
        if fault:
            self.refused[fault] += 1
        else:
            self._documents = documents

    def _ask(self, path: str, body: object) -> tuple[int, str]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)) as connection:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
