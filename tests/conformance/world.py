"""Writes what a conformance run needs into a folder: models, routes, and cases with the answers expected.

    python world.py DIR

DIR becomes a directory for `turnout serve`, with cases.json beside it. A tensor in a case has its elements in hex, in
the protocol's binary form. What is expected comes straight from ONNX Runtime, of the same files, for either arm.
"""

import json
import shutil
import struct
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx.parser
import onnxruntime

ROOT = Path(__file__).parents[2]
HEAD = '<ir_version: 9, opset_import: ["": 20]>\n'
BFLOAT16 = onnx.TensorProto.BFLOAT16
ONNX_TYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "BF16": "bfloat16",
    "FP32": "float",
    "FP64": "double",
    "BYTES": "string",
}
NUMPY = {
    "BOOL": np.dtype(bool),
    **{f"UINT{bits}": np.dtype(f"u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"i{bits // 8}") for bits in (8, 16, 32, 64)},
    "FP16": np.dtype("f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "FP32": np.dtype("f4"),
    "FP64": np.dtype("f8"),
    "BYTES": np.dtype(object),
}
EVERY = {name: kind for name, kind in ONNX_TYPES.items() if name not in ("FP16", "BF16")}  # all that have a JSON form
TEXTS = ["plain", "", "a\0b", "\0", "grüße 🚂", "\U0010ffff"]  # two, three and four bytes of UTF-8, and none
# old and new arm of each route; where they compute different things, an answer shows which arm gave it
MODELS = {
    "pair-old": "m (float[N,2] a, int64[N] b) => (float[N,2] c, int64[N] d) { c = Neg(a)  d = Neg(b) }",
    "pair-new": "m (float[N,2] a, int64[N] b) => (float[N,2] c, int64[N] d) { c = Abs(a)  d = Abs(b) }",
    "text-old": 'm (string[N] x) => (string[N] y) <string[1] s = {" old"}> { y = StringConcat(x, s) }',
    "text-new": 'm (string[N] x) => (string[N] y) <string[1] s = {" new"}> { y = StringConcat(x, s) }',
    "note-old": "m (string[1] x) => (string[1] y) { y = Identity(x) }",
    **{
        f"every-{arm}": "{} ({}) => ({}) {{ {} }}".format(
            arm,
            ", ".join(f"{kind}[N,3] x_{name}" for name, kind in EVERY.items()),
            ", ".join(f"{kind}[N,3] y_{name}" for name, kind in EVERY.items()),
            "  ".join(f"y_{name} = Identity(x_{name})" for name in EVERY),
        )
        for arm in ("old", "new")
    },
    **{
        f"{datatype.lower()}-{arm}": f"m ({kind}[N,3] x) => ({kind}[N,3] y) {{ {body} }}"
        for datatype, kind in ONNX_TYPES.items()
        for arm, body in (("old", "y = Identity(x)"), ("new", "z = Identity(x)  y = Identity(z)"))
    },
}
COPIED = {
    "digits-old": "configs/models/digits-linear.onnx",
    "digits-new": "configs/models/digits-mlp.onnx",
    "slow": "examples/faults/slow.onnx",
    "raises": "examples/faults/raises.onnx",
}
STRATEGIES = {
    "baseline": "strategy: {kind: baseline}",
    "ab": "strategy: {kind: ab, shares: {new: 50%}}",
    "canary": "strategy: {kind: canary, candidate: new, ramp: [{share: 50%}]}",
    "shadow": "strategy: {kind: baseline}\nshadow: [{candidate: new, share: 100%}]",
}
ARM = '{{model: "file:models/{}.onnx", role: {}, version: {}, outputs: {{nan: pass}}}}'
ROUTE = "turnout: v1\nroute: {}\ntimeout: 10s\n{}\narms:\n  old: {}\n"
SINGLE = {"slow": "slow", "note": "note-old"}  # routes with one arm


def main(folder: Path) -> None:
    (folder / "models").mkdir(parents=True)
    (folder / "routes").mkdir()
    for name, text in MODELS.items():
        model = onnx.parser.parse_model(HEAD + text)
        onnx.checker.check_model(model)
        (folder / "models" / f"{name}.onnx").write_bytes(model.SerializeToString())
    for name, path in COPIED.items():
        shutil.copyfile(ROOT / path, folder / "models" / f"{name}.onnx")
    write_routes(folder / "routes")
    cases = [expected(folder / "models", case) for case in written_cases()]
    (folder / "cases.json").write_text(json.dumps(cases))


def write_routes(folder: Path) -> None:
    for model in [*map(str.lower, ONNX_TYPES), "every", "pair", "text", "digits"]:
        for name, strategy in STRATEGIES.items():
            write_route(folder, f"{model}-{name}", strategy, f"{model}-old", f"{model}-new")
    for route, model in SINGLE.items():
        write_route(folder, route, "strategy: {kind: baseline}", model, "")
    write_route(folder, "pinned", "pin: true\n" + STRATEGIES["ab"], "digits-old", "digits-new")
    write_route(folder, "failing", "strategy: {kind: ab, shares: {new: 100%}}", "digits-old", "raises")


def write_route(folder: Path, route: str, strategy: str, old: str, new: str) -> None:
    text = ROUTE.format(route, strategy, ARM.format(old, "baseline", "v1"))
    if new:
        text += "  new: " + ARM.format(new, "candidate", "v2") + "\n"
    (folder / f"{route}.yaml").write_text(text)


def written_cases() -> list[dict]:
    """Every case as its name, its model, and its inputs as arrays."""
    rows = np.array([row["pixels"] for row in json.loads((ROOT / "examples/digits/rows.json").read_text())], "f4")
    cases = [
        {"name": "two rows", "model": "pair", "inputs": {"a": array([-1.5, 0, 7, -8], "FP32", (2, 2)),
                                                         "b": array([-3, 4], "INT64", (2,))}},
        {"name": "no rows", "model": "pair", "inputs": {"a": array([], "FP32", (0, 2)), "b": array([], "INT64", (0,))}},
        {"name": "texts", "model": "text", "inputs": {"x": array([t.encode() for t in TEXTS], "BYTES", (6,))}},
        *({"name": name, "model": "every",
           "inputs": {f"x_{kind}": array(edges(kind)[:3 * n], kind, (n, 3)) for kind in EVERY}}
          for name, n in (("edges", 2), ("empty", 0))),
        *({"name": f"{n} rows", "model": "digits", "inputs": {"pixels": rows[:n]}} for n in (1, 7)),
    ]  # fmt: skip
    for datatype in ONNX_TYPES:
        cases.append(identity("edges", datatype, array(edges(datatype), datatype, (2, 3))))
        cases.append(identity("empty", datatype, array([], datatype, (0, 3))))
        if datatype in ("FP16", "BF16", "FP32", "FP64"):
            special = [np.nan, np.inf, -np.inf]
            cases.append({**identity("not finite", datatype, array(special, datatype, (1, 3))), "is_finite": False})
    return cases


def identity(name: str, datatype: str, values: np.ndarray) -> dict:
    return {"name": name, "model": datatype.lower(), "inputs": {"x": values}}


def edges(datatype: str) -> list:
    """Six values at the ends of what a datatype holds."""
    dtype = NUMPY[datatype]
    if datatype == "BOOL":
        return [True, False, True, True, False, False]
    if datatype == "BYTES":
        return [text.encode() for text in TEXTS]
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return [limits.min, limits.max, 0, 1, limits.max - 1, limits.max // 3]
    limits = ml_dtypes.finfo(dtype)
    return [limits.min, limits.max, limits.smallest_subnormal, -0.0, 1 / 3, 1.0]


def array(values: list, datatype: str, shape: tuple[int, ...]) -> np.ndarray:
    made = np.empty(len(values), NUMPY[datatype])
    made[:] = values
    return made.reshape(shape)


def expected(models: Path, case: dict) -> dict:
    """A case as it is written down: with every tensor in hex, and what each arm answers."""
    arms = {arm: run(models / f"{case['model']}-{arm}.onnx", case["inputs"]) for arm in ("old", "new")}
    return {
        "is_finite": True,
        **case,
        "inputs": [tensor(name, values) for name, values in case["inputs"].items()],
        "expected": {arm: [tensor(name, values) for name, values in outputs.items()] for arm, outputs in arms.items()},
    }


def run(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if any(values.dtype == NUMPY["BF16"] for values in inputs.values()):
        return dict(zip(names, run_bf16(session, names, inputs), strict=True))
    texts = {name: decoded(values) if values.dtype == object else values for name, values in inputs.items()}
    return dict(zip(names, session.run(names, texts), strict=True))


def run_bf16(session: onnxruntime.InferenceSession, names: list[str], inputs: dict) -> list[np.ndarray]:
    """`session.run` takes no BF16, for numpy has none of its own; binding does."""
    binding = session.io_binding()
    outputs = []
    for name, values in inputs.items():
        binding.bind_input(name, "cpu", 0, BFLOAT16, values.shape, values.ctypes.data)
    for name in names:
        outputs.append(np.empty_like(inputs["x"]))
        binding.bind_output(name, "cpu", 0, BFLOAT16, outputs[-1].shape, outputs[-1].ctypes.data)
    session.run_with_iobinding(binding)
    return outputs


def decoded(values: np.ndarray) -> np.ndarray:
    return array([element.decode() for element in values.ravel()], "BYTES", values.shape)


def tensor(name: str, values: np.ndarray) -> dict:
    datatype = next(known for known, dtype in NUMPY.items() if dtype == values.dtype)
    raw = values.tobytes()
    if datatype == "BYTES":
        elements = [each if isinstance(each, bytes) else each.encode() for each in values.ravel()]
        raw = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "hex": raw.hex()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
