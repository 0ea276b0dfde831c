"""The models that are asked and what they are asked, made once from fixed seeds and kept in `.turnout/bench`.

Every model takes x of FP32 and gives probs; `rows` is symbolic, a request has one row.

    tiny    x[rows, 4]         4 -> 16 -> 3         a few microseconds: what is measured is everything around it
    medium  x[rows, 64]        64 -> 4 x 2304 -> 10   64 MB of weights, so memory is what it waits for
    conv    x[rows, 1, 16, 16] three convolutions     a few hundred kilobytes, so arithmetic is what it waits for

Each comes as two arms of one shape and different weights, so that an answer tells which arm gave it.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from runners.oip.messages import ModelInferRequest

CACHE = Path(__file__).parents[1] / ".turnout" / "bench"
ARMS = {"old": 7, "new": 8}  # arm -> seed of its weights; the first is the baseline
OPSET, IR_VERSION = 17, 8

Layer = tuple[str, int, int]  # kind (dense, conv, pool), values or channels in, and out
SHAPES: dict[str, tuple[tuple[int, ...], tuple[Layer, ...]]] = {
    "tiny": ((4,), (("dense", 4, 16), ("dense", 16, 3))),
    "medium": ((64,), (("dense", 64, 2304), *[("dense", 2304, 2304)] * 3, ("dense", 2304, 10))),
    "conv": ((1, 16, 16), (("conv", 1, 64), ("conv", 64, 192), ("conv", 192, 192), ("pool", 0, 0), ("dense", 192, 10))),
}


@dataclass(frozen=True)
class Workload:
    """One model in two arms, one request in three forms, and onnxruntime's own answer to it.

    `grpc` is the message behind its five bytes of gRPC framing; the first `json_length` bytes of `binary` are JSON.
    """

    name: str
    models: dict[str, Path]
    bodies: dict[str, Path]  # json, binary, grpc -> file
    json_length: int
    expected: dict[str, NDArray[np.float32]]  # arm -> probs of shape (1, classes)


def make_workload(name: str, cache: Path = CACHE) -> Workload:
    """The workload of the model called `name`; its files are made if they are not there yet."""
    source = sha256(Path(__file__).read_bytes()).hexdigest()[:8]  # what another version made is not taken
    folder = cache / f"models-{source}" / name
    folder.mkdir(parents=True, exist_ok=True)
    models = {arm: folder / f"{arm}.onnx" for arm in ARMS}
    for arm, path in models.items():
        if not path.exists():
            onnx.save(build_model(name, ARMS[arm]), path)
    x = draw_input(name)
    binary, json_length = binary_body(x)
    bodies = {"json": json_body(x), "binary": binary, "grpc": grpc_body(name, x)}
    for form, body in bodies.items():
        (folder / f"body.{form}").write_bytes(body)
    return Workload(
        name=name,
        models=models,
        bodies={form: folder / f"body.{form}" for form in bodies},
        json_length=json_length,
        expected={arm: run_once(path, x) for arm, path in models.items()},
    )


def build_model(name: str, seed: int) -> ModelProto:
    """The model called `name` with weights drawn from `seed`, scaled so that no layer saturates."""
    shape, layers = SHAPES[name]
    rng = np.random.default_rng(seed)
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    value = "x"
    for index, (kind, given, wanted) in enumerate(layers):
        made = f"layer{index}"
        if kind == "pool":
            nodes.append(helper.make_node("GlobalAveragePool", [value], [f"{made}.mean"]))
            nodes.append(helper.make_node("Flatten", [f"{made}.mean"], [made]))
            value = made
            continue
        size = (wanted, given) if kind == "dense" else (wanted, given, 3, 3)
        kernel = rng.standard_normal(size) / np.sqrt(np.prod(size[1:]))
        bias = rng.standard_normal(wanted) * 0.1
        weights += [_weight(f"{made}.kernel", kernel), _weight(f"{made}.bias", bias)]
        inputs = [value, f"{made}.kernel", f"{made}.bias"]
        how = {"transB": 1} if kind == "dense" else {"pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Gemm" if kind == "dense" else "Conv", inputs, [made], **how))
        value = made
        if index < len(layers) - 1:
            value = f"{made}.positive"
            nodes.append(helper.make_node("Relu", [made], [value]))
    nodes.append(helper.make_node("Softmax", [value], ["probs"], axis=-1))
    return _model(name, nodes, weights, (shape, layers[-1][2]))


def draw_input(name: str) -> NDArray[np.float32]:
    """One row; three decimals, so that its JSON is as long as a person's would be."""
    shape, _ = SHAPES[name]
    return np.round(np.random.default_rng(1).standard_normal((1, *shape)), 3).astype(np.float32)


def json_body(x: NDArray[np.float32]) -> bytes:
    """A request with its tensor in JSON."""
    return _compact({"id": "r1", "inputs": [{**_tensor(x), "data": [round(float(v), 3) for v in x.ravel()]}]})


def binary_body(x: NDArray[np.float32]) -> tuple[bytes, int]:
    """A request with its tensor in binary behind the JSON, answered likewise; and the length of the JSON."""
    tensor = {**_tensor(x), "parameters": {"binary_data_size": x.nbytes}}
    wanted = {"name": "probs", "parameters": {"binary_data": True}}
    head = _compact({"id": "r1", "inputs": [tensor], "outputs": [wanted]})
    return head + x.tobytes(), len(head)


def grpc_body(name: str, x: NDArray[np.float32]) -> bytes:
    """A ModelInferRequest with a raw tensor, framed as gRPC wants it: not compressed, then its length."""
    request = ModelInferRequest(model_name=name, id="r1", raw_input_contents=[x.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=x.shape)
    message = request.SerializeToString()
    return struct.pack(">BI", 0, len(message)) + message


def run_once(path: Path, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What onnxruntime itself answers."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (probs,) = session.run(["probs"], {"x": x})
    return probs


def _model(
    name: str, nodes: Sequence[NodeProto], weights: Sequence[TensorProto], sizes: tuple[tuple[int, ...], int]
) -> ModelProto:
    shape, classes = sizes
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", *shape])],
        [helper.make_tensor_value_info("probs", TensorProto.FLOAT, ["rows", classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    return model


def _weight(name: str, values: NDArray[np.float64]) -> TensorProto:
    return numpy_helper.from_array(values.astype(np.float32), name)


def _tensor(x: NDArray[np.float32]) -> dict[str, object]:
    return {"name": "x", "shape": list(x.shape), "datatype": "FP32"}


def _compact(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
