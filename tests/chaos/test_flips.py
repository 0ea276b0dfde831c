"""Changes by the hundred while requests are answered: nobody fails, and every answer is that of the revision it names.

A few dozen changes in the ordinary suite; `make chaos` makes a thousand, in windows with and without them, and prints
what they cost in latency.
"""

import asyncio
import json
import os
import random
import re
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from contextlib import AsyncExitStack
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import monotonic
from typing import NamedTuple
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.cli.assign import assignment_of
from gateway.publishing.prepare import meaning_of
from gateway.routing.spares import MOST_N
from gateway.state.shelf import Shelf
from runners.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse

CHANGES_N = int(os.environ.get("TURNOUT_CHAOS_CHANGES", "20"))
IS_LONG = "TURNOUT_CHAOS_CHANGES" in os.environ
WINDOW_S = 5.0 if IS_LONG else 1.0
ROUTES = ("alpha", "beta", "gamma")
SIZES = (0, 0, 1_000, 16_000, 64_000, 120_000, 180_000, 250_000)  # floats that a model carries along: up to 1 MiB
UNITS = [f"unit-{n}" for n in range(97)]
CONNECTIONS_N, CHANNELS_N = 8, 4
DURATIONS = re.compile(r"^turnout_request_duration_seconds_count\{(.*)\} (\S+)$", re.MULTILINE)


class Answer(NamedTuple):
    """What a client was told and when, and which model's work it got."""

    connection: int
    route: str
    unit: str
    due_at: float
    sent_at: float
    answered_at: float
    status: str
    revision: int
    arm: str
    version: str
    offset: int
    mixed: str


def write_models(folder: Path) -> dict[str, int]:
    """Models that add a number of their own to what they are given, by reference; and some that are no good."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, size in enumerate(SIZES):
        (folder / f"m{number}.onnx").write_bytes(adder(number + 1, size, TensorProto.FLOAT))
    (folder / "doubles.onnx").write_bytes(adder(1, 0, TensorProto.DOUBLE))
    (folder / "damaged.onnx").write_bytes(adder(1, 0, TensorProto.FLOAT)[:-9])
    return {f"file:m{number}.onnx": number + 1 for number in range(len(SIZES))}


def adder(offset: int, size: int, kind: int) -> bytes:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    values = {"k": np.array(offset, dtype), "w": np.zeros(size + 1, dtype)}
    nodes = [
        helper.make_node("ReduceSum", ["w"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["k", "nothing"], ["offset"]),
        helper.make_node("Add", ["x", "offset"], ["y"]),
    ]
    given, made = (helper.make_tensor_value_info(name, kind, ["N", 4]) for name in "xy")
    held = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "adder", [given], [made], held)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def good(chance: random.Random, route: str) -> dict:
    """Any document that can be served."""
    arms_n = chance.randint(2, 4)
    models = chance.sample(range(len(SIZES)), arms_n)
    names = ["old", *chance.sample(["new", "other", "third"], arms_n - 1)]
    arms = {
        name: {"model": f"file:m{model}.onnx", "role": "candidate" if name != "old" else "baseline"}
        for name, model in zip(names, models, strict=True)
    }
    document = {"turnout": "v1", "route": route, "arms": arms, "timeout": chance.choice(("20s", "30s", "40s"))}
    kind = chance.choice(("baseline", "ab", "ab", "canary"))
    if kind == "ab":
        shares = {name: f"{chance.randint(0, 100 // (arms_n - 1))}%" for name in names[1:]}
        document["strategy"] = {"kind": "ab", "shares": shares}
    elif kind == "canary":
        low, high = sorted(chance.sample(range(1, 100), 2))
        ramp = [{"share": f"{low}%"}, {"share": f"{high}%"}]
        document["strategy"] = {"kind": "canary", "candidate": names[1], "ramp": ramp}
    else:
        document["strategy"] = {"kind": "baseline"}
    if chance.random() < 0.4:
        document["shadow"] = [{"candidate": chance.choice(names[1:]), "share": f"{chance.randint(1, 100)}%"}]
    return document


def bad(chance: random.Random, route: str) -> tuple[str, str]:
    """What is wrong with a document, and the document."""
    document = good(chance, route)
    fault = chance.choice(("arm", "share", "fallback", "cycle", "signature", "damaged", "missing", "long"))
    match fault:
        case "arm":
            document["strategy"] = {"kind": "ab", "shares": {"nobody": "5%"}}
        case "share":
            document["strategy"] = {"kind": "ab", "shares": {[*document["arms"]][1]: "101%"}}
        case "fallback":
            document["fallback"] = ["old", "nobody"]
        case "cycle":
            document["fallback"] = ["old", "old"]
        case "signature":
            document["arms"]["wrong"] = {"model": "file:doubles.onnx", "role": "candidate"}
        case "damaged" | "missing":
            document["arms"]["wrong"] = {"model": f"file:{fault}.onnx", "role": "candidate"}
        case "long":
            document["hypothesis"] = "x" * 256 * 1024
    return fault, json.dumps(document)


class Load:
    """Requests over kept connections at an even pace, as many over each, whatever becomes of those before."""

    def __init__(self, gateway) -> None:
        self.answers: list[Answer] = []
        self._gateway = gateway
        self._chance = random.Random(11)
        self._interval_s = 0.0  # between two requests of one connection; 0: at once
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task] = []
        self._is_over = False

    async def __aenter__(self) -> "Load":
        for number in range(CONNECTIONS_N):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._gateway.http)
            self._stack.callback(writer.close)
            self._begin(number, HttpClient(reader, writer))
        for number in range(CONNECTIONS_N, CONNECTIONS_N + CHANNELS_N):
            options = [("grpc.use_local_subchannel_pool", 1)]
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{self._gateway.grpc}", options)
            await self._stack.enter_async_context(channel)
            self._begin(number, GrpcClient(channel))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)
        await self._stack.aclose()

    async def halve(self, seconds: float) -> float:
        """See how much can be answered, and go on with half of that; returns requests a second."""
        before, began_at = len(self.answers), monotonic()
        await asyncio.sleep(seconds)
        rate = (len(self.answers) - before) / (monotonic() - began_at) / 2
        self._interval_s = (CONNECTIONS_N + CHANNELS_N) / rate
        return rate

    def _begin(self, number: int, client: "HttpClient | GrpcClient") -> None:
        self._tasks.append(asyncio.create_task(self._work(number, client)))

    async def _work(self, number: int, client: "HttpClient | GrpcClient") -> None:
        due_at = monotonic()
        while not self._is_over:
            interval_s = self._interval_s
            due_at = due_at + interval_s if interval_s else monotonic()
            await asyncio.sleep(max(0.0, due_at - monotonic()))
            route, unit = self._chance.choice(ROUTES), self._chance.choice(UNITS)
            sent_at = monotonic()
            told = await client.ask(route, unit, self._chance.randrange(1000))
            self.answers.append(Answer(number, route, unit, due_at, sent_at, monotonic(), *told))


Told = tuple[str, int, str, str, int, str]  # the last fields of an answer


class HttpClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, route: str, unit: str, value: int) -> Told:
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [value] * 4}]})
        head = f"POST /v2/models/{route}/infer HTTP/1.1\r\nhost: x\r\nx-turnout-unit: {unit}\r\n"
        self._writer.write(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        raw = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = raw.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        content = json.loads(await self._reader.readexactly(int(headers["content-length"])))
        if status != "HTTP/1.1 200 OK":
            return f"{status}: {content}", 0, "", "", 0, ""
        names = {key.removeprefix("x-turnout-"): headers[key] for key in headers if key.startswith("x-turnout-")}
        found = {key.removeprefix("turnout_"): str(value) for key, value in content["parameters"].items()}
        data = content["outputs"][0]["data"]
        mixed = told_apart(names, found, content["model_version"], [each - value for each in data])
        return "ok", int(names["revision"]), names["arm"], names["version"], int(data[0]) - value, mixed


class GrpcClient:
    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer", ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )

    async def ask(self, route: str, unit: str, value: int) -> Told:
        message = ModelInferRequest(model_name=route)
        message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        message.raw_input_contents.append(np.full(4, value, np.float32).tobytes())
        call = self._infer(message, metadata=(("x-turnout-unit", unit),), timeout=60)
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return f"{error.code()}: {error.details()}", 0, "", "", 0, ""
        metadata = dict(await call.initial_metadata())
        names = {key.removeprefix("x-turnout-"): metadata[key] for key in metadata if key.startswith("x-turnout-")}
        found = {
            key.removeprefix("turnout_"): parameter.string_param or str(parameter.int64_param)
            for key, parameter in answer.parameters.items()
        }
        data = np.frombuffer(answer.raw_output_contents[0], np.float32).tolist()
        mixed = told_apart(names, found, answer.model_version, [each - value for each in data])
        return "ok", int(names["revision"]), names["arm"], names["version"], int(data[0]) - value, mixed


def told_apart(names: dict[str, str], found: dict[str, str], version: str, offsets: list[float]) -> str:
    """Where an answer's parts do not agree, "" if they do."""
    if names != found or names["version"] != version or len(set(offsets)) != 1 or "fallback" in names:
        return f"{names} {found} {version} {offsets}"
    return ""


class Operator:
    """Makes changes at random, a fifth of them no good, and remembers when each was live."""

    def __init__(self, operator, documents: dict[str, str], seed: int) -> None:
        self.lives: list[tuple[float, int]] = []  # when an apply had returned, and the number it returned
        self.refused: Counter[str] = Counter()
        self.made_n = 0
        self._operator = operator
        self._documents = documents
        self._chance = random.Random(seed)

    async def change(self) -> None:
        route = self._chance.choice(ROUTES)
        if self.made_n % 5 == 4:
            await self._make_bad(route)
        elif self._chance.random() < 0.1:
            self._went_live(await self._ask(f"/v1/routes/{route}/{self._chance.choice(['advance', 'rollback'])}", {}))
        else:
            documents = self._documents | {path_of(route): json.dumps(good(self._chance, route))}
            status, told = await self._ask("/v1/apply", {"documents": documents, "restart": [route]})
            assert status == 200, told
            self._documents = documents
            self._went_live((status, told))
        self.made_n += 1

    async def live(self) -> dict:
        status, told = await asyncio.to_thread(self._operator.ask, "GET", "/v1/revisions/live")
        assert status == 200
        return told

    async def _make_bad(self, route: str) -> None:
        before = await self.live()
        fault, text = bad(self._chance, route)
        status, told = await self._ask("/v1/apply", {"documents": self._documents | {path_of(route): text}})
        assert (fault, status in (409, 422)) == (fault, True), told
        assert await self.live() == before
        self.refused[fault] += 1

    def _went_live(self, answer: tuple[int, dict]) -> None:
        status, told = answer
        if status == 200 and told["published"]:
            self.lives.append((monotonic(), told["live"]))

    async def _ask(self, path: str, body: dict) -> tuple[int, dict]:
        return await asyncio.to_thread(self._operator.ask, "POST", path, body)


def path_of(route: str) -> str:
    return f"routes/{route}.yaml"


class Window(NamedTuple):
    """A stretch of time with changes or without."""

    has_changes: bool
    began_at: float
    ended_at: float


async def in_windows(changes: Operator) -> list[Window]:
    """Make all changes, with a window without any after each with some."""
    windows = []
    while changes.made_n < CHANGES_N:
        began_at = monotonic()
        while changes.made_n < CHANGES_N and monotonic() < began_at + WINDOW_S:
            await changes.change()
        windows.append(Window(True, began_at, monotonic()))
        await asyncio.sleep(WINDOW_S)
        windows.append(Window(False, windows[-1].ended_at, monotonic()))
    return windows


@pytest.fixture
def served(start_gateway, tmp_path):
    """A gateway with three routes, and where their models are."""
    root = tmp_path / "config"
    offsets = write_models(root)
    (root / "routes").mkdir()
    for route in ROUTES:
        (root / path_of(route)).write_text(json.dumps(good(random.Random(route), route)))
    return start_gateway(root, "--workers", "2"), root, offsets


async def test_changes_under_load_fail_and_mislead_nobody(served, operator_of, start_again, capsys):
    """The whole promise of a change: all or nothing, at once, and felt by no client."""
    gateway, root, offsets = served
    changes = Operator(operator_of(gateway), {path_of(r): (root / path_of(r)).read_text() for r in ROUTES}, CHANGES_N)
    async with Load(gateway) as load:
        rate = await load.halve(3.0 if IS_LONG else 1.0)
        first = [resident_mib(pid) for pid in (gateway.process.pid, *gateway.workers())]
        windows = await in_windows(changes)
        await asyncio.sleep(0.2)
    answers = load.answers

    assert Counter(answer.status for answer in answers) == {"ok": len(answers)}
    assert [answer.mixed for answer in answers if answer.mixed] == []
    assert_follows(answers, gateway.state, root, offsets)
    assert_in_order(answers, changes.lives)
    await until_drained(gateway, answers)
    last = [resident_mib(pid) for pid in (gateway.process.pid, *gateway.workers())]
    live, held = await changes.live(), [held_by(pid) for pid in gateway.workers()]
    assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()

    afresh = start_again(gateway, root, "--workers", "2")
    assert (await Operator(operator_of(afresh), {}, 0).live()) == live
    fresh = [held_by(pid) for pid in afresh.workers()]
    for threads_n, files_n in held:  # each open model has a thread, spares as well; the rest are those of a pool
        assert (threads_n <= min(fresh)[0] + 8 + MOST_N, files_n <= min(fresh)[1] + 16) == (True, True), (held, fresh)
    assert all(now < before + 64 for before, now in zip(first, last, strict=True)), (first, last)
    with capsys.disabled():
        tell(changes, answers, windows, rate, f"MiB {first} then {last}, threads and files {held}, afresh {fresh}")


def assert_follows(answers: list[Answer], state: Path, root: Path, offsets: dict[str, int]) -> None:
    """Every answer is by the arm that its unit has in the revision that is named, and of that arm's model."""
    shelf = Shelf(state)
    versions = {f"file:{file.name}": sha256(file.read_bytes()).hexdigest()[:12] for file in root.glob("*.onnx")}
    try:
        for number, those in grouped(answers, "revision").items():
            meaning = meaning_of(shelf.store().get(number), root)
            for answer in those:
                route = meaning.routes[answer.route]
                arm = assignment_of(route, answer.unit, {})["arm"]
                model = next(each.model.reference for each in route.arms if each.arm.name == arm)
                assert (answer.arm, answer.version, answer.offset) == (arm, versions[model], offsets[model]), answer
    finally:
        shelf.close()


def assert_in_order(answers: list[Answer], lives: list[tuple[float, int]]) -> None:
    """No connection goes back, and nobody who asks after a change is answered by what was before it."""
    for those in grouped(answers, "connection").values():
        for before, after in pairwise(those):
            assert before.revision <= after.revision, (before, after)
    times = [at for at, _ in lives]
    late = [
        answer
        for answer in answers
        if (place := bisect_right(times, answer.sent_at)) and answer.revision < lives[place - 1][1]
    ]
    assert late == []


def grouped(answers: list[Answer], field: str) -> dict[int, list[Answer]]:
    groups = defaultdict(list)
    for answer in answers:
        groups[getattr(answer, field)].append(answer)
    return groups


async def until_drained(gateway, answers: list[Answer]) -> None:
    """Every request is counted once, and nothing is under way any more."""
    wanted = Counter(("http" if answer.connection < CONNECTIONS_N else "grpc", answer.route) for answer in answers)
    for _ in range(100):
        text = await asyncio.to_thread(scrape, gateway.metrics)
        counted = Counter()
        for labels, count in DURATIONS.findall(text):
            found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            counted[found["protocol"], found["route"]] += int(float(count))
        busy = re.findall(r"^turnout_(?:inflight_requests|shadow_pending)\{.*\} [1-9].*$", text, re.MULTILINE)
        if counted == wanted and not busy:
            break
        await asyncio.sleep(0.1)
    assert (counted, busy) == (wanted, [])
    assert "turnout_records_failed_total 0.0" in text


def scrape(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        return response.read().decode()


def status_of(pid: int) -> dict[str, str]:
    return dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def resident_mib(pid: int) -> int:
    return int(status_of(pid)["VmRSS"].split()[0]) >> 10


def held_by(pid: int) -> tuple[int, int]:
    """Threads and open files."""
    return int(status_of(pid)["Threads"]), len(list(Path(f"/proc/{pid}/fd").iterdir()))


def tell(changes: Operator, answers: list[Answer], windows: list[Window], rate: float, usage: str) -> None:
    """What it cost, for whoever reads on."""
    p99 = [percentile_ms(answers, window) for window in windows]
    ratios = [round(busy / calm, 2) for busy, calm in zip(p99[::2], p99[1::2], strict=True)]
    changing_s = sum(each.ended_at - each.began_at for each in windows if each.has_changes)
    sys.stdout.write(
        f"\n{changes.made_n} changes in {changing_s:.1f} s, {len(changes.lives)} live, refused {dict(changes.refused)}"
        f"\n{len(answers)} answers at {rate:.0f}/s; p99 in ms, with and without changes by turns: {p99}"
        f"\nratios of p99: {ratios}, median {median(ratios)}; {usage}\n"
    )


def percentile_ms(answers: list[Answer], window: Window) -> float:
    times = sorted(a.answered_at - a.due_at for a in answers if window.began_at <= a.due_at < window.ended_at)
    return round(times[int(len(times) * 0.99)] * 1000, 2)
