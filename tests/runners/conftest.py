"""Small ONNX models, written as text, and the words to ask them with; a server of scripted bytes for remote ones."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import numpy as np
import onnx
import onnx.parser
import pytest

from runners.core.runner import ModelRef
from runners.core.tensor import InferenceRequest, Tensor

HEAD = '<ir_version: 9, opset_import: ["": 17, "ai.onnx.ml": 3]>\n'

MODELS = {
    "sum": "m (float[N,4] x) => (float[N,1] y) <int64[1] axes = {1}> { y = ReduceSum <keepdims = 1> (x, axes) }",
    "two": "m (float[N,2] a, int64[N] b) => (float[N,2] c, int64[N] d) { c = Neg(a)  d = Neg(b) }",
    "square": "m (float[2,2] x) => (float[2,2] y) { y = MatMul(x, x) }",
    "text": "m (string[N] x) => (string[N] y) { y = Identity(x) }",
    "bf16": "m (bfloat16[N,2] x) => (bfloat16[N,2] y, float[N,2] z) { y = Identity(x)  z = Cast <to = 1> (x) }",
    "half": "m (float16[N,2] x) => (float16[N,2] y) { y = Neg(x) }",
    "truth": "m (bool[N] x) => (bool[N] y) { y = Not(x) }",
    "log": "m (float[N,2] x) => (float[N,2] y) { y = Log(x) }",
    # one row in, two rows out, whatever the declared shape says
    "liar": "m (float[N,2] x) => (float[1,2] y) { y = Concat <axis = 0> (x, x) }",
    "fussy": "m (int64[N] x) => (float[N] y) <float[3] w = {1, 2, 3}> { y = Gather(w, x) }",
    # adds x to itself for ever where any of it is above zero
    "endless": """m (float[N,4] x) => (float[N,4] y) <int64 most = {9223372036854775807}, float zero = {0}> {
        top = ReduceMax <keepdims = 0> (x)
        positive = Greater(top, zero)
        y = Loop <body = body (int64 i, bool go, float[N,4] v) => (bool on, float[N,4] w) {
            on = Identity(go)  w = Add(v, v) }> (most, positive, x) }""",
    "ranged": "m (int64 n) => (int64[K] y) <int64 zero = {0}, int64 one = {1}> { y = Range(zero, n, one) }",
    "scalar": "m (float[N,2] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }",
    # nothing can be taken from it
    "barren": "m (int64[N] x) => (float[N] y) <float[0] w = {}> { y = Gather(w, x) }",
    "noop": "m () => (float[2] y) <float[2] w = {1, 2}> { y = Identity(w) }",
    "ridged": "m (float[N,M] x) => (float[N,M] y) { y = Abs(x) }",
}


def parsed(name: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEAD + MODELS[name])


@pytest.fixture
def model() -> Callable[[str], onnx.ModelProto]:
    """A model by its name above, to be changed at will."""
    return parsed


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a model by its name above and gives its path."""

    def write(name: str) -> Path:
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(parsed(name).SerializeToString())
        return path

    return write


@pytest.fixture
def ref(model_file: Callable[[str], Path]) -> Callable[..., ModelRef]:
    """A reference to a model by its name above."""

    def make(name: str, **how: object) -> ModelRef:
        path = model_file(name)
        return ModelRef(f"file:{path.name}", path.parent, **how)

    return make


@pytest.fixture
def ask() -> Callable[..., InferenceRequest]:
    """A request of named arrays; the datatype is the array's, BF16 where it says so."""

    names = {"f4": "FP32", "f8": "FP64", "f2": "FP16", "i8": "INT64", "i4": "INT32", "u2": "BF16", "b1": "BOOL"}

    def make(outputs: tuple[str, ...] = (), **arrays: object) -> InferenceRequest:
        tensors = []
        for name, value in arrays.items():
            array = np.asarray(value)
            datatype = "BYTES" if array.dtype == object else names[array.dtype.str[1:]]
            tensors.append(Tensor(name, datatype, array))
        return InferenceRequest("m", tuple(tensors), outputs)

    return make


@pytest.fixture
def soon() -> Callable[[float], float]:
    """A deadline so many seconds from now."""
    return lambda seconds=10.0: monotonic() + seconds


@dataclass
class Asked:
    """One request as the server read it."""

    line: str
    headers: dict[str, str]
    body: bytes


class ScriptedServer:
    """HTTP/1.1 by hand. `answer` turns a request into bytes to send: b"" says nothing, None hangs up."""

    def __init__(self, answer: Callable[[Asked], bytes | None]) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.connections_n = 0
        self.gone = asyncio.Event()  # set when a connection was closed by the other side
        self.closes_after_answer = False
        self._tasks: set[asyncio.Task] = set()

    async def start(self, port: int = 0) -> "ScriptedServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Nobody listens any more, and all connections are cut."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.connections_n += 1
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                told = self.answer(asked)
                if told is None:
                    return
                writer.write(told)
                if self.closes_after_answer:
                    return
            self.gone.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.rstrip("\r\n").split("\r\n")
    headers = dict(each.split(": ", 1) for each in lines)
    return Asked(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@pytest.fixture
async def script_server():
    """Starts a scripted server; all are stopped at the end."""
    started: list[ScriptedServer] = []

    async def start(answer, port: int = 0) -> ScriptedServer:
        server = await ScriptedServer(answer).start(port)
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()
