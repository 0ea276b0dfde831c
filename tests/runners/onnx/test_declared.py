"""What a model file declares, and that it agrees with what the runtime finds."""

import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from runners.core.errors import LoadRefused
from runners.core.frozen import freeze
from runners.core.tensor import TensorSpec
from runners.onnx.declared import declared_in
from runners.onnx.session import _BY_ONNX_TYPE


@pytest.fixture
def declared(tmp_path):
    def read(content):
        path = tmp_path / "m.onnx"
        path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
        with freeze(path, limit_bytes=1 << 30) as file:
            return declared_in(file)

    return read


def graph_of(inputs, outputs, nodes, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def identity(datatype, shape):
    value = [helper.make_tensor_value_info(name, datatype, shape) for name in ("x", "y")]
    return graph_of(value[:1], value[1:], [helper.make_node("Identity", ["x"], ["y"])])


@pytest.mark.parametrize("name", ["sum", "endless"])
def test_what_is_declared_is_what_the_runtime_finds(declared, model, name):
    """Sizes that only the runtime infers may be open in the file; nothing else may differ."""
    whole = model(name)
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    found = declared(whole).signature

    assert [each.name for each in session.get_inputs()] == [spec.name for spec in found.inputs]
    assert [each.name for each in session.get_outputs()] == [spec.name for spec in found.outputs]
    for seen, spec in zip(
        (*session.get_inputs(), *session.get_outputs()), (*found.inputs, *found.outputs), strict=True
    ):
        assert _BY_ONNX_TYPE[seen.type] == spec.datatype
        assert [size if isinstance(size, int) else -1 for size in seen.shape] == list(spec.shape)


@pytest.mark.parametrize("kind", sorted(_BY_ONNX_TYPE))
def test_every_datatype_of_the_protocol_is_known(declared, kind):
    """A datatype that is served is one that can be compared."""
    word = kind.removeprefix("tensor(").removesuffix(")")
    names = {"float": "FLOAT", "double": "DOUBLE", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}
    datatype = TensorProto.DataType.Value(names.get(word, word.upper()))

    found = declared(identity(datatype, ["batch", 3]))

    assert found.signature.inputs == (TensorSpec("x", _BY_ONNX_TYPE[kind], (-1, 3)),)
    assert found.unranked == frozenset()


def test_weights_that_stand_among_the_inputs_are_none(declared):
    """Old exporters list both; the runtime asks callers for neither."""
    x, w, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xwy")
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2], [1, 2])

    found = declared(graph_of([x, w], [y], [helper.make_node("Add", ["x", "w"], ["y"])], [weight]))

    assert [spec.name for spec in found.signature.inputs] == ["x"]


def test_what_has_no_shape_is_told_from_a_scalar(declared):
    """Nobody may be refused for what a file leaves open."""
    assert declared(identity(TensorProto.FLOAT, None)).unranked == {"x", "y"}
    assert declared(identity(TensorProto.FLOAT, [])).unranked == frozenset()


def test_what_the_protocol_cannot_carry_is_left_open(declared):
    assert declared(identity(TensorProto.COMPLEX64, [1])).unranked == {"x", "y"}


def test_what_is_no_model_is_refused(declared):
    with pytest.raises(LoadRefused):
        declared(b"\x80\x04\x95 a pickle")


def test_the_file_of_another_version_is_read_the_same(declared):
    """Fields that are not asked about are passed over."""
    whole = identity(TensorProto.INT64, [1, "n"])
    whole.doc_string = "d" * 5000
    onnx.helper.set_model_props(whole, {"key": "value" * 1000})

    assert declared(whole).signature.outputs == (TensorSpec("y", "INT64", (1, -1)),)
