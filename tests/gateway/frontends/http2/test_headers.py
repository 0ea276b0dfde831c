"""Header blocks, written by hpack and by ourselves."""

from contextlib import suppress

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from gateway.frontends.http2.frames import END_HEADERS, HAS_PRIORITY, PADDED, Code, ConnectionFault
from gateway.frontends.http2.headers import BLOCK_FRAMES, KNOWN_BLOCKS, HeaderBlocks, HeaderReader, field

FIELD = st.tuples(st.sampled_from([b"a", b"b", b":path", b"x-long-name"]), st.binary(max_size=40))
LISTS = st.lists(st.lists(FIELD, min_size=1, max_size=5), min_size=1, max_size=30)


def plain(fields, size: int) -> list:
    return [(bytes(name), bytes(value)) for name, value in fields]


@given(name=st.binary(min_size=1, max_size=300), value=st.binary(max_size=70_000))
def test_hpack_reads_what_we_write(name, value) -> None:
    """Any decoder understands our headers, however long."""
    decoder = Decoder(max_header_list_size=1 << 20)
    assert [(name, value)] == plain(decoder.decode(field(name, value), raw=True), 0)
    assert not decoder.header_table.dynamic_entries


@given(lists=LISTS, table_bytes=st.sampled_from([0, 40, 80, 200, 4096]), repeats=st.lists(st.integers(0, 29)))
def test_a_block_that_repeats_means_what_it_means_now(lists, table_bytes, repeats) -> None:
    """Remembered blocks never outlive the table they were written for, even one that holds a single entry."""
    encoder = Encoder()
    encoder.header_table_size = table_bytes
    reader = HeaderReader(plain)
    asked = [*lists, *[lists[place % len(lists)] for place in repeats for _ in range(2)]]
    for fields in asked:
        block = encoder.encode(fields, huffman=False)
        assert fields == reader.read(block)


def test_a_block_that_repeats_is_not_decoded_again() -> None:
    """A client that always asks the same costs the least."""
    parsed = []
    encoder, reader = Encoder(), HeaderReader(lambda fields, _: parsed.append(fields) or fields)
    blocks = [encoder.encode([(b"a", b"1"), (b"b", b"2")]) for _ in range(5)]
    heads = [reader.read(block) for block in blocks]
    assert 2 == len(parsed)
    assert heads[1] is heads[4]


def test_only_so_many_blocks_are_remembered() -> None:
    """A client that never repeats itself fills no memory."""
    reader = HeaderReader(plain)
    for number in range(10 * KNOWN_BLOCKS):
        reader.read(field(b"a", b"%d" % number))
    assert len(reader._known) <= KNOWN_BLOCKS


@pytest.mark.parametrize(
    "block", [b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x40", b"\xc5", b"\x3f\xe2\x7f", b"\0\x85\xff"]
)
def test_a_block_that_cannot_be_decoded_ends_the_connection(block) -> None:
    """The table is lost, so nothing later could be understood."""
    with pytest.raises(ConnectionFault) as caught:
        HeaderReader(plain).read(block)
    assert Code.COMPRESSION_ERROR == caught.value.code


@given(block=st.binary(max_size=80))
def test_any_bytes_are_a_block_or_a_fault(block) -> None:
    """Nothing but a fault of the connection comes of them."""
    with suppress(ConnectionFault):
        HeaderReader(plain).read(block)


def test_a_list_that_unfolds_without_end_ends_the_connection() -> None:
    """A few bytes that name a long header many times are a bomb."""
    encoder = Encoder()
    bomb = encoder.encode([(b"a", b"x" * 3900)]) + b"\xbe" * 100
    with pytest.raises(ConnectionFault):
        HeaderReader(plain).read(bomb)


def test_priority_and_padding_come_off() -> None:
    """Old clients still send both."""
    blocks = HeaderBlocks()
    assert b"abc" == blocks.begin(END_HEADERS | HAS_PRIORITY | PADDED, 1, b"\x02" + bytes(5) + b"abc" + bytes(2))
    assert not blocks.is_open


def test_a_block_is_put_together() -> None:
    """However many frames it comes in, as long as they are few."""
    blocks = HeaderBlocks()
    assert (None, None, True) == (blocks.begin(0, 3, b"a"), blocks.go_on(0, b"b"), blocks.is_open)
    assert (b"abc", False) == (blocks.go_on(END_HEADERS, b"c"), blocks.is_open)


def test_a_block_without_end_is_a_flood() -> None:
    """CONTINUATION after CONTINUATION fills no memory, even when they are empty."""
    blocks = HeaderBlocks()
    blocks.begin(0, 1, b"")
    for _ in range(BLOCK_FRAMES - 1):
        blocks.go_on(0, b"")
    with pytest.raises(ConnectionFault) as caught:
        blocks.go_on(0, b"")
    assert Code.ENHANCE_YOUR_CALM == caught.value.code
