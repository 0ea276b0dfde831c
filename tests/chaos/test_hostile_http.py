"""HTTP that means harm: each probe is answered as it deserves, within bounds, while everybody else is served."""

import gzip
import json
import socket
import struct
import zlib
from contextlib import suppress
from time import monotonic, sleep

import pytest

BODY_LIMIT = 1 << 20
GROWTH_LIMIT = BODY_LIMIT + (16 << 20)
FLOATS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
BODY = json.dumps(FLOATS).encode()
PATH = b"/v2/models/floats/infer"
PATIENCE_S = 20
SECRET = b"injected-by-a-test"


@pytest.fixture
def gateway(hostile):
    """Answers a good request, however large, before and after what each test does to it."""
    for size in (len(BODY), BODY_LIMIT - 1):
        assert status_of(send(hostile.http, post(BODY.ljust(size)))) == 200
    yield hostile
    assert status_of(send(hostile.http, post(BODY))) == 200


def post(body: bytes, *headers: bytes, path: bytes = PATH) -> bytes:
    """A request that is the last of its connection, with the length it has."""
    return framed(body, b"Content-Length: %d" % len(body), b"Connection: close", *headers, path=path)


def framed(body: bytes, *headers: bytes, path: bytes = PATH) -> bytes:
    """A request whose length is for `headers` to say."""
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"Host: x", *headers, b"", body])


def send(port: int, *parts: bytes, wait_s: float = PATIENCE_S) -> bytes:
    """Everything the server says to these bytes, until it hangs up or has said nothing for a moment."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may refuse before it has read everything
        try:
            while piece := connection.recv(1 << 16):
                heard += piece
                connection.settimeout(0.3 if whole(heard) else wait_s)
        except (TimeoutError, ConnectionResetError):
            pass
    return heard


def whole(heard: bytes) -> bool:
    head, found, body = heard.partition(b"\r\n\r\n")
    length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(found) and len(body) >= int(length[0])


def status_of(heard: bytes) -> int:
    """The status of the one response there is; its body is an error's unless it is 200."""
    assert heard.count(b"HTTP/1.1 ") == 1, heard[:2000]
    status = int(heard.split()[1])
    if status != 200:
        assert list(json.loads(heard.partition(b"\r\n\r\n")[2])) == ["error"]
    return status


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


def test_a_huge_content_length_is_refused_unread(gateway):
    for length in (b"1048577", b"9" * 15, b"9" * 300):
        heard = send(gateway.http, framed(b"", b"Content-Length: " + length))
        assert b"connection: close" in heard.lower()
        assert status_of(heard) in (400, 413)
    assert status_of(send(gateway.http, framed(b"", b"Content-Length: 1048577"))) == 413


def test_a_body_without_end_is_refused_at_the_limit(gateway):
    """Nobody can fill the memory by never stopping."""
    gateway.forget_peak()
    before = gateway.usage()
    piece = chunk(b"x" * 65_536)
    heard = send(gateway.http, framed(b"", b"Transfer-Encoding: chunked", b"Connection: close"), *[piece] * 2000)

    assert status_of(heard) == 413
    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT


def test_very_many_tiny_chunks_are_one_small_body(gateway):
    gateway.forget_peak()
    before = gateway.usage()
    body = BODY.ljust(65_537)
    heard = send(
        gateway.http,
        framed(b"", b"Transfer-Encoding: chunked", b"Connection: close"),
        b"".join(chunk(body[n : n + 1]) for n in range(65_537)) + b"0\r\n\r\n",
    )

    assert status_of(heard) == 200
    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT


def bombs() -> dict[str, tuple[bytes, bytes, set[int]]]:
    """Name -> encoding, body, statuses it deserves."""
    zeros = gzip.compress(bytes(64 << 20), 9)
    return {
        "gzip": (b"gzip", zeros, {413}),
        "deflate": (b"deflate", zlib.compress(bytes(64 << 20), 9), {413}),
        "nested": (b"gzip", gzip.compress(zeros, 9), {400}),
        "said twice": (b"gzip, gzip", gzip.compress(zeros, 9), {415}),
        "many members": (b"gzip", gzip.compress(b" " * 9) * 20_000, {400}),
        "without end": (b"gzip", gzip.compress(BODY)[:-4], {400}),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_decompression_bomb_goes_off_nowhere(gateway, name):
    """The limit is one of what a body unpacks to."""
    encoding, body, deserved = bombs()[name]
    gateway.forget_peak()
    before = gateway.usage()
    heard = send(gateway.http, post(body, b"Content-Encoding: " + encoding))

    assert status_of(heard) in deserved
    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT


def test_ten_thousand_headers_are_refused(gateway):
    heard = send(gateway.http, post(BODY, *[b"x-%d: 1" % n for n in range(10_000)]))

    assert status_of(heard) == 431


@pytest.mark.parametrize(
    "poison", [b"a\r\n\tx-injected: %b", b"a\rx-injected: %b", b"a\nx-injected: %b", b"a\0%b", b"\xff%b"]
)
@pytest.mark.parametrize("name", [b"x-request-id", b"traceparent", b"x-turnout-unit", b"x-request-timeout-ms"])
def test_nothing_injected_comes_back(gateway, name, poison):
    """What a caller puts into a header never becomes a header of ours."""
    heard = send(gateway.http, post(BODY, name + b": " + poison % SECRET))

    assert SECRET not in heard
    assert status_of(heard) in (200, 400)


def test_an_id_in_a_body_cannot_become_a_header(gateway):
    body = json.dumps(FLOATS | {"id": "a\r\nx-injected: yes\r\n\r\nHTTP/1.1 200 OK"}).encode()
    head, _, answer = send(gateway.http, post(body)).partition(b"\r\n\r\n")

    assert b"injected" not in head
    assert json.loads(answer)["id"] == "a\r\nx-injected: yes\r\n\r\nHTTP/1.1 200 OK"


SMUGGLED = b"GET /v2/models/floats/ready HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: %d" % len(BODY), b"Content-Length: 5"],
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: xchunked, identity", b"Content-Length: 5"],
        [b"Transfer-Encoding : chunked", b"Content-Length: 5"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"Content-Length: +5"],
        [b"Content-Length: 5, 5"],
        [b"Content-Length : 5"],
        [b"Content-Length: -1"],
        [b"Transfer-Encoding:\x0bchunked", b"Content-Length: 5"],
        [b"Transfer-Encoding\n: chunked", b"Content-Length: 5"],
    ],
)
def test_a_second_request_cannot_be_smuggled(gateway, headers):
    """Two lengths mean that somebody is being lied to, so there is one answer, and it is no."""
    heard = send(gateway.http, framed(b"0\r\n\r\n" + SMUGGLED, *headers), wait_s=2)

    assert status_of(heard) in (400, 413, 501)


@pytest.mark.parametrize(
    "garbage",
    [
        b"00-" + b"0" * 32,
        b"ff-" + b"a" * 400,
        b"\xff\xfe",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-" * 500,
        b"-",
        b"00-zz",
    ],
)
def test_a_senseless_traceparent_is_ignored(gateway, garbage):
    assert status_of(send(gateway.http, post(BODY, b"traceparent: " + garbage, b"tracestate: " + garbage))) == 200


SHAPES = [
    [1, 4],
    [2**31, 2**31],
    [-1],
    [-1, 4],
    [2**62],
    [2**62, 4],
    [2**32, 2**32, 1],
    [2**63, 2],
    [2**64 + 4],
    [1] * 40,
    [0, 2**62],
    [1.5],
    ["4"],
    [True],
    None,
    4,
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_a_shape_fits_the_elements_or_is_refused(gateway, shape, binary):
    """Sizes are multiplied without overflow, before anything is allocated."""
    tensor = FLOATS["inputs"][0] | {"shape": shape}
    if binary:
        del tensor["data"]
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 16}}]}).encode()
        request = post(head + bytes(16), b"Inference-Header-Content-Length: %d" % len(head))
    else:
        request = post(json.dumps({"inputs": [tensor]}).encode())

    assert status_of(send(gateway.http, request)) == (200 if shape == [1, 4] else 400)


def test_no_rows_are_no_mistake(gateway):
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [0, 4], "data": []}]}).encode()

    assert status_of(send(gateway.http, post(body))) == 200


def test_a_tensor_larger_than_its_json_is_refused(gateway):
    """A digit and a comma become eight bytes each; the limit counts those."""
    n = 260_000
    body = b'{"inputs":[{"name":"x","datatype":"FP64","shape":[%d],"data":[%b]}]}' % (n, b",".join([b"1"] * n))
    gateway.forget_peak()
    before = gateway.usage()

    assert status_of(send(gateway.http, post(body))) in (400, 413)
    assert gateway.usage().peak - before.resident <= GROWTH_LIMIT


LENGTHS = [0, 1, 15, 16, 17, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1]


@pytest.mark.parametrize("length", LENGTHS)
def test_a_string_is_as_long_as_it_says_or_refused(gateway, length):
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 20}}
    head = json.dumps({"inputs": [tensor]}).encode()
    body = head + struct.pack("<I", length) + b"x" * 16
    request = post(body, b"Inference-Header-Content-Length: %d" % len(head), path=b"/v2/models/texts/infer")

    assert status_of(send(gateway.http, request)) == (200 if length == 16 else 400)


NONSENSE = {
    "empty": b"",
    "truncated": BODY[:-9],
    "deep lists": b"[" * 10_000,
    "deep tensor": BODY.replace(b"[1, 2", b"[" * 10_000 + b"1, 2"),
    "deep parameters": BODY[:-1] + b',"parameters":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    "deep unknown field": BODY[:-1] + b',"unknown":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "bare NaN": BODY.replace(b"4]", b"NaN]"),
    "1e400": BODY.replace(b"4]", b"1e400]"),
    "a huge integer": BODY.replace(b"4]", b"9" * 5000 + b"]"),
    "not UTF-8": BODY.replace(b'"x"', b'"\xff"'),
    "a lone surrogate": BODY.replace(b'"FP32"', b'"\xed\xa0\x80"'),
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "UTF-16": BODY.decode().encode("utf-16"),
    "two values": BODY + BODY,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_in_words(gateway, name):
    assert status_of(send(gateway.http, post(NONSENSE[name]))) == 400


def test_a_key_given_twice_is_read_once(gateway):
    heard = send(gateway.http, post(BODY[:-1] + b"," + BODY[1:]))

    assert status_of(heard) in (200, 400)


def test_a_slow_client_is_dropped_and_nobody_waits_for_it(start_hostile):
    """A head that trickles in is given up after ten seconds."""
    gateway = start_hostile()
    slow = [socket.create_connection(("127.0.0.1", gateway.http), timeout=PATIENCE_S) for _ in range(50)]
    began = monotonic()
    trickle = post(BODY)
    for at in range(16):
        for connection in slow:
            with suppress(OSError):
                connection.send(trickle[at : at + 1])
        asked = monotonic()
        assert status_of(send(gateway.http, post(BODY))) == 200
        assert monotonic() - asked < 5
        sleep(0.7)
        if monotonic() - began > 11:
            break
    heard = [connection.recv(1000) for connection in slow]
    for connection in slow:
        connection.close()

    assert {status_of(said) for said in heard} == {408}
