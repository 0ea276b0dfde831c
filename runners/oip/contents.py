"""Typed tensor contents: the form in which gRPC carries elements that are not raw, in requests and answers alike.

Source: Open Inference Protocol, gRPC API, InferTensorContents.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runners.core.errors import InvalidInput
from runners.core.tensor import DATATYPES, Tensor
from runners.core.tensor_json import count_elements
from runners.oip.messages import InferTensorContents

CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
WIDE: Mapping[str, type[np.generic]] = {  # what protobuf carries where it has no type as narrow
    "INT8": np.int32,
    "INT16": np.int32,
    "UINT8": np.uint32,
    "UINT16": np.uint32,
}


def tensor_from_contents(
    name: str, datatype: str, shape: tuple[int, ...], contents: InferTensorContents, *, limit_bytes: int
) -> Tensor:
    """A tensor of typed contents, refused if it would take more than `limit_bytes`. Raises InvalidInput."""
    count = count_elements(name, datatype, shape, limit_bytes)
    field = CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f"tensor '{name[:100]}': {datatype} travels in raw_input_contents only")
    filled = [descriptor.name for descriptor, _ in contents.ListFields()]
    if filled not in ([field], []):
        raise InvalidInput(f"tensor '{name[:100]}' of {datatype} belongs in {field}, not {', '.join(filled)}")
    values = getattr(contents, field)
    if len(values) != count:
        raise InvalidInput(f"tensor '{name[:100]}' has {len(values)} elements, shape {list(shape)} needs {count}")
    return Tensor(name, datatype, _array(name, datatype, values).reshape(shape))


def _array(name: str, datatype: str, values: Sequence[bool] | Sequence[float] | Sequence[bytes]) -> NDArray[Any]:
    if datatype == "BYTES":
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
        return array
    held = DATATYPES[datatype].numpy
    sent = np.array(values, dtype=WIDE.get(datatype, held))  # numpy wraps what does not fit, without a word
    array = sent.astype(held, copy=False)
    if array is not sent and not np.array_equal(array, sent):
        raise InvalidInput(f"tensor '{name[:100]}' holds a value out of {datatype}'s range")
    return array
