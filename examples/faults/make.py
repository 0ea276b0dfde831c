"""Make models that fail for real, each in one way, with the signature and the answers of the linear digits model.

    python make.py            write the models beside this file
    python make.py --check    write nothing, exit non-zero unless the models in place are these

Every model is digits-linear with a fault built into its graph. What triggers a fault is read from the request, so no
optimisation can take it out, and a warm-up on blank images does not set it off. README.md lists the models.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, checker, helper, numpy_helper

HERE = Path(__file__).resolve().parent
LINEAR = HERE.parents[1] / "configs" / "models" / "digits-linear.onnx"

DARK = 8.0  # half of black: every real digit has a darker pixel, and no real digit has one in its first corner
NO_END = 2**62  # passes of a loop: at a nanosecond each, more than a century
SLOW_PASSES_N = 100_000

Part = tuple[list[NodeProto], list[TensorProto]]  # nodes and the constants they read


def main() -> None:
    parser = argparse.ArgumentParser(description="Make models that fail.")
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the files in place")
    check = parser.parse_args().check
    models = build_models()
    if check:
        other = [f"{name}: other bytes" for name, model in models.items() if (HERE / name).read_bytes() != model]
        sys.exit("\n".join(other) or 0)
    for name, model in models.items():
        (HERE / name).write_bytes(model)


def build_models() -> dict[str, bytes]:
    """File names and contents. A trigger sets `alarm`; a fault turns `clean` into `probabilities`."""
    return {
        "raises.onnx": with_fault("raises", any_dark_pixel(), raising()),
        "hangs.onnx": with_fault("hangs", any_dark_pixel(), hanging()),
        "nan.onnx": with_fault("nan", each_row_with_a_dark_pixel(), not_a_number()),
        "wrong-shape.onnx": with_fault("wrong-shape", any_dark_pixel(), one_column_short()),
        "slow.onnx": with_fault("slow", any_dark_pixel(), slow()),
        "flaky.onnx": with_fault("flaky", any_dark_corner(), raising()),
        "hangs-sometimes.onnx": with_fault("hangs-sometimes", any_dark_corner(), hanging()),
        "raises-always.onnx": with_fault("raises-always", any_pixel(), raising()),
        "hangs-always.onnx": with_fault("hangs-always", any_pixel(), hanging()),
        "kills.onnx": with_fault("kills", any_dark_corner(), trapping()),
    }


def any_dark_pixel() -> Part:
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["darkest"], keepdims=0),
        helper.make_node("Greater", ["darkest", "dark"], ["alarm"]),
    ]
    return nodes, [scalar("dark", DARK)]


def any_dark_corner() -> Part:
    """The alarm of a request whose rows include one with a dark first pixel."""
    nodes = [
        helper.make_node("Gather", ["pixels", "first"], ["corners"], axis=1),
        helper.make_node("ReduceMax", ["corners"], ["darkest"], keepdims=0),
        helper.make_node("Greater", ["darkest", "dark"], ["alarm"]),
    ]
    return nodes, [count("first", 0), scalar("dark", DARK)]


def any_pixel() -> Part:
    """An alarm that always rings, which the runtime cannot know."""
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["darkest"], keepdims=0),
        helper.make_node("Greater", ["darkest", "lowest"], ["alarm"]),
    ]
    return nodes, [scalar("lowest", -np.inf)]


def each_row_with_a_dark_pixel() -> Part:
    """One alarm a row, of shape (rows, 1)."""
    nodes = [
        helper.make_node("ReduceMax", ["pixels"], ["darkest"], axes=[1], keepdims=1),
        helper.make_node("Greater", ["darkest", "dark"], ["alarm"]),
    ]
    return nodes, [scalar("dark", DARK)]


def raising() -> Part:
    """Looks up place 1 of a list that has only place 0."""
    nodes = [
        helper.make_node("Cast", ["alarm"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["list", "place"], ["nothing"]),
        helper.make_node("Add", ["clean", "nothing"], ["probabilities"]),
    ]
    return nodes, [numpy_helper.from_array(np.zeros(1, np.float32), "list")]


def hanging() -> Part:
    """Loops 2^62 times, or not at all."""
    nodes = [
        helper.make_node("Cast", ["alarm"], ["switch"], to=TensorProto.INT64),
        helper.make_node("Mul", ["switch", "no_end"], ["passes"]),
        *looping(),
    ]
    return nodes, [count("no_end", NO_END), scalar("zero", 0)]


def slow() -> Part:
    """Loops often enough to be felt, whatever it is asked."""
    nodes = [
        helper.make_node("Cast", ["alarm"], ["switch"], to=TensorProto.INT64),
        helper.make_node("Max", ["switch", "enough"], ["passes"]),
        *looping(),
    ]
    return nodes, [count("enough", SLOW_PASSES_N), scalar("zero", 0)]


def trapping() -> Part:
    """Divides the lowest integer by -1, or by 1: x86 processors end the process that tries the former."""
    nodes = [
        helper.make_node("Cast", ["alarm"], ["switch"], to=TensorProto.INT64),
        helper.make_node("Mul", ["switch", "minus_two"], ["less"]),
        helper.make_node("Add", ["less", "one"], ["divisor"]),
        helper.make_node("Div", ["lowest", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["negative"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["negative"], ["nothing"]),
        helper.make_node("Add", ["clean", "nothing"], ["probabilities"]),
    ]
    return nodes, [count("minus_two", -2), count("one", 1), count("lowest", -(2**63))]


def not_a_number() -> Part:
    nodes = [
        helper.make_node("Where", ["alarm", "nan", "zero"], ["fault"]),
        helper.make_node("Add", ["clean", "fault"], ["probabilities"]),
    ]
    return nodes, [scalar("nan", np.nan), scalar("zero", 0)]


def one_column_short() -> Part:
    """Answers 9 columns where 10 are declared."""
    nodes = [
        helper.make_node("Cast", ["alarm"], ["missing"], to=TensorProto.INT64),
        helper.make_node("Sub", ["columns", "missing"], ["end"]),
        helper.make_node("Slice", ["clean", "start", "end", "axis"], ["probabilities"]),
    ]
    return nodes, [counts("columns", 10), counts("start", 0), counts("axis", 1)]


def looping() -> list[NodeProto]:
    """Nodes that halve nothing `passes` times and add it to the answer, which stays as it is."""
    return [
        helper.make_node("Loop", ["passes", "", "zero"], ["nothing"], body=halving()),
        helper.make_node("Add", ["clean", "nothing"], ["probabilities"]),
    ]


def halving() -> GraphProto:
    value = helper.make_tensor_value_info
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("Mul", ["before", "half"], ["after"]),
        ],
        "halving",
        [
            value("pass", TensorProto.INT64, []),
            value("go_on", TensorProto.BOOL, []),
            value("before", TensorProto.FLOAT, []),
        ],
        [value("goes_on", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [])],
        [scalar("half", 0.5)],
    )


def with_fault(name: str, trigger: Part, fault: Part) -> bytes:
    """The linear model with its probabilities led through a fault."""
    model = onnx.load(LINEAR)
    model.producer_name, model.graph.name = "examples/faults", name
    for node in model.graph.node:
        node.output[:] = ["clean" if output == "probabilities" else output for output in node.output]
    for nodes, constants in (trigger, fault):
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(constants)
    checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def scalar(name: str, value: float) -> TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)


def count(name: str, value: int) -> TensorProto:
    return numpy_helper.from_array(np.array(value, np.int64), name)


def counts(name: str, value: int) -> TensorProto:
    return numpy_helper.from_array(np.array([value], np.int64), name)


if __name__ == "__main__":
    main()
