"""Cutting frames out of bytes."""

from itertools import pairwise

import pytest
from hyperframe.frame import DataFrame
from hypothesis import given
from hypothesis import strategies as st

from gateway.frontends.http2.frames import (
    DATA,
    FRAME_BYTES,
    PADDED,
    Code,
    ConnectionFault,
    FrameReader,
    frame,
    number_of,
    unpadded,
)

FRAMES = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**31 - 1), st.binary(max_size=60)), max_size=6
)


@given(frames=FRAMES, cuts=st.lists(st.integers(0, 500)))
def test_frames_come_out_as_they_went_in_wherever_they_are_cut(frames, cuts) -> None:
    """How the network splits what was sent changes nothing."""
    data = b"".join(frame(*each) for each in frames)
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    reader = FrameReader()
    assert frames == [got for start, end in pairwise(edges) for got in reader.read(data[start:end])]


def test_every_single_byte_may_come_alone() -> None:
    """The slowest sender is understood too."""
    reader = FrameReader()
    data = frame(0, 1, 5, b"abc") + frame(6, 0, 0, bytes(8))
    got = [each for place in range(len(data)) for each in reader.read(data[place : place + 1])]
    assert [(0, 1, 5, b"abc"), (6, 0, 0, bytes(8))] == got


def test_the_reserved_bit_of_a_stream_is_ignored() -> None:
    """As the standard has it."""
    (got,) = FrameReader().read(frame(0, 0, 2**31 + 7))
    assert 7 == got[2]


def test_a_frame_that_is_too_long_is_refused_by_its_head() -> None:
    """Nobody fills our memory by announcing."""
    with pytest.raises(ConnectionFault) as caught:
        list(FrameReader().read(frame(0, 0, 1, bytes(FRAME_BYTES + 1))[:9]))
    assert Code.FRAME_SIZE_ERROR == caught.value.code


@given(data=st.binary(max_size=50), padding=st.integers(0, 255))
def test_padding_comes_off(data, padding) -> None:
    """Whoever hides how much it says is understood; hyperframe writes it."""
    raw = DataFrame(1, data, pad_length=padding, flags=["PADDED"]).serialize()
    ((kind, flags, _, payload),) = FrameReader().read(raw)
    assert (DATA, data) == (kind, unpadded(flags, payload))


@pytest.mark.parametrize("payload", [b"", b"\x01", b"\x05abcd"])
def test_more_padding_than_content_is_a_fault(payload) -> None:
    """A length that lies is not believed."""
    with pytest.raises(ConnectionFault):
        unpadded(PADDED, payload)


@pytest.mark.parametrize("payload", [b"", b"abc", b"abcde"])
def test_a_number_has_four_bytes(payload) -> None:
    """Neither more nor less is read as one."""
    with pytest.raises(ConnectionFault):
        number_of(payload)
