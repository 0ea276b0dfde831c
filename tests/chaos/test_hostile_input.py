"""Requests that were damaged on purpose: each gets a proper answer, and none leaves a trace in the process.

A few thousand in the ordinary suite; `make chaos` sends a hundred thousand. A mutant is known by its number alone, so
one that breaks something can be sent again.
"""

import asyncio
import gzip
import json
import os
import random
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import grpc

from runners.oip.messages import ModelInferRequest

ORDINARY_N = 1500
MUTANTS_N = int(os.environ.get("TURNOUT_CHAOS_REQUESTS", ORDINARY_N))
WARM_UP_N = 500  # after which the process has what it will always need
CONNECTIONS = 8
GOOD_EVERY = 40
PATIENCE_S = 0.2  # with a request whose head is so broken that the rest of it may be waited for
BODY_LIMIT = 1 << 20
GROWTH_LIMIT = BODY_LIMIT + (16 << 20)
INFER = "/inference.GRPCInferenceService/ModelInfer"
HTTP_ANSWERS = {200, 400, 403, 404, 405, 411, 413, 415, 417, 431, 501}
GRPC_ANSWERS = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED"}

SHAPES = [[2**31, 2**31], [-1], [0], [2**62], [2**32, 2**32, 1], [2**63], [2**64 + 1, 4], [1] * 40, [], [0, 2**62]]
TOKENS = [
    *(
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"1" * 5000,
        b"-0",
        b"1e-999",
        b"0.1e",
        b"null",
        b"true",
        b'""',
        b"{}",
    ),
    *(
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b"[]" * 50,
        b'"\\ud800"',
        b'"\\u0000"',
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xc0\x80",
    ),
    *(b"\xed\xa0\x80", b"\x00", b"\r\n", b'"inputs":[],', b'"shape":[1],', b'"datatype":"FP64",', b",", b'"', b"\\"),
    *(struct.pack("<I", size) for size in (0, 2**31 - 1, 2**31, 2**32 - 1)),
    *(b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\x0a\xff\xff\xff\xff\x0f"),  # varints and lengths of protobuf
]
TYPES = ["FP64", "FP16", "BF16", "INT8", "UINT64", "BOOL", "BYTES", "FP32", "fp32", "STRING", "", "X" * 5000]
LENGTHS = ["-1", "0", "1", "99999999", "1e3", "+5", " 5", "0x10", "18446744073709551616", "9" * 400, "", "\xff"]
ENCODINGS = ["gzip", "deflate", "br", "gzip, gzip", "identity", "GZIP", "\xff", ""]
HEADS = [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"\0", b"\r\n", b" ", b"\xff", b":", b"HTTP/9.9"]


@dataclass
class Mutant:
    """A request: HTTP when it has a path, gRPC when not. With `head_noise` its head is no longer what it should be."""

    body: bytes
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    head_noise: bytes = b""
    noise_at: float = 0.0

    def to_bytes(self) -> bytes:
        listed = {"host": "x", "content-length": str(len(self.body))} | self.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in listed.items())
        head = f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")
        at = int(len(head) * self.noise_at)
        return head[:at] + self.head_noise + head[at:] + self.body


def float_tensor() -> dict:
    return {"name": "x", "datatype": "FP32", "shape": [2, 4], "data": [1.5, -2, 3e3, 4, 5, 6, 7, 8.25]}


def text_tensor() -> dict:
    return {"name": "x", "datatype": "BYTES", "shape": [2], "data": ["café", "\U0001f600"]}


def documents() -> list[tuple[str, dict, bytes]]:
    """Route, JSON and the binary tensors behind it, for every form that HTTP has."""
    wish = {"binary_data_output": True}
    floats, texts = struct.pack("<8f", *range(8)), b"\x02\0\0\0ab\x03\0\0\0\xff\0\n"
    binary_floats = {"name": "x", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": 32}}
    binary_texts = {"name": "x", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 13}}
    named = [{"name": "y", "parameters": {"binary_data": True}}]
    return [
        ("floats", {"id": "a", "parameters": {"sequence_id": 7}, "inputs": [float_tensor()]}, b""),
        ("texts", {"inputs": [text_tensor()], "outputs": [{"name": "y"}]}, b""),
        ("floats", {"inputs": [binary_floats], "parameters": wish}, floats),
        ("texts", {"inputs": [binary_texts], "outputs": named}, texts),
    ]


def http_mutant(dice: random.Random) -> Mutant:
    route, document, tensors = dice.choice(documents())
    path, headers = f"/v2/models/{route}/infer", {}
    raw = dice.random() < 0.1
    if not raw and dice.random() < 0.4:
        bend(document, dice)
    text = json.dumps(document).encode() if not raw else b""
    if not raw and dice.random() < 0.5:
        text = damage(text, dice)
    if tensors and dice.random() < 0.5:
        tensors = damage(tensors, dice)
    if tensors or raw:
        headers["inference-header-content-length"] = str(len(text))
        if dice.random() < 0.3:
            headers["inference-header-content-length"] = dice.choice(LENGTHS)
    body = text + tensors
    if dice.random() < 0.25:
        body = pack(body, headers, dice)
    noise = dice.choice(HEADS) if dice.random() < 0.04 else b""
    return Mutant(body, path, headers, noise, dice.random())


def grpc_mutant(dice: random.Random) -> Mutant:
    message = ModelInferRequest(model_name="floats", id="a")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[2, 4])
    if dice.random() < 0.5:
        tensor.contents.fp32_contents.extend(range(8))
    else:
        message.raw_input_contents.append(struct.pack("<8f", *range(8)))
    if dice.random() < 0.3:
        message.model_name, tensor.datatype = "texts", "BYTES"
        tensor.shape[:] = [2]
        message.raw_input_contents[:] = [b"\x02\0\0\0ab\x03\0\0\0\xff\0\n"]
        tensor.ClearField("contents")
    if dice.random() < 0.4:
        tensor.shape[:] = [size for size in dice.choice(SHAPES) if -(2**63) <= size < 2**63]
    if dice.random() < 0.2:
        tensor.datatype = dice.choice(TYPES)
    if dice.random() < 0.2:
        message.raw_input_contents.append(b"")
    if dice.random() < 0.2:
        message.parameters["turnout_unit"].double_param = float("nan")
    body = message.SerializeToString()
    return Mutant(damage(body, dice) if dice.random() < 0.7 else body)


def bend(document: dict, dice: random.Random) -> None:
    """Change what a document says, keeping it JSON."""
    tensor = document["inputs"][0]
    match dice.randrange(8):
        case 0:
            tensor["shape"] = dice.choice(SHAPES)
        case 1:
            tensor["datatype"] = dice.choice(TYPES)
        case 2:
            tensor["data"] = dice.choice([[], [None], [10**400], ["\ud800"], {"a": 1}, "x", [[1], [2, 3]], [True], 7])
        case 3:
            tensor["parameters"] = {"binary_data_size": dice.choice([-1, 2**63, 1e308, "32", True, None, 31, 33])}
        case 4:
            document["inputs"] = dice.choice([[], [tensor] * 3, [tensor] * 300, None, {}, "inputs"])
        case 5:
            document["outputs"] = dice.choice([[{"name": "nobody"}], [{"name": "y"}] * 9, [{}], [None], "y"])
        case 6:
            document["parameters"] = {
                dice.choice(["turnout_unit", "turnout_arm"]): dice.choice([1e308, "\0", True, "x" * 9999])
            }
        case _:
            document["id"] = dice.choice(["\0\r\n", "\u202e\u200b", "x" * 20_000, 7, None, ["a"], "\U0001f600" * 99])


def damage(content: bytes, dice: random.Random) -> bytes:
    """Change bytes without a thought for what they mean."""
    for _ in range(dice.choice((1, 1, 2, 4))):
        at, span = dice.randrange(len(content) + 1), dice.randrange(16)
        match dice.randrange(6):
            case 0 if content:
                at = min(at, len(content) - 1)
                content = content[:at] + bytes([content[at] ^ (1 << dice.randrange(8))]) + content[at + 1 :]
            case 1:
                content = content[:at]
            case 2:
                content = content[:at] + content[at + span :]
            case 3:
                content = content[:at] + content[at : at + span] * dice.choice((2, 50)) + content[at:]
            case 4:
                content = content[:at] + dice.randbytes(span) + content[at:]
            case _:
                content = content[:at] + dice.choice(TOKENS) + content[at:]
    return content


def pack(body: bytes, headers: dict[str, str], dice: random.Random) -> bytes:
    """Compress, perhaps damage the outcome, perhaps call it something else."""
    kind = dice.choice(("gzip", "deflate"))
    packed = gzip.compress(body, 1) if kind == "gzip" else zlib.compress(body, 1)
    headers["content-encoding"] = kind if dice.random() < 0.7 else dice.choice(ENCODINGS)
    return damage(packed, dice) if dice.random() < 0.5 else packed


def mutants(first: int, last: int) -> Iterator[tuple[int, Mutant]]:
    for number in range(first, last):
        dice = random.Random(number)
        yield number, (grpc_mutant if number % 5 < 2 else http_mutant)(dice)


class Sender:
    """Sends mutants to one gateway and counts what came back; a good request goes between them."""

    def __init__(self, gateway) -> None:
        self.gateway = gateway
        self.seen: Counter = Counter()
        self.wrong: list[tuple[int, object]] = []

    async def send(self, first: int, last: int) -> None:
        waiting = mutants(first, last)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.gateway.grpc}") as channel:
            call = channel.unary_unary(INFER)
            await asyncio.gather(*(self._work(waiting, call) for _ in range(CONNECTIONS)))

    async def _work(self, waiting: Iterator[tuple[int, Mutant]], call) -> None:
        line = Line(self.gateway.http)
        for number, mutant in waiting:
            if mutant.path:
                told = await line.exchange(mutant)
                is_proper = told is None or (told[0] in HTTP_ANSWERS and (told[0] == 200 or is_error(told[1])))
                is_proper = is_proper and (told is not None or bool(mutant.head_noise))
                self.seen["http", told and told[0]] += 1
            else:
                told = await code_of(call, mutant.body)
                is_proper = told in GRPC_ANSWERS
                self.seen["grpc", told] += 1
            if not is_proper:
                self.wrong.append((number, told))
            if number % GOOD_EVERY == 0:
                await self._send_good(line, call)
        line.close()

    async def _send_good(self, line: "Line", call) -> None:
        body = json.dumps({"inputs": [float_tensor()]}).encode()
        status, answer = await line.exchange(Mutant(body, "/v2/models/floats/infer"))
        assert (status, json.loads(answer)["outputs"][0]["data"]) == (200, float_tensor()["data"])
        message = ModelInferRequest(model_name="texts", raw_input_contents=[b"\x02\0\0\0ab"])
        message.inputs.add(name="x", datatype="BYTES", shape=[1])
        assert await code_of(call, message.SerializeToString()) == "OK"


class Line:
    """One kept connection, opened again whenever the server has closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, mutant: Mutant) -> tuple[int, bytes] | None:
        """Status and body; None when nothing came back, which a head beyond repair is entitled to."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(mutant.to_bytes())
        try:
            async with asyncio.timeout(PATIENCE_S if mutant.head_noise else 30):
                status, headers = read_head(await reader.readuntil(b"\r\n\r\n"))
                body = await reader.readexactly(int(headers["content-length"]))
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            self.close()
            if mutant.head_noise or (isinstance(error, ConnectionError) and len(mutant.body) > BODY_LIMIT):
                return None
            raise
        if headers.get("connection") == "close" or mutant.head_noise:
            self.close()
        return status, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


def read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines if line)


def is_error(body: bytes) -> bool:
    document = json.loads(body)
    return list(document) == ["error"] and isinstance(document["error"], str) and bool(document["error"])


async def code_of(call, body: bytes) -> str:
    try:
        await call(body, timeout=30)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_damaged_requests_get_proper_answers_and_leave_nothing_behind(start_hostile, capsys):
    """Whoever sends nonsense is told so, and nobody else notices."""
    gateway = start_hostile(body_limit_mib=1)
    sender = Sender(gateway)
    await sender.send(0, WARM_UP_N)
    await asyncio.sleep(0.3)
    before = gateway.usage()
    await sender.send(WARM_UP_N, WARM_UP_N + MUTANTS_N)
    await asyncio.sleep(0.3)
    after = gateway.usage()

    seen = ", ".join(f"{kind} {told}: {n}" for (kind, told), n in sorted(sender.seen.items(), key=str))
    with capsys.disabled() if MUTANTS_N > ORDINARY_N else nullcontext():
        sys.stdout.write(f"\n{MUTANTS_N} mutants: {seen}\n{before}\n{after}\n")
    assert [] == sender.wrong
    assert after.resident - before.resident <= GROWTH_LIMIT
    assert after.files <= before.files
    assert after.in_flight == {"floats": 0, "texts": 0}
    assert 0 == gateway.stop()
    assert "Traceback" not in gateway.log()
    assert "ERROR" not in gateway.log()
