"""Tensors in raw bytes: read where they lie, and given back bit for bit."""

import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runners.core.errors import InvalidInput
from runners.core.tensor import DATATYPES, Tensor
from runners.core.tensor_binary import tensor_from_binary, tensor_to_binary

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def refusal(datatype, shape, buffer):
    with pytest.raises(InvalidInput) as caught:
        tensor_from_binary("x", datatype, shape, buffer)
    return str(caught.value)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_elements_are_read_where_they_lie(kind):
    """A large request is not copied."""
    buffer = kind(np.arange(4, dtype="<f4").tobytes())
    tensor = tensor_from_binary("x", "FP32", (2, 2), buffer)
    assert ([[0, 1], [2, 3]], True) == (
        tensor.array.tolist(),
        np.shares_memory(tensor.array, np.frombuffer(buffer, "u1")),
    )


def test_elements_are_little_endian():
    """Whatever the machine is."""
    assert [1, 256] == tensor_from_binary("x", "UINT16", (2,), b"\x01\x00\x00\x01").array.tolist()


def test_bytes_carry_their_length():
    """Four bytes, little-endian, and then the element."""
    buffer = b"\x02\x00\x00\x00ab" + b"\x00\x00\x00\x00" + b"\x01\x00\x00\x00\xff"
    assert [b"ab", b"", b"\xff"] == tensor_from_binary("x", "BYTES", (3,), buffer).array.tolist()


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_buffer_of_the_wrong_size_is_refused(size):
    """Nothing is padded or cut."""
    assert f"tensor 'x' has {size} bytes, FP32 of shape [4] needs 16" == refusal("FP32", (4,), bytes(size))


def test_a_byte_that_is_no_truth_is_refused():
    """A model is not given a bool that is 7."""
    assert "tensor 'x' holds a byte that is no BOOL; 0 and 1 are" == refusal("BOOL", (2,), b"\x01\x07")


@pytest.mark.parametrize(
    ("shape", "buffer"),
    [
        ((1,), b""),
        ((1,), b"\x01\x00\x00"),
        ((1,), b"\x02\x00\x00\x00a"),
        ((1,), b"\xff\xff\xff\xffa"),
        ((2,), b"\x04\x00\x00\x00abcd"),
        ((1,), b"\x01\x00\x00\x00ab"),
        ((0,), b"a"),
        ((1 << 20,), b"\x00\x00\x00\x00"),
    ],
)
def test_lengths_that_do_not_fit_the_buffer_are_refused(shape, buffer):
    """A length is a claim, and the buffer is the fact."""
    refusal("BYTES", shape, buffer)


@pytest.mark.parametrize("shape", [(-1,), (2**31, 2**31), (2**62,), (0, 2**62)])
def test_a_shape_that_overflows_is_refused(shape):
    """Before anything is allocated."""
    refusal("FP32", shape, b"")


def test_an_array_that_is_not_contiguous_is_written_in_row_major_order():
    """What matters is what the array says, not how it lies in memory."""
    array = np.arange(6, dtype="<i4").reshape(2, 3).T
    assert [0, 3, 1, 4, 2, 5] == np.frombuffer(tensor_to_binary(Tensor("y", "INT32", array)), "<i4").tolist()


def arrays(datatype):
    if datatype == "BYTES":
        return hnp.arrays(object, SHAPES, elements=st.binary(max_size=20), fill=st.just(b""))
    return hnp.arrays(DATATYPES[datatype].numpy, SHAPES)


@settings(deadline=None)
@given(st.data(), st.sampled_from(list(DATATYPES)))
def test_every_tensor_comes_back_bit_for_bit(data, datatype):
    """The payload of a NaN too."""
    array = data.draw(arrays(datatype))
    wire = tensor_to_binary(Tensor("x", datatype, array))
    back = tensor_from_binary("x", datatype, array.shape, wire)
    assert (datatype, array.shape, wire) == (back.datatype, back.array.shape, tensor_to_binary(back))
    assert array.dtype == back.array.dtype


@settings(deadline=None)
@given(
    st.sampled_from(list(DATATYPES)) | st.text(max_size=4),
    st.lists(st.integers(-2, 4) | st.integers(), max_size=40).map(tuple),
    st.binary(max_size=64) | st.lists(st.integers(0, 9), max_size=9).map(lambda n: struct.pack(f"<{len(n)}I", *n)),
)
@example("UINT32", (0, 2, 3, 3, 36044, 595432, 5968870), b"")  # nothing, of more dimensions than numpy can multiply
def test_junk_is_refused_and_never_anything_else(datatype, shape, buffer):
    """No request, however mad, is more than a bad request."""
    try:
        tensor = tensor_from_binary("x", datatype, shape, buffer)
    except InvalidInput:
        return
    assert (shape, DATATYPES[datatype].numpy) == (tensor.array.shape, tensor.array.dtype)
