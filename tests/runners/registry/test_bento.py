"""Models in BentoML's store: kept apart by version, and held to the digest noted at import."""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from runners.core.errors import LoadRefused
from runners.core.runner import ModelRef
from runners.core.tensor import TensorSpec
from runners.embedded import Embedded
from runners.registry import bento

# BentoML's dependencies, not ours
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@pytest.fixture(autouse=True)
def store(tmp_path):
    """An empty store of this test's own."""
    pytest.importorskip("bentoml")
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml._internal.models.model import ModelStore

    BentoMLContainer.model_store.set(ModelStore(tmp_path))
    yield
    BentoMLContainer.model_store.reset()


def test_what_was_imported_is_found(model_file):
    """Import, and name it in a route."""
    path = model_file("two")
    stored = bento.import_file(path, "fraud", "7")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert ("bento:fraud:7", digest, path.stat().st_size, 17, 9) == (
        stored.reference,
        stored.digest,
        stored.size_bytes,
        stored.opset,
        stored.ir_version,
    )
    assert (TensorSpec("a", "FP32", (-1, 2)), TensorSpec("b", "INT64", (-1,))) == stored.signature.inputs
    found = bento.find("fraud:7")
    assert ("7", digest, path.read_bytes()) == (found.version, found.digest, found.path.read_bytes())


def test_the_version_is_by_default_the_digest(model_file):
    """What is the same has the same name."""
    assert (stored := bento.import_file(model_file("sum"), "fraud")).digest[:12] == stored.version


def test_a_version_is_never_rewritten(model_file):
    """An arm means the same model for ever."""
    bento.import_file(model_file("sum"), "fraud", "7")
    with pytest.raises(LoadRefused, match="already exists"):
        bento.import_file(model_file("two"), "fraud", "7")


def test_names_are_lowercased_without_a_word_on_stdout(model_file, capfd):
    """A document may spell them as it likes, and `-o json` stays JSON."""
    assert "bento:fraud:v7" == bento.import_file(model_file("sum"), "Fraud", "V7").reference
    assert ("v7", "v7") == (bento.find("FRAUD:V7").version, bento.find("fraud:v7").version)
    assert "" == capfd.readouterr().out


def test_the_list_is_by_name_and_age(model_file):
    """Whoever looks sees all of it."""
    for name, version in (("b", "2"), ("a", "10"), ("a", "1")):
        bento.import_file(model_file("sum"), name, version)
    assert ["bento:a:10", "bento:a:1", "bento:b:2"] == [model.reference for model in bento.list_models()]


@pytest.mark.parametrize("tag", ["fraud", "fraud:latest"])
def test_a_reference_without_a_version_is_refused(tag):
    """What it means would change under the same revision."""
    with pytest.raises(LoadRefused, match="does not name a version"):
        bento.find(tag)


@pytest.mark.parametrize("tag", ["../x:1", "fraud:", ":1", "fraud:../1", "a b:1", "x" * 64 + ":1", "fraud:1:2"])
def test_a_reference_that_is_none_is_refused(tag):
    """A name in the store is a name and no path."""
    with pytest.raises(LoadRefused, match="is not one BentoML takes"):
        bento.find(tag)


def test_a_model_that_is_not_in_the_store_is_told():
    """An operator reads where to look."""
    with pytest.raises(LoadRefused, match="bento:fraud:7: is not in the store; turnout models list shows what is"):
        bento.find("fraud:7")


def test_a_model_that_somebody_else_stored_is_refused():
    """There is no digest to hold it to."""
    import bentoml.models

    with bentoml.models.create("fraud:7") as made:
        Path(made.path_of("model.onnx")).write_bytes(b"x")
    with pytest.raises(LoadRefused, match="was not imported by turnout"):
        bento.find("fraud:7")
    assert ["bento:fraud:7"] == [model.reference for model in bento.list_models()]


async def test_a_stored_model_that_was_changed_is_refused(model_file):
    """The store does not notice; the load does."""
    bento.import_file(model_file("sum"), "fraud", "7")
    bento.find("fraud:7").path.write_bytes(model_file("ridged").read_bytes())
    with pytest.raises(LoadRefused, match=r"model.onnx: has SHA-256 .*, the registry says"):
        await Embedded().open(ModelRef("bento:fraud:7", Path()))


async def test_a_stored_model_is_served(model_file, ask, soon):
    """`bento:` in a route is a model like any other."""
    bento.import_file(model_file("sum"), "fraud", "7")
    endpoint = await Embedded().open(ModelRef("bento:fraud:7", Path()))
    answer = await endpoint.infer(ask(x=np.ones((1, 4), "<f4")), deadline_at=soon())
    await endpoint.close()
    assert ("7", [[4]]) == (endpoint.description.version, answer.outputs[0].array.tolist())


async def test_weights_beside_a_model_are_imported_with_it(tmp_path, ask, soon):
    """A large model comes whole."""
    text = '<ir_version: 9, opset_import: ["": 17]> m (float[N,2] x) => (float[N,2] y) { y = Mul(x, w) }'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.full(2, 3, "<f4"), "w"))
    (tmp_path / "in").mkdir()
    onnx.save_model(model, tmp_path / "in" / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    stored = bento.import_file(tmp_path / "in" / "m.onnx", "large", "1")
    (tmp_path / "in" / "w.bin").unlink()
    endpoint = await Embedded().open(ModelRef("bento:large:1", Path()))
    answer = await endpoint.infer(ask(x=np.ones((1, 2), "<f4")), deadline_at=soon())
    await endpoint.close()
    assert ([[3, 3]], stored.digest) == (answer.outputs[0].array.tolist(), endpoint.description.digest)


def test_what_could_not_be_served_is_not_imported(tmp_path):
    """A mistake is found out before it has a version."""
    (tmp_path / "m.onnx").write_bytes(b"<html>")
    with pytest.raises(LoadRefused, match="an HTML page"):
        bento.import_file(tmp_path / "m.onnx", "fraud", "7")
    assert () == bento.list_models()


def test_without_bentoml_the_cure_is_told(monkeypatch):
    """An operator reads the one command that helps."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "bentoml"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bentoml", None)
    with pytest.raises(LoadRefused, match=r"BentoML is not installed; pip install 'turnout\[bento\]'"):
        bento.find("fraud:7")


def test_bentoml_is_told_not_to_report_home(model_file):
    """Before it is imported."""
    bento.list_models()
    assert "True" == os.environ["BENTOML_DO_NOT_TRACK"]
