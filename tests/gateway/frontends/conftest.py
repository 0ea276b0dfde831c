"""A gateway of fakes behind both real frontends: models with a script, a recorder that listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import grpc
import numpy as np
import pytest

from gateway.arrival import Arrival, Reply
from gateway.execution.outcome import Outcome, Routed
from gateway.execution.shadows import ShadowPool
from gateway.facts import Gatherer, Source
from gateway.frontends.discovery import Discovery
from gateway.frontends.http import HttpFrontend
from gateway.frontends.http_exchange import Exchange
from gateway.frontends.limits import Limits
from gateway.frontends.readiness import Readiness
from gateway.frontends.reception import Reception
from gateway.frontends.servers import Listen, Servers, Serving
from gateway.overrides import may_force
from gateway.routing.router import Router
from gateway.routing.table import BoundArm, BoundRoute, RoutingTable
from gateway.service import Service
from observability.metrics import Metrics
from observability.tracing import Tracing
from runners.core.errors import DeadlineExceeded, NotReady
from runners.core.runner import Description
from runners.core.tensor import DATATYPES, InferenceRequest, InferenceResponse, Signature, Tensor, TensorSpec
from strategies.core.arm import Arm, Arms, Role
from strategies.core.assignment import reallocate
from strategies.core.decider import Decider
from strategies.core.plan import Reason, answering, uncounted

Answer = Callable[[InferenceRequest], InferenceResponse]

X = TensorSpec("x", "FP32", (-1, 4))
Y = TensorSpec("y", "FP32", (-1, 1))
PLAIN = Signature((X,), (Y,))
MIRRORED = tuple(TensorSpec(name, name, (-1,)) for name in DATATYPES)
LIMITS = Limits(body_bytes=1 << 20, json_elements=1 << 14)


def mirror(request: InferenceRequest) -> InferenceResponse:
    """Every input comes back under its own name, or those that were asked for in the order asked."""
    given = {tensor.name: tensor for tensor in request.inputs}
    return InferenceResponse(tuple(given[name] for name in request.outputs) or request.inputs)


def constant(value: float) -> Answer:
    return lambda _: InferenceResponse((Tensor("y", "FP32", np.array([[value]], np.float32)),))


class FakeEndpoint:
    """Answers by a function, raises what it is given, or hangs; notices when it is cancelled."""

    def __init__(self, answer: Answer | Exception | str, version: str, signature: Signature = PLAIN) -> None:
        self.answer = answer
        self.description = Description(signature, "onnx_onnxv1", version, "0" * 64, "cpu")
        self.is_ready = True
        self.seen: list[InferenceRequest] = []
        self.deadlines: list[float] = []
        self.began = asyncio.Event()
        self.was_cancelled = False

    def ready(self) -> bool:
        return self.is_ready

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        self.seen.append(request)
        self.deadlines.append(deadline_at)
        self.began.set()
        if not self.is_ready:
            raise NotReady("the model is not ready")
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, str):
            try:
                await asyncio.sleep(max(deadline_at - monotonic(), 0.0))
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
            raise DeadlineExceeded("the model hung")
        return self.answer(request)

    async def close(self) -> None:
        self.is_ready = False


@dataclass
class Record:
    """What the recorder was told of one request."""

    arrival: Arrival
    routed: Routed | None
    outcome: Outcome | None
    reply: Reply


@dataclass
class ListeningRecorder:
    records: list[Record] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)

    def record(self, arrival: Arrival, routed: Routed | None, outcome: Outcome | None, reply: Reply) -> None:
        self.records.append(Record(arrival, routed, outcome, reply))

    def refuse(self, protocol: str, code: str) -> None:
        self.refused.append((protocol, code))


@dataclass
class HttpReply:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The error's text, if the reply is what the protocol says an error looks like."""
        assert b"application/json" == self.headers[b"content-type"]
        document = json.loads(self.body)
        assert ["error"] == list(document)
        return document["error"]


class FakeWire:
    """An exchange without a connection: its body comes piece by piece, each when the one before was read.

    A piece that is None never comes.
    """

    def __init__(self, pieces: tuple[bytes | None, ...]) -> None:
        self.exchange = Exchange(self, "10.0.0.9")
        self._pieces = list(pieces)
        self._answers: list[tuple[int, bytes, bytes]] = []
        self.want_more(0)

    def want_more(self, held_n: int) -> None:
        if held_n or self.exchange.is_whole:
            return
        piece = self._pieces.pop(0) if self._pieces else b""
        if piece is None:
            return
        if piece:
            self.exchange.feed(piece)
        if not self._pieces:
            self.exchange.finish()

    def write(self, data: bytes) -> None:
        raise AssertionError(f"nothing but an answer is written: {data!r}")

    def write_answer(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
        self._answers.append((status, lines, body))

    def reply(self) -> "HttpReply":
        """The one answer that was written."""
        ((status, lines, body),) = self._answers
        listed = [tuple(line.split(b": ", 1)) for line in lines.split(b"\r\n")[:-1]]
        headers = dict(listed)
        assert (len(listed), len(body)) == (len(headers), int(headers[b"content-length"]))
        if self.exchange.closes:
            headers[b"connection"] = b"close"
        return HttpReply(status, headers, body)


class Stage:
    """Both frontends over routes of fakes; `records` is what was recorded."""

    def __init__(self) -> None:
        self.router = Router(RoutingTable(3, {}, {}))
        self.metrics = Metrics("1.2.3")
        self.recorder = ListeningRecorder()
        self.readiness = Readiness()
        self.readiness.set(True)
        self.service = Service(self.router, ShadowPool(lambda _: None))
        self.serving = Serving(
            self.service,
            self.router,
            self.recorder,
            Tracing(),
            self.readiness,
            "1.2.3",
            LIMITS,  # type: ignore[arg-type]
        )
        discovery = Discovery(self.router, self.readiness, "1.2.3")
        self.http = HttpFrontend(self.service, self.recorder, Reception(Tracing()), discovery, LIMITS)  # type: ignore[arg-type]

    @property
    def records(self) -> list[Record]:
        return self.recorder.records

    def route(self, name: str, *endpoints: FakeEndpoint, timeout_s: float = 30.0) -> None:
        """Add a route whose first endpoint is the baseline; a second one takes all traffic and falls back on it."""
        roles = [Role.BASELINE, *[Role.CANDIDATE] * (len(endpoints) - 1)]
        arms = Arms(
            tuple(Arm(index, f"{name}-{index}", role, "fake:", "") for index, role in enumerate(roles)), (f"{name}-0",)
        )
        plan = answering(arms.all[-1], 1_000_000, arms)
        gatherer = Gatherer(
            salt=f"{name}/0",
            unit=Source(b"x-turnout-unit"),
            attributes=(),
            arms=frozenset(arms.names),
            may_force=partial(may_force, b"secret", name),
        )
        gatherer.pins = {endpoint.description.version: f"{name}-{n}" for n, endpoint in enumerate(endpoints)}
        bound = BoundRoute(
            name=name,
            revision=3,
            experiment=f"{name}@3",
            strategy="canary",
            arms=tuple(BoundArm(arm, endpoint) for arm, endpoint in zip(arms.all, endpoints, strict=True)),
            decider=Decider(
                allocation=reallocate(None, (plan,)),
                overrides={arm.name: uncounted(arm, Reason.OVERRIDE, arms) for arm in arms},
                pins={arm.name: uncounted(arm, Reason.PINNED, arms) for arm in arms},
            ),
            gather=gatherer.gather,
            attribute_names=(),
            unit_kind="x-turnout-unit",
            timeout_s=timeout_s,
            is_critical=True,
            meter=self.metrics.route(name, "canary", [(arm.name, "") for arm in arms]),
        )
        table = self.router.table
        self.router.swap(RoutingTable(3, {**table.routes, name: bound}, table.quarantined))

    def quarantine(self, name: str, reason: str) -> None:
        table = self.router.table
        self.router.swap(RoutingTable(3, table.routes, {**table.quarantined, name: reason}))

    async def ask(
        self, method: str, path: str, *pieces: bytes | None, headers: Mapping[str, str | bytes] | None = None
    ) -> HttpReply:
        """One HTTP request without a socket; several pieces come one by one, as a chunked body does."""
        is_announced = any(name.lower() == "content-length" for name in headers or {})
        wire = FakeWire(pieces or ((None,) if is_announced else ()))
        exchange = wire.exchange
        exchange.method, exchange.path = method, path
        for name, value in (headers or {}).items():
            exchange.headers[name.lower().encode()] = value if isinstance(value, bytes) else value.encode()
        await self.http(exchange)
        return wire.reply()

    async def infer(self, model: str, body: object, headers: Mapping[str, str] | None = None) -> HttpReply:
        """POST a body, as JSON unless it is bytes already, to a model's infer path."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.ask("POST", f"/v2/models/{model}/infer", raw, headers=headers)


def tensor(
    name: str = "x", data: object = (0.0, 1.0, 2.0, 3.0), shape: object = (1, 4), datatype: str = "FP32"
) -> dict:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def binary(document: dict, *raw: bytes) -> tuple[bytes, dict[str, str]]:
    """A body of JSON with tensors behind it, and the header that says where they begin."""
    head = json.dumps(document).encode()
    return b"".join((head, *raw)), {"Inference-Header-Content-Length": str(len(head))}


@pytest.fixture
def stage() -> Stage:
    """Routes: `plain`, one model; `ramped`, a candidate over a baseline; `mirror`, which gives back what it gets."""
    stage = Stage()
    stage.route("plain", FakeEndpoint(constant(1.0), "v1"))
    stage.route("ramped", FakeEndpoint(constant(1.0), "v1"), FakeEndpoint(constant(2.0), "v2"))
    stage.route("mirror", FakeEndpoint(mirror, "v1", Signature(MIRRORED, MIRRORED)))
    return stage


@pytest.fixture
def make_endpoint() -> type[FakeEndpoint]:
    return FakeEndpoint


@pytest.fixture
def make_tensor() -> Callable[..., dict]:
    return tensor


@pytest.fixture
def make_binary() -> Callable[..., tuple[bytes, dict[str, str]]]:
    return binary


@pytest.fixture
async def servers(stage: Stage) -> AsyncIterator[Servers]:
    """Both servers on ports of their own."""
    servers = Servers(stage.serving, Listen("127.0.0.1", 0, 0))
    await servers.start()
    yield servers
    await servers.stop(0.1)


@pytest.fixture
async def channel(servers: Servers) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{servers.grpc_port}") as channel:
        yield channel
