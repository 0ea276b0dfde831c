"""The committed models of digits are what examples/digits/README.md says they are."""

import json
import re

import numpy as np
import onnx
import pytest

NETWORKS = ("linear", "mlp")
NUMPY = {"FP32": np.float32, "INT64": np.int64}


def array_of(tensor):
    return np.array(tensor["data"], NUMPY[tensor["datatype"]]).reshape(tensor["shape"])


def right_n(session, pixels, labels):
    (answered,) = session.run(["label"], {"pixels": pixels})
    return int(np.sum(answered == labels))


@pytest.fixture
def prior(root):
    return json.loads((root / "configs/models/digits-prior.json").read_text())


@pytest.mark.parametrize("arm", NETWORKS)
def test_a_network_answers_its_golden_request(arm, root, open_model):
    """What the arm must get right before it is ready, it gets right."""
    (golden,) = json.loads((root / f"configs/models/digits-golden-{arm}.json").read_text())
    names = [tensor["name"] for tensor in golden["outputs"]]
    feeds = {tensor["name"]: array_of(tensor) for tensor in golden["inputs"]}
    answers = open_model(f"configs/models/digits-{arm}.onnx").run(names, feeds)
    for answer, expected in zip(answers, map(array_of, golden["outputs"]), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=0, atol=golden["tolerance"], strict=True)


@pytest.mark.parametrize("arm", NETWORKS)
def test_a_golden_request_tells_the_networks_apart(arm, root, open_model):
    """A file swapped for the other one does not get through the warm-up."""
    (golden,) = json.loads((root / f"configs/models/digits-golden-{arm}.json").read_text())
    (other,) = set(NETWORKS) - {arm}
    (answer,) = open_model(f"configs/models/digits-{other}.onnx").run(
        ["probabilities"], {"pixels": array_of(golden["inputs"][0])}
    )
    assert np.abs(answer - array_of(golden["outputs"][1])).max() > 10 * golden["tolerance"]


def test_golden_requests_are_held_out_rows(root, pixels):
    """No golden answer rests on an image that the network was trained on."""
    for arm in NETWORKS:
        (golden,) = json.loads((root / f"configs/models/digits-golden-{arm}.json").read_text())
        assert array_of(golden["inputs"][0]).tolist() == pixels[:3].tolist()


def test_held_out_rows_are_images_of_every_digit(rows, pixels, labels):
    """What the demo sends is real: 400 images of 64 pixels from 0 to 16, about as many of each digit."""
    assert (400, 64) == pixels.shape
    assert {int} == {type(pixel) for row in rows for pixel in row["pixels"]}
    assert (0, 16) == (pixels.min(), pixels.max())
    assert {39, 40, 41} >= set(np.bincount(labels, minlength=10).tolist())


def test_held_out_rows_are_all_different(pixels):
    """Nobody counts a row twice."""
    assert len(np.unique(pixels, axis=0)) == len(pixels)


def test_accuracies_are_those_of_the_readme(root, open_model, prior, pixels, labels):
    """The table of the README holds on the rows that lie beside it."""
    table = re.findall(
        r"^\| `([\w-]+)` \|.* (\d+) of 400,", (root / "examples/digits/README.md").read_text(), re.MULTILINE
    )
    measured = {
        f"digits-{arm}": right_n(open_model(f"configs/models/digits-{arm}.onnx"), pixels, labels) for arm in NETWORKS
    } | {"prior": int(np.sum(labels == prior["outputs"][0]["data"][0]))}
    assert measured == {arm: int(right) for arm, right in table}


def test_sizes_are_those_of_the_readme(root):
    """A reader may judge by the table how much is committed."""
    table = re.findall(r"\| `(configs/[^`]+)` \| ([\d,]+) bytes", (root / "examples/digits/README.md").read_text())
    assert len(table) == 3
    assert {path: (root / path).stat().st_size for path, _ in table} == {
        path: int(size.replace(",", "")) for path, size in table
    }


def test_the_candidate_is_clearly_better(open_model, pixels, labels):
    """The story of the demo is true: the candidate makes at most half the mistakes of the baseline."""
    linear, mlp = (400 - right_n(open_model(f"configs/models/digits-{arm}.onnx"), pixels, labels) for arm in NETWORKS)
    assert 0 < 2 * mlp <= linear


@pytest.mark.parametrize("arm", NETWORKS)
def test_a_network_answers_rows_together_as_apart(arm, open_model, pixels):
    """Whether rows travel in one request or in several makes no difference."""
    session = open_model(f"configs/models/digits-{arm}.onnx")
    together = session.run(["probabilities"], {"pixels": pixels[:8]})[0]
    apart = [session.run(["probabilities"], {"pixels": pixels[row : row + 1]})[0] for row in range(8)]
    np.testing.assert_allclose(np.concatenate(apart), together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("arm", NETWORKS)
def test_a_network_is_plain_onnx(arm, root):
    """Any runtime of the last years can serve it: standard operators, an old opset, no doc strings."""
    model = onnx.load(root / f"configs/models/digits-{arm}.onnx")
    assert [("", 17)] == [(opset.domain, opset.version) for opset in model.opset_import]
    assert model.ir_version == 8
    assert {"Gemm", "Relu", "Softmax", "ArgMax"} >= {node.op_type for node in model.graph.node}
    assert model.doc_string == model.graph.doc_string == ""


def test_all_arms_have_one_signature(open_model, prior):
    """An arm can answer for another: the same names, datatypes and shapes, in the same order."""
    linear, mlp = (
        [(end.name, end.type, end.shape) for end in (*session.get_inputs(), *session.get_outputs())]
        for session in (open_model(f"configs/models/digits-{arm}.onnx") for arm in NETWORKS)
    )
    onnx_types = {"FP32": "tensor(float)", "INT64": "tensor(int64)"}
    constant = [
        (spec["name"], onnx_types[spec["datatype"]], ["rows" if size == -1 else size for size in spec["shape"]])
        for spec in prior["inputs"] + prior["outputs"]
    ]
    assert linear == mlp == constant


def test_the_prior_names_its_likeliest_digit(prior):
    """The dumb model is dumb but consistent: its probabilities sum to one and its label is their peak."""
    label, probabilities = (array["data"] for array in prior["outputs"])
    assert pytest.approx(1, abs=1e-5) == sum(probabilities)
    assert label == [int(np.argmax(probabilities))]
