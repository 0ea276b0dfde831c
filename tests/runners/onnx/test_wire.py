"""The skeleton of a model: all its nodes, none of its weights."""

import mmap

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from runners.onnx import wire
from runners.onnx.schema import model_class
from runners.onnx.wire import Malformed, skeleton

WEIGHTS = np.arange(100_000, dtype="<f4")


def large_model():
    """Weights in every place a file can have them: an initializer, a constant node, a subgraph, a sparse tensor."""
    weights = numpy_helper.from_array(WEIGHTS, "w")
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=weights)], "inner", [], [])
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(WEIGHTS, "s"), numpy_helper.from_array(np.arange(100_000, dtype="<i8"), "i"), [100_000]
    )
    nodes = [
        helper.make_node("Constant", [], ["a"], value=weights),
        helper.make_node("If", ["t"], ["b"], then_branch=inner, else_branch=inner),
    ]
    graph = helper.make_graph(nodes, "g", [], [], [weights], doc_string="long " * 10_000, sparse_initializer=[sparse])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_a_skeleton_is_small_however_large_the_model():
    """Reading a model's nodes does not cost its weights."""
    whole = large_model().SerializeToString()
    assert (True, True) == (len(whole) > 2_000_000, len(skeleton(whole)) < 10_000)


def test_a_skeleton_has_every_node_and_tensor_of_its_model():
    """What is not looked at cannot be refused."""
    model = model_class().FromString(skeleton(large_model().SerializeToString()))
    branch = model.graph.node[1].attribute[0].g
    assert ["Constant", "If"] == [node.op_type for node in model.graph.node]
    assert ("Constant", "w", [100_000]) == (
        branch.node[0].op_type,
        branch.node[0].attribute[0].t.name,
        list(branch.node[0].attribute[0].t.dims),
    )
    assert ["s"] == [sparse.values.name for sparse in model.graph.sparse_initializer]


def test_the_size_of_what_was_left_out_is_noted():
    """A promise of weights can be held against the weights."""
    tensor = model_class().FromString(skeleton(large_model().SerializeToString())).graph.initializer[0]
    assert WEIGHTS.nbytes <= tensor.payload_bytes <= WEIGHTS.nbytes + 10


def test_many_short_texts_count_as_much_as_one_long_one():
    """A vocabulary is a weight too."""
    words = helper.make_tensor("words", TensorProto.STRING, [5000], [b"word"] * 5000)
    graph = helper.make_graph([], "g", [], [], [words])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    read = model_class().FromString(skeleton(model.SerializeToString())).graph.initializer[0]
    assert (True, [5000]) == (read.payload_bytes >= 5000 * 4, list(read.dims))


def test_a_file_is_walked_where_it_is_mapped(tmp_path):
    """A model is not read into memory to be looked at."""
    (tmp_path / "m").write_bytes(large_model().SerializeToString())
    with (tmp_path / "m").open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as view:
        assert skeleton(large_model().SerializeToString()) == skeleton(view)


@pytest.mark.parametrize("cut", [1, 5, 1000, 400_000])
def test_a_truncated_file_is_told_as_such(cut):
    """A copy that broke off is not half a model."""
    with pytest.raises(Malformed, match="truncated"):
        skeleton(large_model().SerializeToString()[:-cut])


def test_a_graph_above_the_limit_is_refused(monkeypatch):
    """A million nodes do not hold up a gateway."""
    monkeypatch.setattr(wire, "SKELETON_LIMIT_BYTES", 100_000)
    nodes = [helper.make_node("Abs", [f"x{n}"], [f"x{n + 1}"]) for n in range(10_000)]
    graph = helper.make_graph(nodes, "g", [], [])
    with pytest.raises(Malformed, match="its graph alone is above 100000 bytes"):
        skeleton(helper.make_model(graph).SerializeToString())


def nested(levels, inside):
    """A graph in a node's attribute in a graph, so many times over."""
    message = inside
    for _ in range(levels):
        for field in (6, 5, 1):  # attribute.g, node.attribute, graph.node
            message = wire._encode(field << 3 | 2) + wire._encode(len(message)) + message
    return wire._encode(7 << 3 | 2) + wire._encode(len(message)) + message


def test_graphs_nested_without_end_are_refused():
    """Nesting is counted, not followed."""
    with pytest.raises(Malformed, match="nests deeper"):
        skeleton(nested(1000, b"\x52\x80\x10" + bytes(2048)))


@settings(deadline=None)
@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda tail: b"\x3a" + wire._encode(5000) + tail + bytes(5000))
)
@example(b"\x80" * 20)
@example(b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
def test_junk_is_malformed_or_passed_on_and_never_anything_else(junk):
    """No file, however mad, is more than a bad file."""
    try:
        skeleton(junk)
    except Malformed:
        return


@settings(deadline=None)
@given(st.integers(0, 2**63), st.sampled_from([0, 1, 2, 5]))
def test_numbers_are_written_as_they_are_read(value, shift):
    """A length survives the journey."""
    encoded = wire._encode(value >> shift)
    assert (value >> shift, len(encoded)) == wire._Walk(encoded)._varint(0, len(encoded))


def test_every_small_model_is_its_own_skeleton(model):
    """Where there is nothing to leave out, nothing is."""
    whole = model("endless").SerializeToString()
    assert onnx.ModelProto.FromString(whole) == onnx.ModelProto.FromString(skeleton(whole))
