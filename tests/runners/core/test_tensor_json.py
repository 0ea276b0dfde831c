"""Tensors in JSON: taken as written or not at all, and given back bit for bit."""

import json
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from runners.core.errors import InvalidInput, InvalidOutput
from runners.core.tensor import DATATYPES, Tensor
from runners.core.tensor_json import JsonTensor, tensor_from_json, tensor_to_json

FIXED = [name for name in DATATYPES if name not in ("FP16", "BF16", "BYTES")]
INTEGERS = [name for name in FIXED if "INT" in name]


def read(datatype, shape, data, **limits):
    text = data if isinstance(data, str) else json.dumps(data)
    return tensor_from_json(JsonTensor("x", tuple(shape), datatype, msgspec.Raw(text.encode())), **limits)


def refusal(datatype, shape, data, **limits):
    with pytest.raises(InvalidInput) as caught:
        read(datatype, shape, data, **limits)
    return str(caught.value)


def test_flat_data_takes_the_shape():
    """A client may send a list and say how it is meant."""
    tensor = read("FP32", [2, 2], [1, 2.5, -3, 4e-3])
    assert (np.dtype("<f4"), [[1, 2.5], [-3, np.float32(4e-3)]]) == (tensor.array.dtype, tensor.array.tolist())


@pytest.mark.parametrize("text", ["[[1,2],[3,4]]", " [ [1, 2] ,\n[3,4]\t]", "[1,2,3,4]"])
def test_nested_data_is_the_same_as_flat(text):
    """A client may send it as its language prints it."""
    assert [[1, 2], [3, 4]] == read("INT64", [2, 2], text).array.tolist()


def test_three_deep_is_read_in_row_major_order():
    """The last index runs fastest."""
    assert list(range(8)) == read("INT8", [2, 2, 2], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]).array.ravel().tolist()


@pytest.mark.parametrize("data", ["3.5", "[3.5]"])
def test_a_scalar_is_a_number_or_a_list_of_one(data):
    """Rank 0 has two spellings."""
    assert ((), 3.5) == ((array := read("FP64", [], data).array).shape, array.item())


@pytest.mark.parametrize(("shape", "data"), [([0, 4], "[]"), ([2, 0], "[[],[]]"), ([0], "[ ]"), ([2, 0], "[]")])
def test_a_tensor_may_be_empty(shape, data):
    """Zero elements are a legal number of elements."""
    assert tuple(shape) == read("FP32", shape, data).array.shape


def test_null_reads_as_nan():
    """JSON has no NaN; a missing number is one."""
    array = read("FP32", [2, 2], "[[1, null], [null, 2]]").array
    assert [[False, True], [True, False]] == np.isnan(array).tolist()


@pytest.mark.parametrize("datatype", [*INTEGERS, "BOOL", "BYTES"])
def test_null_is_no_integer_truth_or_text(datatype):
    """What has no NaN has no null."""
    refusal(datatype, [1], "[null]")


@pytest.mark.parametrize("data", ["[1.0]", "[1.5]", "[1e2]", '["1"]', "[true]", "[[1]]", "1", "{}", "null", "[1,]", ""])
@pytest.mark.parametrize("datatype", INTEGERS)
def test_only_integers_are_integers(datatype, data):
    """Nothing is rounded, parsed or counted as one."""
    refusal(datatype, [1], data)


@pytest.mark.parametrize("data", ['["1.5"]', "[true]", "[NaN]", "[Infinity]", "[1e400]", "[0x1]", '"1"'])
@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_only_numbers_are_floats(datatype, data):
    """A text is no number, and neither is a truth."""
    refusal(datatype, [1], data)


@pytest.mark.parametrize("data", ["[0]", "[1]", '["true"]', "[null]"])
def test_only_truths_are_truths(data):
    """Zero is a number."""
    refusal("BOOL", [1], data)


@pytest.mark.parametrize("data", ["[1]", "[true]", '[["a"]]', '["\\ud800"]'])
def test_only_texts_are_bytes(data):
    """And a text that is no Unicode is none."""
    refusal("BYTES", [1], data)


@pytest.mark.parametrize("datatype", INTEGERS)
def test_integers_are_taken_to_the_ends_of_their_range_and_no_further(datatype):
    """Nothing wraps around."""
    ends = np.iinfo(DATATYPES[datatype].numpy)
    assert [ends.min, ends.max] == read(datatype, [2], [int(ends.min), int(ends.max)]).array.tolist()
    assert f"tensor 'x' holds a value out of {datatype}'s range" == refusal(datatype, [1], [int(ends.max) + 1])
    assert f"tensor 'x' holds a value out of {datatype}'s range" == refusal(datatype, [1], [int(ends.min) - 1])


def test_a_float_beyond_fp32_is_refused_and_not_made_infinite():
    """Silence would turn a number into another."""
    assert "tensor 'x' holds a value out of FP32's range" == refusal("FP32", [1], "[1e39]")


@pytest.mark.parametrize("data", [[[1, 2], [3]], [[1, 2], 3], [[1], [2], [3], [4]], [[1, 2, 3, 4]], [[[1, 2], [3, 4]]]])
def test_data_nested_otherwise_than_the_shape_says_is_refused(data):
    """Four numbers in the wrong brackets are not the same matrix."""
    refusal("INT32", [2, 2], data)


@pytest.mark.parametrize("data", [[1, 2, 3], [1, 2, 3, 4, 5], []])
def test_the_wrong_number_of_elements_is_refused(data):
    """Nothing is padded or cut."""
    assert f"tensor 'x' has {len(data)} elements, shape [2, 2] needs 4" == refusal("INT32", [2, 2], data)


@pytest.mark.parametrize("shape", [[-1], [-1, -4], [2, -2], [-(2**70)]])
def test_a_negative_dimension_is_refused(shape):
    """-1 is for the model to say, not for a request."""
    assert "tensor 'x' has a negative dimension" == refusal("FP32", shape, [1, 2, 3, 4])


@pytest.mark.parametrize("shape", [[2**31, 2**31], [2**62], [2**32, 2**32], [2**63, 2, 2], [0, 2**62], [10**5000]])
def test_a_shape_that_overflows_is_refused_before_anything_is_allocated(shape):
    """The product is exact, and beside a zero every dimension still counts."""
    assert "declares more than the" in refusal("FP32", shape, [])


def test_a_tensor_is_bounded_for_itself():
    """FP64 takes eight bytes an element, however short its JSON is."""
    assert 8 == read("FP64", [8], [0] * 8, limit_bytes=64).array.size
    assert "tensor 'x' declares more than the 8 elements that are taken" == refusal(
        "FP64", [9], [0] * 9, limit_bytes=64
    )


def test_too_many_dimensions_are_refused():
    """A rank is bounded as a size is."""
    assert "tensor 'x' has 33 dimensions, at most 32 are taken" == refusal("FP32", [1] * 33, [1])


def test_brackets_without_end_are_refused():
    """Depth is counted only as far as it may go."""
    refusal("FP32", [1] * 32, "[" * 100_000)


def test_the_deepest_rank_that_is_taken_can_be_nested():
    """The bound is reached, not only announced."""
    assert (1,) * 32 == read("FP32", [1] * 32, "[" * 32 + "7" + "]" * 32).array.shape


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_have_no_json_form_either_way(datatype):
    """The refusal says what to do instead."""
    told = f"tensor 'x': {datatype} has no JSON form; "
    assert told + "send it as binary tensor data" == refusal(datatype, [1], [1])
    with pytest.raises(InvalidInput, match="ask for it as binary tensor data"):
        tensor_to_json(Tensor("x", datatype, np.zeros(1, DATATYPES[datatype].numpy)))


def test_an_unknown_datatype_is_told_with_the_known_ones():
    """A client that misspelt a datatype reads the right ones."""
    assert "tensor 'x' has datatype 'FLOAT', known are BOOL, UINT8" in refusal("FLOAT", [1], [1])


def test_bytes_that_are_not_utf8_are_the_models_fault():
    """They cannot be written, and the client asked for nothing wrong."""
    array = np.array([b"\xff"], dtype=object)
    with pytest.raises(InvalidOutput, match="not UTF-8"):
        tensor_to_json(Tensor("y", "BYTES", array))


def test_nan_and_infinity_are_written_as_null():
    """Nobody's parser breaks on a bare NaN."""
    array = np.array([np.nan, np.inf, -np.inf, 1.5], "<f4")
    wire = msgspec.json.decode(msgspec.json.encode(tensor_to_json(Tensor("y", "FP32", array))))
    assert {"name": "y", "datatype": "FP32", "shape": [4], "data": [None, None, None, 1.5]} == wire


def test_an_array_that_is_not_contiguous_is_written_in_its_own_order():
    """What matters is what the array says, not how it lies in memory."""
    array = np.arange(6, dtype="<i4").reshape(2, 3).T
    assert [0, 3, 1, 4, 2, 5] == tensor_to_json(Tensor("y", "INT32", array)).data


def test_what_was_read_cannot_be_changed_by_accident():
    """Arms share a request."""
    assert (False, False) == (
        read("FP32", [1], [1]).array.flags.writeable,
        read("BYTES", [1], ["a"]).array.flags.writeable,
    )


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def arrays(datatype):
    if datatype == "BYTES":
        return hnp.arrays(object, SHAPES, elements=st.text().map(str.encode), fill=st.just(b""))
    elements = {"allow_infinity": False} if datatype.startswith("FP") else None
    return hnp.arrays(DATATYPES[datatype].numpy, SHAPES, elements=elements)


@settings(deadline=None)
@given(st.data(), st.sampled_from([*FIXED, "BYTES"]), st.booleans())
def test_every_tensor_comes_back_bit_for_bit(data, datatype, nested):
    """What one gateway writes another reads; only the payload of a NaN is lost."""
    array = data.draw(arrays(datatype))
    body = msgspec.json.decode(msgspec.json.encode(tensor_to_json(Tensor("x", datatype, array))), type=JsonTensor)
    if nested and array.size:
        texts = np.vectorize(bytes.decode, otypes=[object])(array) if datatype == "BYTES" else array
        body.data = msgspec.Raw(msgspec.json.encode(texts.tolist()))
    back = tensor_from_json(body)
    assert (datatype, array.shape) == (back.datatype, back.array.shape)
    if datatype.startswith("FP"):
        assert np.isnan(array).tolist() == np.isnan(back.array).tolist()
        array = np.where(np.isnan(array), 0, array)
        assert array.tobytes() == np.where(np.isnan(back.array), 0, back.array).tobytes()
    else:
        assert array.tolist() == back.array.tolist()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@settings(deadline=None)
@given(
    st.sampled_from(list(DATATYPES)) | st.text(max_size=4),
    st.lists(st.integers(-2, 4) | st.integers(), max_size=40),
    JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40),
)
@example("FP32", [1], b"[1" + b"0" * 5000 + b"]")
@example("INT64", [1], b"[1" + b"0" * 5000 + b"]")
@example("BYTES", [1], b'["\xff"]')
@example("FP32", [], b"")
@example("FP32", [1], b"[" * 5000)
@example("FP32", [1], b"[" + b"[" * 5000)
def test_junk_is_refused_and_never_anything_else(datatype, shape, data):
    """No request, however mad, is more than a bad request."""
    try:
        tensor = tensor_from_json(JsonTensor("x", tuple(shape), datatype, msgspec.Raw(data)))
    except InvalidInput:
        return
    assert (tuple(shape), DATATYPES[datatype].numpy) == (tensor.array.shape, tensor.array.dtype)


@settings(deadline=None)
@given(st.floats(width=64, allow_nan=False))
def test_fp32_is_rounded_as_the_machine_rounds(value):
    """Reading a decimal means rounding it once, to the nearest."""
    try:
        expected = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        expected = None
    if expected is None or np.isinf(value):
        refusal("FP32", [1], [value])
    else:
        assert expected == read("FP32", [1], [value]).array.item()
