"""Shadows that go wrong on what the benchmark asks, and on nothing else: warm-up and every other row find them well.

    raises   an index out of bounds, in the middle of the run
    huge     50 MiB in place of three numbers
    spins    a loop that does not end before it is told to
    hangs    a server that takes a request and never answers (hanging.py)

The first three are the workload's candidate with something behind it, in the gateway's own process, which is where a
shadow could do most harm; the last is another server's, for a model that waits for ever costs no processor.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.models import Workload, draw_input
from benchmarks.servers import route_document

HANGS = "hangs"
HUGE_BYTES = 50 << 20
TURNS_N = 10**15  # of the loop: years
OUT_OF_BOUNDS = 1000


def faulty_document(fault: str, workload: Workload, folder: Path, hanging_port: int) -> dict[str, object]:
    """A route that shadows every request by a candidate with this fault, made in `folder`."""
    document = route_document("shadow", workload)
    arms: dict[str, dict[str, object]] = document["arms"]  # type: ignore[assignment]
    (candidate,) = [arm for arm in arms.values() if arm["role"] == "candidate"]
    if fault == HANGS:
        candidate |= {"model": f"remote:{workload.name}", "url": f"http://127.0.0.1:{hanging_port}"}
    else:
        path = folder / f"{fault}.onnx"
        onnx.save(spoil(onnx.load(workload.models["new"]), fault, draw_input(workload.name)), path)
        candidate |= {"model": f"file:{path.resolve()}"}
    return document


def spoil(model: ModelProto, fault: str, x: np.ndarray) -> ModelProto:
    """The model, but for what it does with the row `x`."""
    (probs,) = model.graph.output
    classes_n = probs.type.tensor_type.shape.dim[1].dim_value
    good = "probs.good"
    for node in model.graph.node:
        node.output[:] = [good if name == probs.name else name for name in node.output]
    nodes, constants = SPOILERS[fault](good, classes_n)
    model.graph.node.extend([*_is_asked(), *nodes])
    values = {"asked": x.ravel()[:1], "first": np.array([0], np.int64), **constants}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in values.items())
    if fault == "huge":
        probs.type.tensor_type.shape.dim[1].dim_param = "classes"
    onnx.checker.check_model(model, full_check=True)
    return model


Constants = Mapping[str, np.ndarray]


def _is_asked() -> list[NodeProto]:
    """`is_asked`, a number: 1 if any row begins with what the benchmark's row begins with, else 0."""
    return [
        helper.make_node("Gather", ["x", "first"], ["begins"], axis=1),
        helper.make_node("Equal", ["begins", "asked"], ["equal"]),
        helper.make_node("Cast", ["equal"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["ones"], ["is_asked"], keepdims=0),
    ]


def _raise(good: str, _classes_n: int) -> tuple[list[NodeProto], Constants]:
    nodes = [
        helper.make_node("Mul", ["is_asked", "far"], ["place"]),
        helper.make_node("Gather", ["zero", "place"], ["nothing"]),
        helper.make_node("Add", [good, "nothing"], ["probs"]),
    ]
    return nodes, {"far": np.array(OUT_OF_BOUNDS, np.int64), "zero": np.zeros(1, np.float32)}


def _swell(good: str, classes_n: int) -> tuple[list[NodeProto], Constants]:
    nodes = [
        helper.make_node("Mul", ["is_asked", "many"], ["more"]),
        helper.make_node("Add", ["more", "once"], ["times"]),
        helper.make_node("Concat", ["once", "times"], ["repeats"], axis=0),
        helper.make_node("Tile", [good, "repeats"], ["probs"]),
    ]
    many = np.array([HUGE_BYTES // (4 * classes_n)], np.int64)
    return nodes, {"many": many, "once": np.array([1], np.int64)}


def _spin(good: str, _classes_n: int) -> tuple[list[NodeProto], Constants]:
    """The loop carries the probs and gives them back as they were."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["goes_on"], ["goes_on.next"]),
            helper.make_node("Identity", ["carried"], ["carried.next"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn_no", TensorProto.INT64, []),
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes_on.next", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried.next", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        helper.make_node("Mul", ["is_asked", "many"], ["turns"]),
        helper.make_node("Loop", ["turns", "yes", good], ["probs"], body=body),
    ]
    return nodes, {"many": np.array(TURNS_N, np.int64), "yes": np.array(True)}


SPOILERS = {"raises": _raise, "huge": _swell, "spins": _spin}
FAULTS = (*SPOILERS, HANGS)
