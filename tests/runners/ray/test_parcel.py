"""A model's files on their way: what is sent is what is opened, once per node, or nothing is."""

import os

import msgspec
import numpy as np
import onnx
import pytest

from runners.core.errors import LoadRefused
from runners.core.runner import Hosting, ModelRef
from runners.embedded import Embedded
from runners.ray.parcel import KEPT_S, Parcel, chunks, pack, unpack
from runners.ray.wanted import path_of, plain

SUM = """
<ir_version: 9, opset_import: ["" : 17]>
g (float[n, 2] x) => (float[n, 2] y) { y = Add (x, x) }
"""


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "m.onnx").write_bytes(onnx.parser.parse_model(SUM).SerializeToString())
    (folder / "golden.json").write_text("[]")
    return ModelRef("file:m.onnx", folder, version="7", hosting=Hosting(key="turnout-1"))


def fetching(places, asked=None):
    def fetch(file):
        if asked is not None:
            asked.append(file.name)
        return chunks(places[file.name])

    return fetch


async def test_what_was_packed_is_opened_elsewhere(model, tmp_path):
    """The digest that a replica tells is the file's own, and the version is the one that was written."""
    parcel, places = pack(model)
    there = unpack(parcel, fetching(places), tmp_path / "cache")
    opened = await Embedded().open(there)
    here = await Embedded().open(model)
    assert (opened.description.digest, opened.description.version) == (here.description.digest, "7")
    await opened.close()
    await here.close()


def test_a_node_fetches_a_model_once(model, tmp_path):
    """Ten replicas of one node are one transfer."""
    parcel, places = pack(model)
    asked = []
    for _ in range(3):
        unpack(parcel, fetching(places, asked), tmp_path / "cache")
    assert asked == ["model.onnx"]


def test_the_way_a_parcel_is_told_changes_nothing(model):
    """It travels as bytes, paths and all."""
    parcel, _ = pack(model)
    packed = msgspec.msgpack.encode(parcel, enc_hook=plain)
    assert msgspec.msgpack.decode(packed, type=Parcel, dec_hook=path_of) == parcel


def test_golden_requests_and_weights_beside_the_model_travel_too(model, tmp_path):
    weight = onnx.numpy_helper.from_array(np.ones(1024, "f4"), "w")
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1024]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    (model.root / "weights").mkdir()
    whole = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(
        whole, model.root / "m.onnx", save_as_external_data=True, location="weights/w.bin", size_threshold=0
    )
    parcel, places = pack(msgspec.structs.replace(model, golden=model.root / "golden.json"))
    there = unpack(parcel, fetching(places), tmp_path / "cache")
    assert (there.root / "weights/w.bin").read_bytes() == (model.root / "weights/w.bin").read_bytes()
    assert (there.root / there.golden).read_text() == "[]"


def test_a_file_that_arrives_damaged_is_no_model(model, tmp_path):
    """And nobody finds half a model in the cache afterwards."""
    parcel, _ = pack(model)
    with pytest.raises(LoadRefused, match="did not arrive"):
        unpack(parcel, lambda _file: iter([b"something else"]), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_content_under_the_same_name_is_another_parcel(model):
    before, _ = pack(model)
    (model.root / "m.onnx").write_bytes(onnx.parser.parse_model(SUM.replace("Add", "Mul")).SerializeToString())
    after, _ = pack(model)
    assert before.digest != after.digest


def test_models_that_nobody_opened_for_a_week_leave_the_cache(model, tmp_path):
    old = tmp_path / "cache" / "old"
    old.mkdir(parents=True)
    long_ago = old.stat().st_mtime - KEPT_S - 60
    os.utime(old, (long_ago, long_ago))
    parcel, places = pack(model)
    there = unpack(parcel, fetching(places), tmp_path / "cache")
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [there.root.name]


def test_a_model_that_is_not_here_is_refused(tmp_path):
    with pytest.raises(LoadRefused):
        pack(ModelRef("file:none.onnx", tmp_path))
