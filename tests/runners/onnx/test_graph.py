"""What a model file says of itself, and what is refused before the runtime sees it."""

from contextlib import contextmanager

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runners.core.errors import LoadRefused
from runners.core.frozen import freeze
from runners.onnx.graph import read_graph
from runners.onnx.wire import _encode


@pytest.fixture
def facts(tmp_path):
    """Reads a model, or the bytes of a file."""

    def read(content):
        path = tmp_path / "m.onnx"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        with freeze(path, limit_bytes=1 << 30) as file:
            return read_graph(file)

    return read


@contextmanager
def refused(why):
    with pytest.raises(LoadRefused) as caught:
        yield
    assert "m.onnx" == caught.value.what
    assert why in caught.value.why


def test_the_facts_of_a_model_are_read(facts, model):
    """`inspect` prints what the file says."""
    found = facts(model("endless"))
    assert (9, (("", 17), ("ai.onnx.ml", 3)), 5) == (found.ir_version, found.opsets, found.nodes_n)


def test_operators_of_subgraphs_count_too(facts, model):
    """What runs in a loop runs."""
    assert {("", "Add"), ("", "Loop")} <= facts(model("endless")).operators


def test_operators_of_functions_count_too(facts, model):
    """What a model defines for itself it may also use."""
    whole = model("sum")
    function = helper.make_function(
        "own", "F", ["a"], ["b"], [helper.make_node("Exp", ["a"], ["b"])], whole.opset_import
    )
    whole.functions.append(function)
    assert ("", "Exp") in facts(whole).operators


def test_onnxs_two_names_for_its_own_domain_are_one(facts, model):
    """ai.onnx is the default domain."""
    whole = model("sum")
    whole.graph.node[0].domain = "ai.onnx"
    assert {("", "ReduceSum")} == facts(whole).operators


def test_tensors_without_a_rank_are_told_from_scalars(facts, model):
    """The runtime calls both []."""
    whole = model("two")
    whole.graph.output[0].type.tensor_type.ClearField("shape")
    whole.graph.input[1].type.tensor_type.ClearField("shape")
    assert {"c", "b"} == facts(whole).unranked
    assert frozenset() == facts(model("scalar")).unranked


@pytest.mark.parametrize("cut", [3, 20, 60])
def test_a_truncated_file_is_refused(facts, model, cut):
    """Half a copy is no model."""
    whole = model("endless").SerializeToString()
    with refused("damaged copy"):
        facts(whole[: len(whole) - cut])


def test_a_file_without_a_graph_is_refused(facts, model):
    """An envelope without a letter."""
    whole = model("sum")
    whole.ClearField("graph")
    with refused("it holds no graph"):
        facts(whole)


def test_a_file_that_happens_to_parse_is_no_model(facts):
    """Protobuf reads almost anything."""
    with refused("it holds no graph"):
        facts(b"\x08\x07")


def test_text_is_called_text(facts):
    """A failed download is called one."""
    with refused("an HTML page"):
        facts(b"<!doctype html><title>404</title>")


def test_a_pickle_is_refused_unread(facts):
    """Nothing in it has been run."""
    with refused("a pickle, which would run code when read"):
        facts(b"\x80\x04cos\nsystem\n")


def test_a_tensor_that_promises_more_than_the_file_holds_is_refused(facts, model):
    """Four bytes do not become a hundred gigabytes of memory."""
    whole = model("sum")
    whole.graph.initializer.add(name="huge", data_type=TensorProto.FLOAT, dims=[5000, 5000, 1000], raw_data=b"1234")
    with refused("declares 25000000000 elements for tensor 'huge'"):
        facts(whole)


def test_a_promise_in_a_constant_node_is_held_to_the_same(facts, model):
    """There is no back door."""
    whole = model("sum")
    tensor = TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[2**40], raw_data=bytes(4000))
    whole.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    with refused("declares 1099511627776 elements for tensor 'huge' and holds 40"):
        facts(whole)


def test_a_negative_size_is_refused(facts, model):
    """A product of two negatives is no size."""
    whole = model("sum")
    whole.graph.initializer.add(name="odd", data_type=TensorProto.FLOAT, dims=[-2, -2], raw_data=bytes(16))
    with refused("declares a negative size for tensor 'odd'"):
        facts(whole)


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "?", "<f2", "u1"])
def test_real_weights_are_let_through(facts, model, dtype):
    """However they are packed."""
    whole = model("sum")
    whole.graph.initializer.append(numpy_helper.from_array(np.zeros((300, 300), dtype), "w"))
    words = helper.make_tensor("words", TensorProto.STRING, [5000], [b""] * 5000)
    small = helper.make_tensor("small", TensorProto.INT4, [9000], [1] * 9000)
    whole.graph.initializer.extend([words, small])
    assert 1 == facts(whole).nodes_n


def test_a_compiled_engine_is_refused(facts, model):
    """It would be run as it is, on a device it was not made for, from a file it names."""
    whole = model("sum")
    whole.graph.node.append(
        helper.make_node("EPContext", ["x"], ["z"], domain="com.microsoft", ep_cache_context="../e.bin")
    )
    with refused("holds an engine compiled for one device"):
        facts(whole)


def nested(levels):
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", [], [])
    for _ in range(levels):
        graph = helper.make_graph([helper.make_node("Loop", ["m"], ["y"], body=graph)], "g", [], [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_subgraphs_nested_without_end_are_refused(facts):
    """Depth is bounded, by us or by the parser."""
    with refused("nests subgraphs deeper than 16"):
        facts(nested(17))
    deep = b""
    for _ in range(40):
        for field in (b"\x32", b"\x2a", b"\x0a"):  # attribute.g, node.attribute, graph.node
            deep = field + _encode(len(deep)) + deep
    with refused("nests too deeply"):
        facts(b"\x08\x09\x3a" + _encode(len(deep)) + deep)


def test_subgraphs_as_deep_as_anybody_exports_are_let_through(facts):
    """A bound is not a bother."""
    assert 9 == facts(nested(8)).nodes_n


def external(model, **entries):
    whole = model("sum")
    tensor = whole.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return whole


def test_external_weights_are_listed_with_their_place(facts, model):
    """What a model leans on is known before it is opened."""
    (found,) = facts(external(model, location="w.bin", offset="16", length="16")).external
    assert ("w", "w.bin", 16, 16, 16) == (found.name, found.location, found.offset, found.length, found.size_bytes)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({}, "does not say where tensor 'w' lies"),
        ({"location": "w", "offset": "-1"}, "has the offset or length '-1' for tensor 'w'"),
        ({"location": "w", "length": "1e3"}, "has the offset or length '1e3' for tensor 'w'"),
        ({"location": "w", "length": "9" * 40}, "has the offset or length"),
        ({"location": "w", "offset": "²"}, "has the offset or length"),
    ],
)
def test_external_weights_that_do_not_say_where_they_lie_are_refused(facts, model, entries, why):
    """A place is a name and two whole numbers."""
    with refused(why):
        facts(external(model, **entries))


def test_a_place_that_is_said_twice_is_refused(facts, model):
    """Nobody guesses which of two was meant."""
    whole = external(model, location="w.bin")
    whole.graph.initializer[-1].external_data.add(key="location", value="../w.bin")
    with refused("or says it twice"):
        facts(whole)


def test_external_data_anywhere_but_in_weights_is_refused(facts, model):
    """A constant node that names a file would be one more way to open it."""
    whole = model("sum")
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    whole.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    with refused("keeps tensor 'c', which is no weight of the main graph, in a file"):
        facts(whole)


def test_external_data_in_a_subgraph_is_refused(facts, model):
    """Neither in a loop's body."""
    whole = model("endless")
    body = whole.graph.node[2].attribute[0].g
    tensor = body.initializer.add(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="w.bin")
    with refused("keeps tensor 'c'"):
        facts(whole)


def test_what_onnx_itself_saves_is_read(facts, tmp_path, model):
    """External weights as the onnx package writes them."""
    whole = model("sum")
    whole.graph.initializer.append(numpy_helper.from_array(np.zeros((300, 300), "<f4"), "w"))
    onnx.save_model(whole, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=1024)
    (found,) = facts((tmp_path / "m.onnx").read_bytes()).external
    assert ("w.bin", 0, 360_000, 360_000) == (found.location, found.offset, found.length, found.size_bytes)
