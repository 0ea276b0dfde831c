"""How far two numbers may lie apart and still be the same answer."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct


class Tolerance(Struct, frozen=True):
    """`served` and `shadow` are alike when abs(served - shadow) <= absolute + relative * abs(served)."""

    relative: float
    absolute: float


# Those of torch.testing.assert_close: what one function computed twice in this type may differ by. BF16 has 8 bits.
BY_DATATYPE: Mapping[str, Tolerance] = MappingProxyType(
    {
        "FP64": Tolerance(1e-7, 1e-7),
        "FP32": Tolerance(1.3e-6, 1e-5),
        "FP16": Tolerance(1e-3, 1e-5),
        "BF16": Tolerance(1.6e-2, 1e-5),
    }
)


def tolerance_for(datatype: str, written: Tolerance | None = None) -> Tolerance:
    """What an operator wrote, else the datatype's own."""
    return written or BY_DATATYPE[datatype]
