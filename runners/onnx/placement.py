"""Where a model is run: on the event loop, or in a thread of its own.

Handing a run to a thread costs some 15 us, more than a small model takes; but whatever runs on the loop keeps everybody
waiting. So only a model whose cost is known from its shapes alone, and is small, may run there.
"""

import math
from collections.abc import Mapping

from msgspec import Struct

from runners.core.tensor import Signature
from runners.onnx.graph import GraphFacts
from runners.onnx.warmup import ROWS_N, WarmUp

LOOP_LIMIT_S = 0.0002  # the slowest warm-up with eight rows: a dozen thread hops

CONTROL_FLOW = frozenset({"Loop", "Scan", "If", "SequenceMap"})
# The cost of these is in the values they are given, not in shapes: a single number can ask for gigabytes.
_COSTED_BY_VALUE = frozenset(
    {"Range", "ConstantOfShape", "Expand", "Tile", "Resize", "Upsample", "Pad", "OneHot", "EyeLike", "CenterCropPad"}
    | {"Col2Im", "MaxUnpool", "AffineGrid", "MelWeightMatrix", "HannWindow", "HammingWindow", "BlackmanWindow"}
    | {"DFT", "STFT", "NonMaxSuppression"}
)
_STANDARD_DOMAINS = frozenset({"", "ai.onnx.ml"})


class Placement(Struct, frozen=True):
    """`why` says what keeps a model off the loop, "" if nothing does; `warm_up_ms` is what its warm-up measured."""

    on_loop: bool
    why: str
    warm_up_ms: float


def place(signature: Signature, facts: GraphFacts, provider: str, warm: WarmUp, *, background: bool) -> Placement:
    """Decide for one opened model."""
    why = _objection(signature, facts, provider, warm, background=background)
    return Placement(not why, why, warm.slowest_s * 1000)


def loop_elements(signature: Signature) -> Mapping[str, int]:
    """Input -> most elements with which it may come onto the loop: those of eight rows, or of its fixed shape."""
    return {
        spec.name: math.prod(ROWS_N if axis == 0 and size < 0 else size for axis, size in enumerate(spec.shape))
        for spec in signature.inputs
    }


def _objection(signature: Signature, facts: GraphFacts, provider: str, warm: WarmUp, *, background: bool) -> str:
    """The first thing that speaks against the loop, "" if nothing does."""
    operators = {op_type for _, op_type in facts.operators}
    foreign = {domain for domain, _ in facts.operators} - _STANDARD_DOMAINS
    costed_by_value = operators & (CONTROL_FLOW | _COSTED_BY_VALUE)
    specs = (*signature.inputs, *signature.outputs)
    objections = (
        (background, "no client waits for it"),
        (provider != "cpu", f"it runs on {provider}"),
        (bool(foreign), f"it uses operators of {', '.join(sorted(foreign))}"),
        (bool(costed_by_value), f"it uses {', '.join(sorted(costed_by_value))}, whose cost no shape tells"),
        (any(size < 0 for spec in specs for size in spec.shape[1:]), "not all dimensions but the first are fixed"),
        (any(spec.datatype == "BYTES" for spec in signature.inputs), "it takes texts, which may be of any length"),
        (not warm.slowest_s < LOOP_LIMIT_S, f"{warm.rows_n} rows took {warm.slowest_s * 1000:.3f} ms"),
    )
    return next((why for speaks_against, why in objections if speaks_against), "")
