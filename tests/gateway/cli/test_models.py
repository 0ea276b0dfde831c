"""`turnout models`: the store, and what a model turns out to be."""

import json

import onnx
import onnx.parser
import pytest
from typer.testing import CliRunner

from gateway.cli.models import app

# BentoML's dependencies, not ours
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
TEXT = '<ir_version: 9, opset_import: ["": 17]> m (float[N,4] x) => (float[N,4] y) { y = Abs(x) }'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a model in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.onnx").write_bytes(onnx.parser.parse_model(TEXT).SerializeToString())
    (tmp_path / "c.json").write_text(
        json.dumps({"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1], "data": [0.5]}]})
    )
    return tmp_path


@pytest.fixture
def store(tmp_path):
    """An empty store of this test's own."""
    pytest.importorskip("bentoml")
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models.model import ModelStore

    (tmp_path / "store").mkdir()
    BentoMLContainer.model_store.set(ModelStore(tmp_path / "store"))
    yield
    BentoMLContainer.model_store.reset()


def turnout_models(*arguments):
    return CliRunner().invoke(app, arguments)


def as_json(*arguments):
    outcome = turnout_models(*arguments, "-o", "json")
    assert 0 == outcome.exit_code, outcome.stderr
    return json.loads(outcome.stdout)


def test_a_model_is_imported_listed_and_inspected(folder, store):
    """From a file to a reference in a route."""
    stored = as_json("import", "a.onnx", "--name", "Fraud", "--version", "7")
    assert ("bento:fraud:7", 17) == (stored["reference"], stored["opset"])
    assert ["bento:fraud:7"] == [model["reference"] for model in as_json("list")]
    found = as_json("inspect", "bento:fraud:7")
    assert (stored["sha256"], "7", "cpu") == (found["sha256"], found["version"], found["provider"])
    assert [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}] == found["inputs"] == stored["inputs"]


def test_the_tables_say_what_the_json_says(folder, store):
    """A person reads the same as a script."""
    outcome = turnout_models("import", "a.onnx", "--name", "fraud", "--version", "7")
    assert "imported bento:fraud:7  sha256 " in outcome.stdout
    assert "bento:fraud:7" in turnout_models("list").stdout
    shown = turnout_models("inspect", "bento:fraud:7").stdout
    assert all(word in shown for word in ("x  FP32  [-1, 4]", "ai.onnx 17", "provider", "warm_up_ms", "run"))


def test_a_file_is_inspected_without_any_store(folder):
    """Before it is imported, or where nothing ever is."""
    found = as_json("inspect", "file:a.onnx")
    assert {"ai.onnx": 17} == found["opset"]
    assert (True, True) == (found["run"].startswith(("on the event loop", "in a thread")), found["warm_up_ms"] > 0)


def test_how_rows_are_run_is_told_and_what_it_is_based_on(folder):
    """An operator need not guess why a model is batched or not."""
    found = as_json("inspect", "file:a.onnx")
    # Whether rows gain is measured, on a machine that may be busy.
    told = "up to 64 rows of calls that come" if found["batched"] else "every call by itself: rows gain nothing"
    assert found["batching"].startswith(told)
    assert found["rows_ms"]["1"] > 0
    fixed = TEXT.replace("float[N,4]", "float[1,4]")
    (folder / "fixed.onnx").write_bytes(onnx.parser.parse_model(fixed).SerializeToString())
    found = as_json("inspect", "file:fixed.onnx")
    assert (False, {}) == (found["batched"], found["rows_ms"])
    assert "every call by itself: dimension 0 of x, y is fixed" == found["batching"]
    assert "by itself: dimension 0" in turnout_models("inspect", "file:fixed.onnx").stdout


def test_a_constant_is_inspected_too(folder):
    """It is a model like any other."""
    found = as_json("inspect", "constant:c.json")
    assert ("turnout_constant", "on the event loop") == (found["platform"], found["run"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inspect", "file:none.onnx"], "no such file"),
        (["inspect", "none"], "begin it with one of file:, constant:, bento:"),
        (["inspect", "file:a.onnx", "--provider", "gpu"], "write one of cpu, cuda, tensorrt, openvino"),
        (["inspect", "file:c.json"], "is JSON text"),
        (["import", "c.json", "--name", "x"], "is JSON text"),
        (["import", "a.onnx", "--name", "a b"], "is not one BentoML takes"),
        (["inspect", "bento:none:1"], "is not in the store"),
    ],
)
def test_what_cannot_be_done_is_one_line_on_stderr(folder, store, arguments, told):
    """And exit code 2, for scripts."""
    outcome = turnout_models(*arguments)
    assert (2, "", 1) == (outcome.exit_code, outcome.stdout, len(outcome.stderr.splitlines()))
    assert (True, True) == (outcome.stderr.startswith("turnout: "), told in outcome.stderr)
