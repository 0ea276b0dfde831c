"""Building a session from a file, and running one request through it."""

import hashlib
import threading

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput, LoadRefused
from runners.core.runner import ProviderChoice
from runners.core.tensor import TensorSpec
from runners.onnx.session import load_model, session_options


def load(path, **how):
    return load_model(path, ProviderChoice(), **({"threads": 1, "options": session_options()} | how))


@pytest.fixture
def session(model_file):
    return lambda name: load(model_file(name)).session


@pytest.fixture
def refusal(tmp_path):
    """Why a changed model is refused, after checking that the error names the file and no path."""

    def told(model):
        path = tmp_path / "m.onnx"
        path.write_bytes(model.SerializeToString())
        with pytest.raises(LoadRefused) as caught:
            load(path)
        assert ("m.onnx", False) == (caught.value.what, "/" in str(caught.value).replace("function/op", ""))
        return str(caught.value)

    return told


def test_the_digest_is_the_files(model_file):
    """`sha256sum` and `inspect` agree."""
    path = model_file("sum")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == load(path).digest


def test_a_file_that_is_not_what_the_registry_says_is_refused(model_file):
    """Somebody has changed a stored model."""
    with pytest.raises(LoadRefused, match=r"sum.onnx: has SHA-256 .*, the registry says 000000000000"):
        load(model_file("sum"), digest="0" * 64)


def test_the_signature_is_read_with_symbolic_dimensions_open(session):
    """Metadata says -1 where any size will do."""
    signature = session("two").signature
    assert (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1,))) == signature.inputs
    assert (TensorSpec("c", "FP32", (-1, 2)), TensorSpec("d", "INT64", (-1,))) == signature.outputs


def test_all_outputs_come_back_in_the_models_order(session, ask):
    """Whoever names no outputs gets them all."""
    outputs = session("two").run(ask(a=np.ones((1, 2), "<f4"), b=np.array([3], "<i8")))
    assert [("c", "FP32", [[-1, -1]]), ("d", "INT64", [-3])] == [
        (t.name, t.datatype, t.array.tolist()) for t in outputs
    ]


@pytest.mark.parametrize("wanted", [("d",), ("d", "c"), ("c",)])
def test_outputs_come_back_in_the_order_asked_for(session, ask, wanted):
    """Whoever names them gets those."""
    outputs = session("two").run(ask(wanted, a=np.ones((1, 2), "<f4"), b=np.array([3], "<i8")))
    expected = {"c": ("FP32", [[-1, -1]]), "d": ("INT64", [-3])}
    assert [(name, *expected[name]) for name in wanted] == [(t.name, t.datatype, t.array.tolist()) for t in outputs]


def test_texts_go_in_and_come_out_as_bytes(session, ask):
    """Whatever is in them, as long as it is Unicode."""
    texts = np.array(["a", "né\0", "", "😀"], dtype=object)
    (y,) = session("text").run(ask(x=np.array([text.encode() for text in texts], dtype=object)))
    assert ("BYTES", [text.encode() for text in texts]) == (y.datatype, y.array.tolist())


def test_bytes_that_are_not_utf8_are_the_callers_fault(session, ask):
    """The runtime knows texts alone."""
    with pytest.raises(InvalidInput, match="input 'x' holds bytes that are not UTF-8"):
        session("text").run(ask(x=np.array([b"\xff"], dtype=object)))


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_bf16_goes_in_and_comes_out_as_bit_patterns(session, ask, rows):
    """A datatype that numpy does not know is carried all the same."""
    patterns = np.full((rows, 2), 0x4020, "<u2")  # 2.5
    y, z = session("bf16").run(ask(x=patterns))
    assert ("BF16", "FP32") == (y.datatype, z.datatype)
    assert (patterns.tolist(), [[2.5, 2.5]] * rows) == (y.array.tolist(), z.array.tolist())


@pytest.mark.parametrize(
    ("name", "x", "expected"),
    [
        ("half", np.array([[1, -2]], "<f2"), [[-1, 2]]),
        ("truth", np.array([True, False]), [False, True]),
        ("scalar", np.array([[1, 2], [3, 4]], "<f4"), 10),
        ("sum", np.zeros((0, 4), "<f4"), []),
    ],
)
def test_other_datatypes_and_shapes_go_through(session, ask, name, x, expected):
    """Half floats, truths, scalars, and no rows at all."""
    (y,) = session(name).run(ask(x=x))
    assert expected == y.array.tolist()


def test_views_that_are_read_only_or_not_contiguous_are_read_right(session, ask):
    """A request's body is not copied."""
    x = np.arange(32, dtype="<f4").reshape(4, 8)[:, ::2]
    x.flags.writeable = False
    (y,) = session("sum").run(ask(x=x))
    assert x.sum(axis=1, keepdims=True).tolist() == y.array.tolist()


def test_a_model_that_raises_is_told_in_one_line(session, ask):
    """No traceback, no path, no name of the runtime."""
    with pytest.raises(ExecutionFailed) as caught:
        session("fussy").run(ask(x=np.array([7], "<i8")))
    assert "Gather: indices element out of data bounds, idx=7 must be within the inclusive range [-3,2]" == str(
        caught.value
    )


def test_a_model_that_raises_writes_nothing_itself(session, ask, capfd):
    """A candidate that fails on every call does not fill the disk."""
    with pytest.raises(ExecutionFailed):
        session("fussy").run(ask(x=np.array([7], "<i8")))
    assert ("", "") == tuple(capfd.readouterr())


def test_a_run_can_be_stopped(session, ask):
    """The deadline reaches into the model."""
    options = ort.RunOptions()
    timer = threading.Timer(0.05, setattr, (options, "terminate", True))
    timer.start()
    with pytest.raises(DeadlineExceeded):
        session("endless").run(ask(x=np.ones((1, 4), "<f4")), options)
    timer.join()


def test_a_session_survives_a_run_that_was_stopped(session, ask):
    """The next caller is served."""
    options = ort.RunOptions()
    options.terminate = True
    endless = session("endless")
    with pytest.raises(DeadlineExceeded):
        endless.run(ask(x=np.ones((1, 4), "<f4")), options)
    assert [[-1.0] * 4] == endless.run(ask(x=-np.ones((1, 4), "<f4")))[0].array.tolist()


def test_a_load_that_was_stopped_is_refused(model_file):
    """A load has a deadline too."""
    options = session_options()
    options.set_load_cancellation_flag(True)
    with pytest.raises(LoadRefused, match="loading was stopped"):
        load(model_file("sum"), options=options)


def test_a_sequence_of_maps_is_refused_with_the_cure(refusal):
    """scikit-learn's classifiers come out right the second time."""
    zipmap = helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph([zipmap], "g", [x], [helper.make_value_info("p", kind)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    told = refusal(helper.make_model(graph, opset_imports=opsets, ir_version=9))
    assert "output 'p' is a seq(map(int64,tensor(float))), and only tensors can be served" in told
    assert "zipmap=False" in told


def test_a_datatype_the_protocol_does_not_know_is_refused(refusal, model):
    """A model that nobody could ask is not opened."""
    whole = model("ridged")
    for value in (*whole.graph.input, *whole.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT8E4M3FN
    whole.graph.node[0].op_type = "Identity"
    whole.opset_import[0].version = 19
    assert "which the protocol has no datatype for" in refusal(whole)


def test_an_output_without_a_rank_is_refused(refusal, model):
    """A signature says how many dimensions there are."""
    whole = model("ridged")
    whole.graph.input[0].type.tensor_type.ClearField("shape")
    whole.graph.output[0].type.tensor_type.ClearField("shape")
    assert "does not say how many dimensions input 'x' has" in refusal(whole)


def test_an_operator_the_runtime_lacks_is_refused(refusal, model):
    """A custom operator is not looked for in any library."""
    whole = model("sum")
    whole.graph.node[0].domain = "com.acme"
    whole.opset_import.append(helper.make_opsetid("com.acme", 1))
    told = refusal(whole)
    assert "uses an operator that this runtime lacks (Fatal error: com.acme:ReduceSum(-1)" in told
    assert "custom operators are not loaded" in told


@pytest.mark.parametrize("newer", ["opset", "ir"])
def test_a_model_newer_than_the_runtime_is_refused_with_the_cure(refusal, model, newer):
    """Export it again, with an older opset."""
    whole = model("sum")
    if newer == "opset":
        whole.opset_import[0].version = 99
    else:
        whole.ir_version = 99
    told = refusal(whole)
    assert ("is newer than this runtime" in told, "export it with an older opset" in told) == (True, True)


def test_a_graph_that_makes_no_sense_is_refused(refusal, model):
    """The runtime's own words, without its file names."""
    whole = model("sum")
    whole.graph.node[0].input[0] = "nowhere"
    assert "was refused by ONNX Runtime: Invalid model. Node input 'nowhere' is not a graph input" in refusal(whole)


def test_weights_that_are_too_few_for_their_shape_are_refused(refusal, model):
    """A damaged weight is found out before it is used."""
    whole = model("fussy")
    whole.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=1, dims=[3], raw_data=b"abcd"))
    assert "refused by ONNX Runtime" in refusal(whole)


def test_a_model_file_does_not_configure_the_process(monkeypatch, refusal, model):
    """Where an environment variable would have the runtime do as the file says, nothing is loaded."""
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", "1")
    whole = model("sum")
    whole.metadata_props.add(key="ort_config", value='{"session_options": {"intra_op_num_threads": 7}}')
    assert "was refused by ONNX Runtime" in refusal(whole)
