"""gRPC that means harm: proper codes, and nothing left behind."""

import json
import socket
import struct
from time import monotonic, sleep

import grpc
import pytest

from runners.oip.messages import ModelInferRequest

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
BODY_LIMIT = 1 << 20
GROWTH_LIMIT = BODY_LIMIT + (16 << 20)
PATIENCE_S = 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
def gateway(hostile):
    """Answers a good request before and after what each test does to it."""
    for _ in range(5):
        assert "OK" == code_of(hostile, request().SerializeToString())
    yield hostile
    assert "OK" == code_of(hostile, request().SerializeToString())


def request(**fields) -> ModelInferRequest:
    message = ModelInferRequest(model_name="floats", raw_input_contents=[struct.pack("<4f", 1, 2, 3, 4)])
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    for name, value in fields.items():
        if name == "shape":
            tensor.shape[:] = value
        else:
            setattr(tensor, name, value)
    return message


def code_of(gateway, body: bytes, method: str = INFER) -> str:
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}", options=options) as channel:
        try:
            channel.unary_unary(method)(body, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            return error.code().name
    return "OK"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(stream: int, content_type: bytes = b"application/grpc", path: bytes = INFER.encode()) -> bytes:
    """A HEADERS frame that begins a call; literals without indexing, so no table is needed."""
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path,
        b":authority": b"x",
        b"content-type": content_type,
        b"te": b"trailers",
    }
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields.items())
    return frame(1, 4, stream, block)


def message(body: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(body)) + body


def talk(gateway, *frames: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", gateway.grpc), timeout=PATIENCE_S)
    connection.sendall(PREFACE + frame(4, 0, 0) + b"".join(frames))
    return connection


def hear(connection: socket.socket) -> bytes:
    """What comes until the server is silent for a moment."""
    connection.settimeout(0.5)
    heard = b""
    try:
        while piece := connection.recv(1 << 16):
            heard += piece
    except (TimeoutError, ConnectionResetError):
        pass
    connection.close()
    return heard


def wait_until(holds) -> None:
    until = monotonic() + PATIENCE_S
    while not holds():
        assert monotonic() < until
        sleep(0.05)


@pytest.mark.parametrize(
    "shape",
    [[1, 4], [2**31, 2**31], [-1], [-1, 4], [2**62], [2**62, 4], [2**32, 2**32, 1], [1] * 40, [0, 2**62]],
    ids=str,
)
def test_a_shape_fits_the_elements_or_is_refused(gateway, shape):
    typed = request(shape=shape)
    typed.ClearField("raw_input_contents")
    typed.inputs[0].contents.fp32_contents.extend((1, 2, 3, 4))

    expected = "OK" if shape == [1, 4] else "INVALID_ARGUMENT"
    assert expected == code_of(gateway, request(shape=shape).SerializeToString())
    assert expected == code_of(gateway, typed.SerializeToString())


def test_unknown_fields_are_ignored(gateway):
    """A newer client may say more than we know."""
    unknown = b"\xba\x3e\x05later" + b"\xc0\x3e\x01"

    assert "OK" == code_of(gateway, request().SerializeToString() + unknown)


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 20_000, b"\x2a" + b"\xff" * 9 + b"\x01", b"\x0a\x01\xff"],
    ids=repr,
)
def test_what_is_no_message_is_the_callers_mistake(gateway, body):
    assert "INVALID_ARGUMENT" == code_of(gateway, body[:50_000])


@pytest.mark.parametrize("method", [INFER, STREAM])
def test_a_message_of_a_hundred_megabytes_is_refused(gateway, method):
    gateway.forget_peak()
    before = gateway.usage()

    assert "RESOURCE_EXHAUSTED" == code_of(gateway, bytes(100 << 20), method)
    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT


def test_a_message_that_declares_two_gibibytes_is_refused_unread(gateway):
    gateway.forget_peak()
    before = gateway.usage()
    data = frame(0, 0, 1, b"\0" + struct.pack(">I", 2**31 - 1) + b"x" * 1000)
    hear(talk(gateway, headers(1), data))

    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT
    assert "OK" == code_of(gateway, request().SerializeToString())


@pytest.mark.parametrize("kind", [b"application/json", b"text/html", b"", b"application/grpc+x\xff"])
def test_another_content_type_is_no_call(gateway, kind):
    hear(talk(gateway, headers(1, kind), frame(0, 1, 1, message(request().SerializeToString()))))

    assert "OK" == code_of(gateway, request().SerializeToString())
    assert {"floats": 0, "texts": 0} == gateway.usage().in_flight


def test_a_stream_reset_at_any_frame_leaves_nothing_in_flight(gateway):
    """Calls that are given up half way hold no place."""
    files = gateway.usage().files
    body = message(request().SerializeToString())
    reset = struct.pack(">I", 8)
    for _ in range(5):
        frames = []
        for place in range(40):
            stream = 2 * place + 1
            given_up = frame(3, 0, stream, reset)
            after = [
                [headers(stream), given_up],
                [headers(stream), frame(0, 0, stream, body[:9]), given_up],
                [headers(stream), frame(0, 0, stream, body), given_up],
                [headers(stream), frame(0, 1, stream, body), given_up],
            ]
            frames += after[place % 4]
        talk(gateway, *frames).close()

    wait_until(lambda: gateway.usage().in_flight == {"floats": 0, "texts": 0} and gateway.usage().files <= files)
    assert "OK" == code_of(gateway, request().SerializeToString())


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", bytes(2000), PREFACE + frame(1, 4, 1, b"\xff" * 200), PREFACE + b"\xff" * 300],
    ids=["http1", "zeros", "headers", "frames"],
)
def test_what_is_no_http2_hurts_nobody(gateway, noise):
    with socket.create_connection(("127.0.0.1", gateway.grpc), timeout=PATIENCE_S) as connection:
        connection.sendall(noise)
        hear(connection)

    assert "OK" == code_of(gateway, request().SerializeToString())


@pytest.mark.parametrize("value", ["a b", "00-zz", "~", "x" * 2000])
def test_senseless_metadata_is_ignored(gateway, value):
    names = ("traceparent", "tracestate", "x-request-id")
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel:
        call = channel.unary_unary(INFER)
        answer, told = call.with_call(request().SerializeToString(), metadata=[(n, value) for n in names], timeout=20)

    assert answer
    assert all("\n" not in text for _, text in told.initial_metadata() if isinstance(text, str))


def test_errors_have_words(gateway):
    with grpc.insecure_channel(f"127.0.0.1:{gateway.grpc}") as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(INFER)(ModelInferRequest(model_name="\r\n\0nobody").SerializeToString())

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert refused.value.details().isprintable()
    assert json.dumps(refused.value.details())


def goodbye_of(heard: bytes) -> int | None:
    """The code of the first GOAWAY among frames."""
    while len(heard) >= 9:
        length, kind = int.from_bytes(heard[:3]), heard[3]
        if kind == 7:
            return int.from_bytes(heard[13:17])
        heard = heard[9 + length :]
    return None


FLOODS = {
    "resets": [headers(2 * n + 1) + frame(3, 0, 2 * n + 1, bytes(4)) for n in range(3000)],
    "resets of ours": [headers(2 * n + 1) + frame(8, 0, 2 * n + 1, bytes(4)) for n in range(3000)],
    "pings": [frame(6, 0, 0, bytes(8))] * 20_000,
    "settings": [frame(4, 0, 0, struct.pack(">HI", 4, 65_535) * 100)] * 3000,
    "continuations": [frame(1, 0, 1), *[frame(9, 0, 1)] * 20_000],
    "long heads": [frame(1, 0, 1, bytes(16_000)), *[frame(9, 0, 1, bytes(16_000))] * 100],
    "empty data": [headers(1), *[frame(0, 0, 1)] * 20_000],
    "priorities": [frame(2, 0, 1, bytes(5))] * 20_000,
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_with_a_word_and_costs_nothing(gateway, name):
    """Each is legal in small numbers, and told to calm down in large ones."""
    gateway.forget_peak()
    before = gateway.usage()
    connection = talk(gateway)
    try:
        for each in FLOODS[name]:
            connection.sendall(each)
    except OSError:
        pass  # it had enough already
    assert goodbye_of(hear(connection)) in (11, None)  # None: the kernel dropped the word with what we sent too late
    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT
    wait_until(lambda: gateway.usage().in_flight == {"floats": 0, "texts": 0})


def test_answers_that_nobody_reads_fill_no_memory(gateway):
    """Whoever opens every window, asks and never reads is not written to without end."""
    gateway.forget_peak()
    before = gateway.usage()
    asked = ModelInferRequest(model_name="floats", raw_input_contents=[bytes(100_000)])
    asked.inputs.add(name="x", datatype="FP32", shape=[6250, 4])
    body = message(asked.SerializeToString())
    pieces = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
    connection = talk(gateway, frame(4, 0, 0, struct.pack(">HI", 4, 2**31 - 1)), frame(8, 0, 0, b"\x7f\xff\x00\x00"))
    connection.settimeout(2)
    try:
        for n in range(1500):
            stream = 2 * n + 1
            data = [frame(0, place == len(pieces) - 1, stream, piece) for place, piece in enumerate(pieces)]
            connection.sendall(headers(stream) + b"".join(data))
    except OSError:
        pass  # it had enough
    assert gateway.usage().peak - before.resident <= 2 * 512 * len(body) + GROWTH_LIMIT
    connection.close()
    wait_until(lambda: gateway.usage().in_flight == {"floats": 0, "texts": 0})
