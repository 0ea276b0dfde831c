"""Bodies in pieces, packed bodies, and bodies that are too large."""

import gzip
import json
import tracemalloc
import zlib

import pytest

from gateway.frontends.limits import Limits

MIB = 1 << 20
PATH = "/v2/models/mirror/infer"


def body_of(size: int) -> bytes:
    """A valid request of about so many bytes."""
    return json.dumps({"pad": "x" * size, "inputs": [tensor_of()]}).encode()


def tensor_of() -> dict:
    return {"name": "INT8", "shape": [2], "datatype": "INT8", "data": [1, 2]}


PACKED = gzip.compress(body_of(1), mtime=0)  # the same whenever it is made: processes that divide tests compare them
PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress, "GZIP": gzip.compress, " deflate ": zlib.compress}


async def test_a_body_in_pieces_is_one_body(stage) -> None:
    """However a request is cut on its way, it is understood."""
    body = body_of(100)
    reply = await stage.ask("POST", PATH, *[body[at : at + 7] for at in range(0, len(body), 7)])
    assert (200, len(body)) == (reply.status, stage.records[0].reply.request_bytes)


@pytest.mark.parametrize("encoding", PACKERS)
async def test_a_packed_body_is_unpacked(stage, encoding) -> None:
    """Clients may compress what they send."""
    packed = PACKERS[encoding](body_of(10_000))
    reply = await stage.ask("POST", PATH, packed[:50], packed[50:], headers={"content-encoding": encoding})
    assert [1, 2] == reply.json()["outputs"][0]["data"]


async def test_the_length_of_the_json_counts_unpacked_bytes(stage, make_binary) -> None:
    """A compressed request with binary tensors says where they are once it is unpacked."""
    wire = {"name": "INT8", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}}
    body, headers = make_binary({"inputs": [wire]}, b"\x03\x04")
    packed = gzip.compress(body)
    reply = await stage.ask("POST", PATH, packed, headers=headers | {"content-encoding": "gzip"})
    assert [3, 4] == reply.json()["outputs"][0]["data"]


async def test_answers_are_not_packed_unasked_for(stage) -> None:
    """Float tensors do not shrink, and every client says that it could unpack."""
    reply = await stage.ask("POST", PATH, body_of(1), headers={"accept-encoding": "gzip, deflate, br"})
    assert b"content-encoding" not in reply.headers


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "\xff"])
async def test_another_packing_is_415(stage, encoding) -> None:
    """What cannot be unpacked is refused by name."""
    reply = await stage.ask("POST", PATH, b"x", headers={"content-encoding": encoding.encode("latin-1")})
    assert 415 == reply.status
    assert "gzip" in reply.error


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"junk",
        PACKED[:-1],
        PACKED + b"x",
        PACKED * 2,
        zlib.compress(body_of(1)),
    ],
)
async def test_a_stream_that_is_broken_is_400(stage, packed) -> None:
    """Truncated, doubled or plainly wrong: the caller's mistake."""
    reply = await stage.ask("POST", PATH, packed, headers={"content-encoding": "gzip"})
    assert 400 == reply.status
    assert reply.error


async def test_more_after_the_end_of_a_packed_body_is_400(stage) -> None:
    """A body that goes on in a later piece is noticed too."""
    reply = await stage.ask("POST", PATH, gzip.compress(body_of(1)), b"x", headers={"content-encoding": "gzip"})
    assert 400 == reply.status


async def test_a_declared_length_above_the_limit_is_refused_unread(stage) -> None:
    """Nobody uploads a gigabyte to be told that it was too much."""
    reply = await stage.ask("POST", PATH, headers={"content-length": str(MIB + 1)})
    assert (413, b"close") == (reply.status, reply.headers[b"connection"])
    assert (0, "too_large") == (stage.records[0].reply.request_bytes, stage.records[0].reply.code)


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "0x10", "1e3", ""])
async def test_a_length_that_is_no_number_is_refused(stage, length) -> None:
    """A length is digits, and not many."""
    assert (await stage.ask("POST", PATH, headers={"content-length": length})).status in (400, 413)


async def test_a_chunked_body_is_counted_as_it_comes(stage) -> None:
    """A body without end is cut off at the limit, not at the end of memory."""
    reply = await stage.ask("POST", PATH, *[b"x" * 65536] * 100)
    assert (413, b"close") == (reply.status, reply.headers[b"connection"])


async def test_a_single_piece_above_the_limit_is_refused(stage) -> None:
    """The limit holds for a body that came all at once, too."""
    assert 413 == (await stage.ask("POST", PATH, b"x" * (MIB + 1))).status


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_bomb_is_stopped_at_the_limit(stage, pack) -> None:
    """A kilobyte that unpacks to hundreds of megabytes costs no more memory than an honest body."""
    bomb = pack(b"\0" * (256 * MIB))
    encoding = "gzip" if pack is gzip.compress else "deflate"
    tracemalloc.start()
    reply = await stage.ask("POST", PATH, bomb, headers={"content-encoding": encoding})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 413 == reply.status
    assert peak < 8 * MIB


async def test_a_bomb_in_a_bomb_is_unpacked_once(stage) -> None:
    """What is inside is not unpacked again."""
    nested = gzip.compress(gzip.compress(b"\0" * MIB))
    assert 400 == (await stage.ask("POST", PATH, nested, headers={"content-encoding": "gzip"})).status


async def test_a_body_of_exactly_the_limit_passes(stage) -> None:
    """The limit is the last size that is taken."""
    body = body_of(MIB)
    body = body.replace(b"x" * (len(body) - MIB), b"", 1)
    assert (MIB, 200) == (len(body), (await stage.ask("POST", PATH, body)).status)


async def test_a_body_that_does_not_arrive_is_given_up(stage) -> None:
    """A client that stops in the middle of its body does not hold a request open for ever."""
    stage.http._limits = Limits(body_s=0.01)
    reply = await stage.ask("POST", PATH, b"{", None)
    assert (504, "timeout") == (reply.status, stage.records[0].reply.code)
