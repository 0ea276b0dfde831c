"""Requests, answers and errors come out of frames as they went in, and nothing else comes out of any bytes."""

import struct
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput, NotReady, Overloaded
from runners.core.tensor import DATATYPES, InferenceRequest, InferenceResponse, Signature, Tensor, TensorSpec
from runners.ray.frame import HEAD_BYTES, Frame, FrameError, FrameReader, Type
from runners.ray.tensors import JOINED_BYTES, WANTED, Wire, error_frame, read_error


def carried(parts) -> Frame:
    """What the other side reads of the parts of a frame."""
    data = parts if isinstance(parts, bytes) else b"".join(parts)
    reader, frames = FrameReader(1 << 28), []
    while data:
        room = reader.buffer()
        n = min(len(room), len(data))
        room[:n] = data[:n]
        frames += reader.received(n)
        data = data[n:]
    (received,) = frames
    return received


def array_of(datatype, shape, seed=0):
    n = prod(shape)
    if datatype == "BYTES":
        return np.array([b"\xff" * (i % 5) for i in range(n)] or [], dtype=object).reshape(shape)
    raw = np.random.default_rng(seed).integers(0, 2 if datatype == "BOOL" else 256, n * DATATYPES[datatype].itemsize)
    return raw.astype(np.uint8).view(DATATYPES[datatype].numpy).reshape(shape)


def same(one: Tensor, other: Tensor) -> bool:
    if (one.name, one.datatype, one.shape) != (other.name, other.datatype, other.shape):
        return False
    if one.datatype == "BYTES":
        return one.array.tolist() == other.array.tolist()
    return one.array.tobytes() == other.array.tobytes() and one.array.dtype == other.array.dtype


def wire_for(*specs):
    return Wire(Signature(tuple(specs), tuple(specs)))


shapes = st.lists(st.integers(0, 4), max_size=5).map(tuple)


@given(st.lists(st.tuples(st.sampled_from(sorted(DATATYPES)), shapes), max_size=6), st.data())
def test_every_request_comes_out_as_it_went_in(kinds, data):
    """All datatypes, any rank, any number of inputs, in any order, for any of the outputs."""
    tensors = tuple(Tensor(f"t{i}", datatype, array_of(datatype, shape)) for i, (datatype, shape) in enumerate(kinds))
    wire = wire_for(*(TensorSpec(t.name, t.datatype, (-1,) * len(t.shape)) for t in tensors))
    wanted = tuple(data.draw(st.permutations([t.name for t in tensors])))[: data.draw(st.integers(0, 6))]
    sent = InferenceRequest("m", tuple(data.draw(st.permutations(tensors))), wanted)
    received = carried(wire.request(sent, 5, 1234))
    got = wire.read_request(received, "m")
    assert (Type.REQ, 5, 1234, wanted) == (received.type, received.id, received.a, got.outputs)
    assert all(map(same, sent.inputs, got.inputs))
    assert len(sent.inputs) == len(got.inputs)


@given(st.lists(st.tuples(st.sampled_from(sorted(DATATYPES)), shapes), max_size=4))
def test_every_answer_comes_out_as_it_went_in(kinds):
    """With what the batch was, and how long the call waited for it."""
    tensors = tuple(Tensor(f"t{i}", datatype, array_of(datatype, shape)) for i, (datatype, shape) in enumerate(kinds))
    wire = wire_for(*(TensorSpec(t.name, t.datatype, (-1,) * len(t.shape)) for t in tensors))
    got = wire.read_response(carried(wire.response(InferenceResponse(tensors, 8, 0.0015), 9)))
    assert (8, 0.0015) == (got.batch_rows, got.queued_s)
    assert all(map(same, tensors, got.outputs))


@pytest.mark.parametrize("datatypes", [["FP32"], ["FP32", "INT64"], ["BYTES", "BF16"]], ids=str)
def test_large_tensors_are_not_copied_and_come_out_aligned(datatypes):
    """They are sent from where they lie, and used where they were read to."""
    n = 2 << 18 if datatypes == ["FP32"] else JOINED_BYTES
    tensors = tuple(Tensor(f"t{i}", datatype, array_of(datatype, (n,))) for i, datatype in enumerate(datatypes))
    wire = wire_for(*(TensorSpec(t.name, t.datatype, (-1,)) for t in tensors))
    parts = wire.request(InferenceRequest("m", tensors), 1, 1)
    got = wire.read_request(carried(parts), "m").inputs
    assert all(map(same, tensors, got))
    numeric = [t.array for t in got if t.datatype != "BYTES"]
    assert [0] * len(numeric) == [array.ctypes.data % 16 for array in numeric]
    sent_from = [np.frombuffer(part, np.uint8).ctypes.data for part in parts if len(part)]
    assert all(t.array.ctypes.data in sent_from for t in tensors if t.datatype != "BYTES")


@pytest.mark.parametrize("rank", range(5))
def test_small_tensors_come_out_aligned_too(rank):
    """Whatever their rank does to the head."""
    wire = wire_for(TensorSpec("x", "FP64", (-1,) * rank))
    x = np.ones((3,) * rank)
    got = wire.read_request(carried(wire.request(InferenceRequest("m", (Tensor("x", "FP64", x),)), 1, 1)), "m")
    assert 0 == got.inputs[0].array.ctypes.data % 16


@pytest.mark.parametrize(("left_ms", "told_ms"), [(-5, 0), (0, 0), (2**40, 2**32 - 1)])
def test_a_deadline_beyond_what_a_frame_can_say_is_the_nearest_it_can(left_ms, told_ms):
    """One that passed a moment ago is told as passed, and fails nothing else."""
    wire = wire_for(TensorSpec("x", "FP32", (-1,)))
    request = InferenceRequest("m", (Tensor("x", "FP32", np.ones(1, "<f4")),))
    assert told_ms == carried(wire.request(request, 1, left_ms)).a


def test_an_array_that_is_not_in_order_is_sent_as_it_reads():
    """Transposed, reversed, strided: the values count, not how they lie."""
    array = np.arange(200_000, dtype="<f4").reshape(400, 500).T[::2]
    wire = wire_for(TensorSpec("x", "FP32", (-1, -1)))
    got = wire.read_request(carried(wire.request(InferenceRequest("m", (Tensor("x", "FP32", array),)), 1, 1)), "m")
    assert np.array_equal(array, got.inputs[0].array)


WIRE = wire_for(TensorSpec("x", "FP32", (-1, 2)), TensorSpec("s", "BYTES", (-1,)), TensorSpec("b", "BOOL", (-1,)))
GOOD = b"".join(
    WIRE.request(
        InferenceRequest(
            "m",
            (
                Tensor("x", "FP32", np.ones((3, 2), "<f4")),
                Tensor("s", "BYTES", np.array([b"ab", b""], dtype=object)),
                Tensor("b", "BOOL", np.array([True, False])),
            ),
            ("s", "x"),
        ),
        3,
        100,
    )
)


@given(st.lists(st.tuples(st.integers(HEAD_BYTES, len(GOOD) - 5), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_request_is_refused_or_read(damages):
    """And never anything else: not a crash, not memory that was not sent."""
    body = bytearray(GOOD[4:])
    for at, value in damages:
        body[at] = value
    received = Frame(Type.REQ, WANTED, 3, 1, 0, 0, bytes(body))
    for read in (lambda: WIRE.read_request(received, "m").inputs, lambda: WIRE.read_response(received).outputs):
        try:
            tensors = read()
        except (FrameError, InvalidInput):
            continue
        assert sum(t.array.nbytes for t in tensors if t.datatype != "BYTES") <= 3 * len(body)


@given(st.binary(max_size=300), st.integers(0, 3), st.sampled_from([0, WANTED]))
def test_any_payload_is_refused_or_read(payload, tensors_n, flags):
    """Whoever knows the secret may still have a bug."""
    received = Frame(Type.REQ, flags, tensors_n, 1, 0, 0, bytes(16) + payload)
    try:
        WIRE.read_request(received, "m")
    except (FrameError, InvalidInput):
        return


def test_a_tensor_that_claims_more_than_its_frame_has_is_refused():
    """Nothing is allocated for it."""
    meta = struct.pack("<HBBIQQQ", 0, 11, 2, 0, 1 << 40, 1 << 20, 1 << 18)
    with pytest.raises(FrameError):
        WIRE.read_request(Frame(Type.REQ, 0, 1, 1, 0, 0, bytes(16) + meta), "m")


@pytest.mark.parametrize(
    "error", [InvalidInput("x"), NotReady("ö"), Overloaded(""), DeadlineExceeded("a\nb")], ids=repr
)
def test_an_error_keeps_its_kind_and_its_words(error):
    """The fallback is tried, or not, as if the model were here."""
    got = read_error(carried(error_frame(4, error)))
    assert (type(error), str(error)) == (type(got), str(got))


def test_what_is_no_runner_error_is_the_models_own_failure():
    """With a text that cannot grow without bound."""
    got = read_error(carried(error_frame(4, ValueError("x" * 10_000))))
    assert ExecutionFailed is type(got)
    assert str(got).startswith("ValueError: xxx")
    assert len(str(got)) <= 1000


@given(st.binary(max_size=100))
def test_any_error_payload_is_some_error(payload):
    """A newer replica may have words that this gateway has not."""
    assert isinstance(read_error(Frame(Type.ERR, 0, 0, 1, 0, 0, bytes(16) + payload)), Exception)
