"""Heads, messages and header blocks of gRPC, without a connection."""

from urllib.parse import unquote

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, Malformed, TooLarge, UnsupportedEncoding
from gateway.frontends.grpc_wire import (
    ALREADY_LATE_S,
    MessageReader,
    http_block,
    pack_prefix,
    parse_head,
    refusal_block,
)
from gateway.frontends.http2.headers import LIST_BYTES, field
from gateway.frontends.status import STATUSES, Refusal

PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B")]
TYPE = (b"content-type", b"application/grpc")


def head(*more, pseudo=PSEUDO, size=100):
    return parse_head([*pseudo, TYPE, *more], size)


def decoded(block: bytes) -> dict:
    return {name.decode(): value.decode() for name, value in Decoder().decode(block, raw=True)}


def test_a_head_says_what_is_asked() -> None:
    """Path, metadata and nothing invented."""
    got = head((b"x-a", b"1"), (b"x-a", b"2"))
    assert ("/a/B", b"2", 0.0, b"", 0, None) == (
        got.path,
        got.metadata[b"x-a"],
        got.timeout_s,
        got.encoding,
        got.http_status,
        got.refused,
    )


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"20S", 20), (b"150m", 0.15), (b"99999999u", 99.999999), (b"5n", 5e-9)],
)
def test_every_unit_of_a_timeout_is_read(given, seconds) -> None:
    """Libraries differ in which they send."""
    assert seconds == pytest.approx(head((b"grpc-timeout", given)).timeout_s)


def test_no_time_left_is_not_no_limit() -> None:
    """A deadline that has passed is one."""
    assert ALREADY_LATE_S == head((b"grpc-timeout", b"0S")).timeout_s


@pytest.mark.parametrize("given", [b"", b"S", b"1", b"123456789S", b"-1S", b"1s", b"1 S", b"\xb2S"])
def test_a_timeout_that_cannot_be_read_is_refused(given) -> None:
    """A budget that was meant and mistyped is not silently dropped."""
    assert isinstance(head((b"grpc-timeout", given)).refused, Malformed)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (b"application/grpc", 0),
        (b"application/grpc+proto", 0),
        (b"application/grpc; charset=utf-8", 0),
        (b"application/grpc-web", 415),
        (b"application/json", 415),
        (b"", 415),
    ],
)
def test_what_is_no_grpc_is_told_so_in_http(kind, status) -> None:
    """A browser or a misled HTTP client reads a status it knows."""
    assert status == parse_head([*PSEUDO, (b"content-type", kind)], 100).http_status


def test_other_verbs_are_told_so_in_http() -> None:
    """GET is for another port."""
    assert 405 == head(pseudo=[(b":method", b"GET"), *PSEUDO[1:]]).http_status


def test_binary_metadata_arrives_as_bytes() -> None:
    """With and without the padding that not all libraries send."""
    got = head((b"a-bin", b"AAEC/w"), (b"b-bin", b"AAEC/w=="))
    assert [b"\0\x01\x02\xff"] * 2 == [got.metadata[b"a-bin"], got.metadata[b"b-bin"]]
    assert isinstance(head((b"a-bin", b"*")).refused, Malformed)


@pytest.mark.parametrize(("given", "encoding"), [(b"gzip", b"gzip"), (b"deflate", b"deflate"), (b"identity", b"")])
def test_an_encoding_is_known(given, encoding) -> None:
    """What grpcio's clients send."""
    assert encoding == head((b"grpc-encoding", given)).encoding


def test_an_encoding_of_another_kind_is_refused() -> None:
    """As unimplemented, which makes clients say which."""
    assert isinstance(head((b"grpc-encoding", b"snappy")).refused, UnsupportedEncoding)


def test_metadata_beyond_the_limit_is_refused() -> None:
    """The call, not the connection."""
    assert isinstance(head(size=LIST_BYTES + 1).refused, TooLarge)


@pytest.mark.parametrize(
    "fields",
    [
        [*PSEUDO[1:], TYPE],
        [*PSEUDO, PSEUDO[0], TYPE],
        [TYPE, *PSEUDO],
        [*PSEUDO, (b":status", b"200"), TYPE],
        [*PSEUDO, TYPE, (b"X-Upper", b"1")],
        [*PSEUDO, TYPE, (b"", b"1")],
        [*PSEUDO, TYPE, (b"a b", b"1")],
        [*PSEUDO, TYPE, (b"connection", b"close")],
        [*PSEUDO, TYPE, (b"x", b"1\r\ny: 2")],
        [*PSEUDO[:2], (b":path", b""), TYPE],
    ],
)
def test_what_http_2_forbids_is_no_head(fields) -> None:
    """Nothing that could be read in two ways gets through."""
    with pytest.raises(ValueError):
        parse_head(fields, 100)


@given(
    bodies=st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), max_size=6),
    cuts=st.lists(st.integers(0, 300), max_size=12),
)
def test_messages_come_out_as_they_went_in_wherever_they_are_cut(bodies, cuts) -> None:
    """How frames split a call's data changes nothing."""
    data = b"".join(pack_prefix(is_packed, len(body)) + body for is_packed, body in bodies)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    reader = MessageReader(50)
    for place in range(len(edges) - 1):
        reader.feed(data[edges[place] : edges[place + 1]])
    assert (bodies, len(data), False) == (list(reader.messages), reader.held_n, reader.is_within)
    for _, body in bodies:
        reader.took(body)
    assert 0 == reader.held_n


@given(n=st.integers(6, 1000), part=st.integers(0, 1000))
def test_a_reader_says_what_a_message_lacks(n, part) -> None:
    """So that just that much can be granted."""
    part = min(part, n + 4)
    reader = MessageReader(1000)
    reader.feed((pack_prefix(0, n) + bytes(n))[:part])
    assert (n + 5 - part if part >= 5 else 0) == reader.missing_n
    assert (part > 0) == reader.is_within


@pytest.mark.parametrize("cut", [1, 4, 5, 100])
def test_a_message_is_refused_by_the_length_it_declares(cut) -> None:
    """Before it has come."""
    data = pack_prefix(0, 1001) + bytes(1001)
    reader = MessageReader(1000)
    if cut < 5:
        reader.feed(data[: 5 - cut])
    with pytest.raises(TooLarge):
        reader.feed(data[5 - cut : 5] if cut < 5 else data[:cut])
    assert not reader.messages


def test_what_is_no_message_is_malformed() -> None:
    """The first byte has but two values."""
    with pytest.raises(GatewayError):
        MessageReader(1000).feed(b"\x02\0\0\0\0")


@given(text=st.text(max_size=1000))
def test_an_error_text_survives_its_way(text) -> None:
    """In every language, and without ever ending a header."""
    block = refusal_block(Refusal("malformed", STATUSES["malformed"], text), field(b"x", b"y"), is_first=True)
    said = decoded(block)
    assert (text, "3", "200", "y") == (
        unquote(said["grpc-message"]),
        said["grpc-status"],
        said[":status"],
        said["x"],
    )
    assert said["grpc-message"].isascii()


def test_trailers_do_not_repeat_the_head() -> None:
    """An error in the middle of a stream ends it without a second status."""
    said = decoded(refusal_block(Refusal("malformed", STATUSES["malformed"], "no"), b"", is_first=False))
    assert {"grpc-status": "3", "grpc-message": "no"} == said


def test_an_answer_in_http_has_a_status() -> None:
    """And a code for gRPC clients that look for one."""
    assert {":status": "415", "grpc-status": "2"} == decoded(http_block(415))
