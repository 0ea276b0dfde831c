"""What an ONNX file declares that it takes and gives, read without a runtime.

A runtime may know better: it infers shapes that an exporter left open. So a size that is not declared is any size here.
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from runners.core.frozen import FrozenFile
from runners.core.tensor import Signature, TensorSpec
from runners.onnx.graph import parse_model

# TensorProto.DataType -> datatype of the protocol; others are not served, which whoever opens the model says
_DATATYPES = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}


class Declared(Struct, frozen=True):
    """A signature as it is written. Of `unranked` not even the number of dimensions is, or no datatype we know."""

    signature: Signature
    unranked: frozenset[str] = frozenset()


def declared_in(file: FrozenFile) -> Declared:
    """What `file` declares. Raises LoadRefused for what is no ONNX model."""
    model = parse_model(file)
    weights = {tensor.name for tensor in model.graph.initializer}  # old exporters list them among the inputs
    inputs = [value for value in model.graph.input if value.name not in weights]
    return Declared(
        Signature(_specs(inputs), _specs(model.graph.output)),
        frozenset(value.name for value in (*inputs, *model.graph.output) if _is_open(value.type)),
    )


def _is_open(kind: Any) -> bool:
    return not kind.tensor_type.HasField("shape") or kind.tensor_type.elem_type not in _DATATYPES


def _specs(values: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            value.name,
            _DATATYPES.get(value.type.tensor_type.elem_type, "?"),
            tuple(
                size.dim_value if size.HasField("dim_value") and size.dim_value >= 0 else -1
                for size in value.type.tensor_type.shape.dim
            ),
        )
        for value in values
    )
