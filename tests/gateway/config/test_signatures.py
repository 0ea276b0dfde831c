"""Arms that could not stand in for each other are found before anything is opened."""

import json

import pytest
from onnx import TensorProto, helper

from gateway.config.directory import load_directory
from gateway.config.problems import ConfigRefused
from gateway.config.signatures import check_signatures

ROUTE = """\
turnout: v1
route: r
arms:
  old: {model: file:models/old.onnx, role: baseline}
  new:
    model: file:models/new.onnx
    role: candidate
  dumb: {model: constant:models/dumb.json, role: reserve}
fallback: [old, dumb]
strategy: {kind: ab, shares: {new: 50%}}
"""


@pytest.fixture
def folder(tmp_path):
    """A configuration whose arms agree; tests put something else in the place of one."""
    (tmp_path / "routes").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "routes/r.yaml").write_text(ROUTE)
    write_model(tmp_path, "old", [2], "y")
    write_model(tmp_path, "new", [2], "y")
    write_constant(tmp_path, "y")
    return tmp_path


def write_model(folder, name, shape, output, datatype=TensorProto.FLOAT):
    x = helper.make_tensor_value_info("x", datatype, ["n", *shape])
    y = helper.make_tensor_value_info(output, datatype, ["n", *shape])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], [output])], "g", [x], [y])
    (folder / f"models/{name}.onnx").write_bytes(helper.make_model(graph).SerializeToString())


def write_constant(folder, output):
    row = {"name": output, "datatype": "FP32", "shape": [-1, 2], "data": [0, 1]}
    (folder / "models/dumb.json").write_text(json.dumps({"outputs": [row]}))


def said_of(folder):
    with pytest.raises(ConfigRefused) as caught:
        check_signatures(load_directory(folder))
    return [(located.line, located.problem.what) for located in caught.value.problems]


def test_arms_that_agree_are_taken(folder):
    """A constant that looks at no input takes them all."""
    check_signatures(load_directory(folder))


def test_an_arm_with_another_output_is_told_with_its_line(folder):
    write_model(folder, "new", [2], "z")

    ((line, what),) = said_of(folder)

    assert line == 6
    assert what == "it cannot stand in for old: its outputs are z; the baseline's output 'y' is missing"


@pytest.mark.parametrize(
    ("shape", "datatype"), [([3], TensorProto.FLOAT), ([2, 1], TensorProto.FLOAT), ([2], TensorProto.DOUBLE)]
)
def test_another_size_rank_or_datatype_is_another_signature(folder, shape, datatype):
    write_model(folder, "new", shape, "y", datatype)

    assert ["it cannot stand in for old: its input 'x' is" in what for _, what in said_of(folder)] == [True]


def test_a_size_that_is_left_open_fits_any(folder):
    write_model(folder, "new", ["k"], "y")

    check_signatures(load_directory(folder))


def test_the_last_resort_is_held_to_it_too(folder):
    write_constant(folder, "other")

    assert len(said_of(folder)) == 1


def test_all_that_is_wrong_is_told_at_once(folder):
    (folder / "models/new.onnx").write_bytes(b"\x80\x04\x95K\x01.")
    write_constant(folder, "other")

    assert len(said_of(folder)) == 2


def test_models_that_are_not_here_are_nobodys_fault(folder):
    """CI may check documents without the models that they name."""
    (folder / "models/new.onnx").unlink()
    (folder / "models/dumb.json").unlink()

    check_signatures(load_directory(folder))


@pytest.mark.parametrize(
    ("action", "what"),
    [
        ("{output: z, above: 1}", "the baseline has no output 'z'"),
        ("{output: y, equals: block}", "'y' is FP32, and 'block' is a text"),
        ("{output: y, above: 1}", "'y' has shape [-1, 2], and an action is told by one value a row"),
    ],
)
def test_an_action_that_no_answer_can_be_is_refused_at_its_line(folder, action, what):
    (folder / "routes/r.yaml").write_text(f"{ROUTE}actions:\n  block: {action}\n")
    assert (12, what) in said_of(folder)
