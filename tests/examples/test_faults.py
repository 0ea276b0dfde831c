"""Each faulty model does what its row in examples/faults/README.md says, and nothing else."""

import importlib.util
import json
import platform
import re
import signal
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

ORT = (onnxruntime.capi.onnxruntime_pybind11_state.Fail, onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument)
LIMIT_S = 60  # far more than any of it takes; a model that cannot be stopped must not stop the tests

# Answers a request within its own process, tells the run to end after 0.3 s, and prints how it went.
ASK = """
import json, sys, threading
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 4, 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
run = onnxruntime.RunOptions()
threading.Timer(0.3, lambda: setattr(run, "terminate", True)).start()
try:
    session.run(None, {"pixels": np.array(json.load(sys.stdin), np.float32)}, run)
    print("answered")
except Exception as error:
    print(error)
"""


def ask(model, pixels):
    """How a run went that may never end: "answered", or the error; beyond the limit its process is killed."""
    command = [sys.executable, "-c", ASK, str(model)]
    done = subprocess.run(
        command, input=json.dumps(pixels.tolist()), capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def faults(root):
    return root / "examples/faults"


@pytest.fixture
def blank():
    return np.zeros((2, 64), np.float32)


@pytest.fixture
def right(open_model):
    """What the linear model says."""
    session = open_model("configs/models/digits-linear.onnx")
    return lambda pixels: session.run(None, {"pixels": pixels})


def assert_right(answer, expected):
    for one, other in zip(answer, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6, strict=True)


def test_the_models_are_what_their_script_makes(faults):
    """Who reads the script knows the files."""
    spec = importlib.util.spec_from_file_location("make_faults", faults / "make.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.build_models()
    assert made == {path.name: path.read_bytes() for path in faults.glob("*.onnx")}


def test_the_readme_lists_every_model(faults):
    """No fault lies about unexplained."""
    listed = re.findall(r"^\| `([\w-]+\.onnx)`", (faults / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in faults.glob("*.onnx"))


def test_every_model_is_under_4_kb(faults):
    """Broken models cost the repository next to nothing."""
    assert [] == [path.name for path in faults.glob("*.onnx") if path.stat().st_size >= 4000]


def test_every_model_has_the_signature_of_the_digits(faults, open_model):
    """A faulty model can stand wherever the network stands."""

    def signature(session):
        return [(end.name, end.type, end.shape) for end in (*session.get_inputs(), *session.get_outputs())]

    expected = signature(open_model("configs/models/digits-mlp.onnx"))
    assert {path.name: expected for path in faults.glob("*.onnx")} == {
        path.name: signature(open_model(path)) for path in faults.glob("*.onnx")
    }


@pytest.mark.parametrize("name", ["raises", "hangs", "nan", "wrong-shape", "slow", "flaky", "hangs-sometimes", "kills"])
def test_a_blank_image_is_answered_right(name, faults, open_model, right, blank):
    """The model gets through a warm-up, so that its fault meets real traffic."""
    assert_right(open_model(faults / f"{name}.onnx").run(None, {"pixels": blank}), right(blank))


@pytest.mark.parametrize("name", ["flaky", "hangs-sometimes", "slow", "kills"])
def test_real_rows_are_answered_right(name, faults, open_model, right, pixels):
    """Without its trigger the model is as good as the baseline."""
    assert_right(open_model(faults / f"{name}.onnx").run(None, {"pixels": pixels}), right(pixels))


def test_raises_raises_on_every_real_row(faults, open_model, pixels):
    """No real digit gets an answer."""
    session = open_model(faults / "raises.onnx")
    for row in pixels:
        with pytest.raises(ORT, match="out of data bounds"):
            session.run(None, {"pixels": row[np.newaxis]})


def test_raises_always_raises_on_a_blank_image_too(faults, open_model, blank):
    """A warm-up finds it out."""
    with pytest.raises(ORT, match="out of data bounds"):
        open_model(faults / "raises-always.onnx").run(None, {"pixels": blank})


def test_flaky_raises_when_a_row_is_marked(faults, open_model, marked):
    """Whoever sends the request chooses whether it fails."""
    with pytest.raises(ORT, match="out of data bounds"):
        open_model(faults / "flaky.onnx").run(None, {"pixels": marked})


def test_nan_answers_nan_on_every_real_row(faults, open_model, pixels):
    """Shape and datatype are right, only the numbers are none."""
    label, probabilities = open_model(faults / "nan.onnx").run(None, {"pixels": pixels})
    assert (label.shape, probabilities.shape) == ((400,), (400, 10))
    assert np.isnan(probabilities).all()


def test_nan_spoils_only_the_rows_that_set_it_off(faults, open_model, right, pixels, blank):
    """A bad row does not spoil its neighbours."""
    mixed = np.concatenate([blank[:1], pixels[:1]])
    _, probabilities = open_model(faults / "nan.onnx").run(None, {"pixels": mixed})
    assert [False, True] == np.isnan(probabilities).any(axis=1).tolist()
    np.testing.assert_allclose(probabilities[0], right(mixed)[1][0], rtol=0, atol=1e-6)


def test_wrong_shape_answers_one_probability_too_few(faults, open_model, pixels):
    """The runtime hands over what the model did not declare, so somebody else has to look."""
    session = open_model(faults / "wrong-shape.onnx")
    _, probabilities = session.run(None, {"pixels": pixels})
    assert (["rows", 10], (400, 9)) == (session.get_outputs()[1].shape, probabilities.shape)


def test_slow_loops_as_often_as_the_readme_says(faults):
    """Slow by work that is done, not by a clock that is asked."""
    model = onnx.load(faults / "slow.onnx")
    (passes,) = (onnx.numpy_helper.to_array(one) for one in model.graph.initializer if one.name == "enough")
    assert passes == 100_000
    assert "loops 100,000 times" in (faults / "README.md").read_text()


@pytest.mark.parametrize("name", ["hangs", "hangs-always"])
def test_hangs_ends_only_when_it_is_told_to(name, faults, pixels):
    """A real row never gets an answer, but a deadline can stop the run."""
    assert "Exiting due to terminate flag" in ask(faults / f"{name}.onnx", pixels[:1])


def test_hangs_always_hangs_on_a_blank_image_too(faults, blank):
    """A warm-up finds it out, if it has a limit."""
    assert "Exiting due to terminate flag" in ask(faults / "hangs-always.onnx", blank)


def test_hangs_sometimes_hangs_when_a_row_is_marked(faults, marked):
    """Whoever sends the request chooses whether it ends."""
    assert "Exiting due to terminate flag" in ask(faults / "hangs-sometimes.onnx", marked)


def test_hangs_sometimes_answers_the_same_rows_unmarked(faults, pixels):
    """It is the mark that does it."""
    assert ask(faults / "hangs-sometimes.onnx", pixels[:2]) == "answered"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors divide the lowest integer by -1")
def test_kills_ends_the_process_when_a_row_is_marked(faults, marked):
    """Nothing is raised that anybody could catch."""
    with pytest.raises(subprocess.CalledProcessError) as ended:
        ask(faults / "kills.onnx", marked)
    assert -signal.SIGFPE == ended.value.returncode
