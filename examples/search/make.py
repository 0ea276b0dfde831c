"""Make the two rankers that the demo and the tests interleave: which digits of a catalogue look like the one shown?

    python make.py            write both ONNX files and the catalogue's labels
    python make.py --check    write nothing; exit non-zero unless the files in place are these

Nothing is trained here: one ranker compares how much ink lies in each row and column, the other what the linear model
of examples/digits thinks of each image. README.md says how good they are.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, checker, helper, numpy_helper

HERE = Path(__file__).resolve().parent
ROWS = HERE.parent / "digits" / "rows.json"
LINEAR = HERE.parents[1] / "configs" / "models" / "digits-linear.onnx"
CATALOGUE_N = 200  # the first held-out rows; the others are what is searched with
PLACES = 10
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the rankers.")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the files in place")
    check = parser.parse_args().check
    files = build_files()
    if check:
        sys.exit("\n".join(f"{path}: other bytes" for path in files if path.read_bytes() != files[path]) or 0)
    for path, content in files.items():
        path.write_bytes(content)


def build_files() -> dict[Path, bytes]:
    """Every file that this example owns, with its content."""
    rows = json.loads(ROWS.read_text())
    catalogue = np.array([row["pixels"] for row in rows[:CATALOGUE_N]], np.float64)
    labels = [row["label"] for row in rows[:CATALOGUE_N]]
    return {
        HERE / "profile.onnx": ranker("search-profile", profile_weight(), np.zeros(16), catalogue),
        HERE / "learned.onnx": ranker("search-learned", *learned_weight(), catalogue),
        HERE / "labels.json": (json.dumps(labels) + "\n").encode(),
    }


def profile_weight() -> Floats:
    """(64, 16): the ink of each of the 8 rows and 8 columns."""
    places = np.arange(64)
    rows = np.equal.outer(places // 8, np.arange(8))
    columns = np.equal.outer(places % 8, np.arange(8))
    return np.concatenate([rows, columns], axis=1).astype(np.float64)


def learned_weight() -> tuple[Floats, Floats]:
    """(64, 10) and (10,): the log-odds of each digit, as the linear model has them."""
    arrays = {each.name: numpy_helper.to_array(each) for each in onnx.load(LINEAR).graph.initializer}
    return arrays["weight1"].astype(np.float64), arrays["bias1"].astype(np.float64)


def ranker(name: str, weight: Floats, bias: Floats, catalogue: Floats) -> bytes:
    """An ONNX file that gives the catalogue's nearest by cosine, the nearest first."""
    described = catalogue @ weight + bias
    described /= np.linalg.norm(described, axis=1, keepdims=True)
    arrays = {
        "weight": weight.astype(np.float32),
        "bias": bias.astype(np.float32),
        "catalogue": described.T.astype(np.float32).copy(),
        "places": np.array([PLACES], np.int64),
    }
    nodes = [
        _node("Gemm", ["pixels", "weight", "bias"], ["described"]),
        _node("ReduceL2", ["described"], ["length"], axes=[1], keepdims=1),
        _node("Div", ["described", "length"], ["direction"]),
        _node("MatMul", ["direction", "catalogue"], ["cosines"]),
        _node("TopK", ["cosines", "places"], ["similarity", "ids"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["rows", 64])],
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["rows", PLACES]),
            helper.make_tensor_value_info("similarity", TensorProto.FLOAT, ["rows", PLACES]),
        ],
        [numpy_helper.from_array(array, each) for each, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, producer_name="examples/search", ir_version=8, opset_imports=opsets)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: object) -> NodeProto:
    return helper.make_node(kind, inputs, outputs, **attributes)


if __name__ == "__main__":
    main()
