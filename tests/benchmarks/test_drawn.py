"""What is drawn is what it is said to be, and the operator finds out where it is not."""

import json
from random import Random
from time import time

import numpy as np
import onnx
import pytest

from benchmarks.drawn import BAD_EVERY, BALLAST, Operator, draw_bad, draw_good, laden, path_of, write_config
from benchmarks.load import LoadFailed
from benchmarks.models import build_model, draw_input, run_once
from gateway.config.directory import load_directory, load_documents
from gateway.config.problems import ConfigRefused


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "config"
    return folder, write_config(folder)


def test_the_first_configuration_can_be_served(config):
    folder, documents = config
    assert 3 == len(load_directory(folder).routes) == len(documents)
    assert 1 << 20 > max(file.stat().st_size for file in folder.glob("m*.onnx")) > 4 * max(BALLAST)


@pytest.mark.parametrize("seed", range(40))
def test_good_documents_are_good(config, seed):
    folder, _ = config
    document = draw_good(Random(seed), "alpha")
    loaded = load_documents(folder, {path_of("alpha"): json.dumps(document)})
    assert set(document["arms"]) == set(loaded.routes[0].arms)


@pytest.mark.parametrize("seed", range(40))
def test_bad_documents_are_bad(config, seed):
    """What only the opening of a model can tell is a file that is damaged or missing."""
    folder, _ = config
    fault, document = draw_bad(Random(seed), "alpha")
    documents = {path_of("alpha"): json.dumps(document)}
    if fault in ("damaged", "missing"):
        (wrong,) = [arm for name, arm in document["arms"].items() if name == "wrong"]
        file = folder / wrong["model"].removeprefix("file:")
        assert not file.exists() or file.read_bytes() == (folder / "m0.onnx").read_bytes()[:-9]
    else:
        with pytest.raises(ConfigRefused):
            load_documents(folder, documents)


def test_what_a_model_carries_along_changes_no_answer(tmp_path):
    x = draw_input("tiny")
    for name, model in (("bare", build_model("tiny", 7)), ("laden", laden("tiny", 7, 1000))):
        onnx.save(model, tmp_path / f"{name}.onnx")
    assert np.array_equal(run_once(tmp_path / "bare.onnx", x), run_once(tmp_path / "laden.onnx", x))


class Admin(Operator):
    """An operator whose gateway answers as told."""

    def __init__(self, documents, status):
        super().__init__(0, documents)
        self.status = status
        self.asked = []

    def _ask(self, path, body):
        self.asked.append(body)
        return self.status(self.made_n), ""


def test_every_fifth_change_is_to_be_refused(config):
    _, documents = config
    admin = Admin(documents, lambda number: 422 if number % BAD_EVERY == 0 else 200)
    for _ in range(20):
        admin.change()
    assert (20, 4) == (admin.made_n, admin.refused.total())
    refused = admin.asked[BAD_EVERY - 1]["documents"]
    assert refused not in [asked["documents"] for asked in admin.asked[BAD_EVERY:]]


@pytest.mark.parametrize("status", [200, 422, 500])
def test_a_gateway_that_takes_all_or_nothing_is_found_out(config, status):
    _, documents = config
    admin = Admin(documents, lambda _: status)
    with pytest.raises(LoadFailed, match=f"status {status}"):
        admin.work(1e6, time() + 60)
    assert BAD_EVERY >= admin.made_n
