"""What the frame reader makes of bytes, however they come, and of bytes that are none of its own."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.ray.frame import BUFFER_BYTES, HEAD_BYTES, SHARED_BYTES, Frame, FrameError, FrameReader, Type, frame


def fed(reader: FrameReader, data: bytes, *, most: int = 1 << 20) -> list[Frame]:
    """All frames of `data`, given to the reader in pieces of at most `most` bytes."""
    frames = []
    while data:
        room = reader.buffer()
        n = min(len(room), len(data), most)
        assert n > 0
        room[:n] = data[:n]
        frames += reader.received(n)
        data = data[n:]
    return frames


def test_the_layout_is_as_written():
    """Another language can be taught it."""
    written = frame(Type.CANCEL, b"abc", id_=7)
    assert struct.pack("<IBBHIII", 19, 10, 0, 0, 7, 0, 0) + b"abc" == written


payloads = st.one_of(
    st.binary(max_size=40),
    st.integers(SHARED_BYTES - 40, 2 * BUFFER_BYTES).map(lambda n: bytes(range(256)) * (n // 256)),
)


@given(st.lists(st.tuples(st.sampled_from(Type), payloads, st.integers(0, 2**32 - 1)), max_size=5), st.data())
def test_frames_come_out_as_they_went_in(sent, data):
    """Whatever the network makes of them."""
    most = data.draw(st.sampled_from([7, 4096, 65_536, 1 << 20]))
    reader = FrameReader(1 << 20)
    whole = b"".join(frame(kind, payload, id_=id_) for kind, payload, id_ in sent)
    got = fed(reader, whole if most > 7 else whole[:2000], most=most)
    if most > 7:
        assert sent == [(f.type, bytes(f.payload), f.id) for f in got]
        assert not reader.is_within_frame


@given(st.binary(max_size=2000), st.integers(1, 64))
def test_no_bytes_make_the_reader_fail_otherwise(junk, most):
    """Junk is told from frames, and never worse than refused."""
    reader = FrameReader()
    try:
        frames = fed(reader, junk, most=most)
    except FrameError:
        return
    assert all(len(f.body) <= reader.limit for f in frames)


@pytest.mark.parametrize("length", [0, HEAD_BYTES - 1, 4097, 2**32 - 1])
def test_a_length_beyond_the_limit_is_refused_before_anything_is_allocated(length):
    """Twenty bytes cannot ask for gigabytes."""
    with pytest.raises(FrameError, match=f"{length} bytes"):
        fed(FrameReader(4096), struct.pack("<IBBHIII", length, Type.REQ, 0, 0, 0, 0, 0))


@pytest.mark.parametrize("kind", [0, 11, 255])
def test_an_unknown_type_is_refused(kind):
    """What is not understood is not guessed at."""
    with pytest.raises(FrameError, match=f"type {kind}"):
        fed(FrameReader(), struct.pack("<IBBHIII", HEAD_BYTES, kind, 0, 0, 0, 0, 0))


def test_an_unknown_type_is_refused_in_a_long_frame_too():
    """It is told before its body is waited for."""
    with pytest.raises(FrameError, match="type 99"):
        fed(FrameReader(1 << 20), struct.pack("<IBBHIII", 1 << 19, 99, 0, 0, 0, 0, 0))


def test_a_long_body_is_aligned_and_its_own():
    """A tensor in it can be used where it lies."""
    reader = FrameReader(1 << 20)
    first, second = fed(reader, frame(Type.REQ, bytes(SHARED_BYTES)) + frame(Type.REQ, b"\1" * SHARED_BYTES))
    assert 0 == max(first.payload)
    assert 1 == min(second.payload)


def test_a_higher_limit_holds_for_the_frame_after():
    """Whoever has shown the secret may send more."""
    reader = FrameReader(64)
    data = frame(Type.AUTH, b"x" * 10) + frame(Type.REQ, b"y" * 1000)
    room = reader.buffer()
    room[: len(data)] = data
    lengths = []
    for received in reader.received(len(data)):
        lengths.append(len(received.payload))
        reader.limit = 4096
    assert [10, 1000] == lengths
