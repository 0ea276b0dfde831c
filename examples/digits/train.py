"""Train the models of handwritten digits that the demo, the tests and the documentation serve.

    python train.py            train, and write the models, their golden requests and the held-out rows
    python train.py --check    train again, write nothing, exit non-zero unless the files in place agree

README.md beside this file says what comes out and how good it is.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper
from scipy.ndimage import affine_transform
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).resolve().parent
MODELS = HERE.parents[1] / "configs" / "models"
ARMS = ("linear", "mlp")

BLACK = 16  # the darkest pixel; training sees pixels as shares of it, the finished networks as they are
HELD_OUT_N = 400
GOLDEN_N = 3
TOLERANCE = 1e-4  # a hundred times what float32 loses here
DRIFT = 0.01  # how far other library versions may move an accuracy before --check objects: 4 rows of 400

Layers = list[
    tuple[NDArray[np.float32], NDArray[np.float32]]
]  # of each layer the weights (in, out) and the bias (out,)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the digits models.")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the files in place")
    check = parser.parse_args().check
    files = build_files()
    for arm in ARMS:
        print(f"digits-{arm}: {len(files[onnx_of(arm)])} bytes, accuracy {accuracy(files, arm):.4f} on held-out rows")
    if check:
        sys.exit("\n".join(differences(files)) or 0)
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def build_files() -> dict[Path, bytes]:
    """Train all arms and return every file that this example owns, with its content."""
    digits = load_digits()
    train_x, held_x, train_y, held_y = train_test_split(
        digits.data, digits.target, test_size=HELD_OUT_N, random_state=0, stratify=digits.target
    )
    files = {MODELS / "digits-prior.json": prior(train_y), HERE / "rows.json": held_out_rows(held_x, held_y)}
    for arm, layers in zip(ARMS, (train_linear(train_x, train_y), train_mlp(train_x, train_y)), strict=True):
        files[onnx_of(arm)] = network(f"digits-{arm}", layers)
        files[MODELS / f"digits-golden-{arm}.json"] = golden(held_x[:GOLDEN_N], layers)
    return files


def differences(files: Mapping[Path, bytes]) -> Iterable[str]:
    """What the files in place do not share with `files`, a line each.

    Other versions of the libraries may round differently, so then only accuracies are compared.
    """
    pinned = [line.split("==") for line in (HERE / "requirements.txt").read_text().splitlines() if "==" in line]
    others = [f"{name} {version(name)}" for name, wanted in pinned if version(name) != wanted]
    if others:
        print(f"not the pinned versions ({', '.join(others)}): comparing accuracies, not bytes")
        in_place = {path: path.read_bytes() for path in files}
        for arm in ARMS:
            was, now = accuracy(in_place, arm), accuracy(files, arm)
            if abs(was - now) > DRIFT:
                yield f"digits-{arm}: accuracy {was:.4f} in place, {now:.4f} trained again"
    else:
        yield from (f"{path}: other bytes" for path in files if path.read_bytes() != files[path])


def onnx_of(arm: str) -> Path:
    return MODELS / f"digits-{arm}.onnx"


def accuracy(files: Mapping[Path, bytes], arm: str) -> float:
    """Share of the held-out rows whose label the finished model gets right."""
    rows = json.loads(files[HERE / "rows.json"])
    pixels = np.array([row["pixels"] for row in rows], np.float32)
    session = onnxruntime.InferenceSession(files[onnx_of(arm)], providers=["CPUExecutionProvider"])
    (label,) = session.run(["label"], {"pixels": pixels})
    return float(np.mean(label == [row["label"] for row in rows]))


def train_linear(x: NDArray, y: NDArray) -> Layers:
    """The baseline. Newton steps reach the one optimum to machine precision, hence the same bytes on any processor."""
    model = LogisticRegression(solver="newton-cholesky", tol=1e-10).fit(x / BLACK, y)
    return layers_of([model.coef_.T], [model.intercept_])


def train_mlp(x: NDArray, y: NDArray) -> Layers:
    """The candidate. Width and warps were chosen by 4-fold cross-validation within the training rows."""
    warped_x, warped_y = warp(x, y, copies_n=16)
    model = MLPClassifier((128,), batch_size=128, random_state=0, warm_start=True, n_iter_no_change=1000)
    for learning_rate, epochs_n in ((2e-3, 30), (2e-4, 10)):  # the second, finer phase settles the weights
        model.set_params(learning_rate_init=learning_rate, max_iter=epochs_n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # stopping before convergence is the point
            model.fit(warped_x / BLACK, warped_y)
    return layers_of(model.coefs_, model.intercepts_)


def warp(x: NDArray, y: NDArray, *, copies_n: int) -> tuple[NDArray, NDArray]:
    """The rows of `x` (n, 64), followed by `copies_n` copies, each digit a little turned, scaled, slanted and moved."""
    rng = np.random.default_rng(0)
    centre = np.array([3.5, 3.5])
    copies = [x]
    for _ in range(copies_n):
        copy = np.empty_like(x)
        for row, pixels in enumerate(x):
            matrix = np.eye(2) + rng.uniform(-0.25, 0.25, (2, 2))
            offset = centre - matrix @ centre + rng.uniform(-0.7, 0.7, 2)
            copy[row] = affine_transform(pixels.reshape(8, 8), matrix, offset=offset, order=1).ravel()
        copies.append(copy)
    return np.concatenate(copies), np.tile(y, copies_n + 1)


def layers_of(weights: Iterable[NDArray], biases: Iterable[NDArray]) -> Layers:
    """Layers as they are served: float32, and with the scale of the pixels taken into the first weights."""
    scales = (BLACK, 1)
    return [
        ((weight / scale).astype(np.float32), bias.astype(np.float32))
        for weight, bias, scale in zip(weights, biases, scales, strict=False)
    ]


def network(name: str, layers: Layers) -> bytes:
    """The layers as an ONNX file of the plainest operators, so that any runtime can serve it."""
    nodes: list[NodeProto] = []
    initializers: list[TensorProto] = []
    last = "pixels"
    for place, (weight, bias) in enumerate(layers, start=1):
        if place > 1:
            nodes.append(helper.make_node("Relu", [last], [f"hidden{place - 1}"]))
            last = f"hidden{place - 1}"
        names = [f"weight{place}", f"bias{place}"]
        initializers += [numpy_helper.from_array(array, n) for array, n in zip((weight, bias), names, strict=True)]
        nodes.append(helper.make_node("Gemm", [last, *names], [f"sum{place}"]))
        last = f"sum{place}"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=1))
    nodes.append(helper.make_node("ArgMax", [last], ["label"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 10]),
        ],
        initializers,
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, producer_name="examples/digits", ir_version=8, opset_imports=opsets)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def golden(x: NDArray, layers: Layers) -> bytes:
    """One request and the answer it must get, computed without ONNX and in double precision."""
    activation = x
    for place, (weight, bias) in enumerate(layers):
        activation = (np.maximum(activation, 0) if place else activation) @ weight.astype(np.float64) + bias
    exponentials = np.exp(activation - activation.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    request = {
        "inputs": [tensor("pixels", "FP32", list(x.shape), x.astype(int))],
        "outputs": [
            tensor("label", "INT64", [len(x)], probabilities.argmax(axis=1)),
            tensor("probabilities", "FP32", list(probabilities.shape), probabilities.round(7)),
        ],
        "tolerance": TOLERANCE,
    }
    return lines_of([request]) + b"\n"


def prior(y: NDArray) -> bytes:
    """The dumb model: looks at nothing, says the commonest digit and how common each digit is in the training rows."""
    shares = np.bincount(y) / len(y)
    inputs = [{"name": "pixels", "datatype": "FP32", "shape": [-1, 64]}]  # -1: the one row answers for each row asked
    outputs = [
        tensor("label", "INT64", [-1], shares.argmax(keepdims=True)),
        tensor("probabilities", "FP32", [-1, len(shares)], shares.round(7)),
    ]
    return b'{"inputs": ' + lines_of(inputs) + b', "outputs": ' + lines_of(outputs) + b"}\n"


def tensor(name: str, datatype: str, shape: list[int], array: NDArray) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": array.ravel().tolist()}


def held_out_rows(x: NDArray, y: NDArray) -> bytes:
    entries = zip(y.tolist(), x.astype(int).tolist(), strict=True)
    return lines_of([{"label": label, "pixels": pixels} for label, pixels in entries]) + b"\n"


def lines_of(entries: list[dict[str, object]]) -> bytes:
    """A JSON list with an entry a line: small, and a reader can still find a row."""
    return ("[\n" + ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries) + "\n]").encode()


if __name__ == "__main__":
    main()
