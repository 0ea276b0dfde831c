"""Whether a request fits a model, and whether an answer keeps what the model's signature and the operator promise.

Both checks are compiled once per opened model and called per request; any runner can use them, so that an embedded, a
remote and a constant model refuse the same things in the same words.
"""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from runners.core.errors import InvalidInput, InvalidOutput, LoadRefused, quoted
from runners.core.runner import OutputPolicy
from runners.core.tensor import DATATYPES, InferenceRequest, Signature, Tensor, TensorSpec

_SMALL_N = 32  # up to here summing a list is cheaper than the first numpy call
_BF16_EXPONENT = 0x7F80  # all of its bits are set in NaN and Inf alone


class _Rule(Struct, frozen=True):
    """One tensor's spec, taken apart. `bit` marks it as seen; `is_finite` and `within` are for outputs alone."""

    spec: TensorSpec
    bit: int
    datatype: str
    dtype: np.dtype[Any]
    rank: int
    fixed: tuple[tuple[int, int], ...]  # axis, size
    is_finite: Callable[[NDArray[Any]], bool] | None = None  # None: whatever it holds may pass
    within: tuple[float, float] | None = None


class InputCheck:
    """Refuses requests that do not fit. `strict=False` is for a model that takes any inputs and ignores them."""

    def __init__(self, signature: Signature, *, strict: bool = True) -> None:
        self._rules = _rules(signature.inputs)
        self._all = (1 << len(self._rules)) - 1
        self._outputs = {spec.name: 1 << index for index, spec in enumerate(signature.outputs)}
        self._strict = strict

    def __call__(self, request: InferenceRequest) -> None:
        """Raises InvalidInput, saying what is wrong, where, and what the model takes."""
        if request.outputs:
            self._check_wanted(request.outputs)
        if not self._strict:
            return
        rules = self._rules
        seen = 0
        for tensor in request.inputs:
            rule = rules.get(tensor.name)
            if rule is None:
                raise InvalidInput(f"input {quoted(tensor.name)} is unknown, the model takes {_list(rules)}")
            if seen & rule.bit:
                raise InvalidInput(f"input {quoted(tensor.name)} is given twice")
            seen |= rule.bit
            fault = _misfit(rule, tensor)
            if fault:
                raise InvalidInput(f"input {quoted(tensor.name)} has {fault[0]}, the model takes {fault[1]}")
        if seen != self._all:
            missing = [name for name, rule in rules.items() if not seen & rule.bit]
            raise InvalidInput(f"input {_list(missing)} is missing, the model takes {_list(rules)}")

    def _check_wanted(self, wanted: tuple[str, ...]) -> None:
        seen = 0
        for name in wanted:
            bit = self._outputs.get(name, 0)
            if not bit:
                raise InvalidInput(f"output {quoted(name)} is unknown, the model gives {_list(self._outputs)}")
            if seen & bit:
                raise InvalidInput(f"output {quoted(name)} is asked for twice")
            seen |= bit


class OutputCheck:
    """Refuses answers that break the signature or the operator's policy."""

    def __init__(self, signature: Signature, policy: OutputPolicy) -> None:
        """Raises LoadRefused for a policy that cannot hold of this model."""
        if policy.nan not in ("reject", "pass"):
            raise LoadRefused("outputs", f"nan is {policy.nan!r}", "write reject or pass")
        rules = _rules(signature.outputs)
        ranges = _ranges(rules, policy)
        finite = _FINITE if policy.nan == "reject" else {}
        self._rules = {
            name: replace(rule, is_finite=finite.get(rule.datatype), within=ranges.get(name))
            for name, rule in rules.items()
        }
        self._all = tuple(self._rules.values())

    def __call__(self, wanted: tuple[str, ...], outputs: tuple[Tensor, ...]) -> None:
        """`wanted` are the names asked for, () for all; `outputs` must be just those, in that order.

        Raises InvalidOutput.
        """
        rules = tuple([self._rules[name] for name in wanted]) if wanted else self._all
        if len(outputs) != len(rules):
            raise _others(rules, outputs)
        for rule, tensor in zip(rules, outputs):  # noqa: B905  as long as each other, and `strict` costs time
            name = tensor.name
            if name != rule.spec.name:
                raise _others(rules, outputs)
            fault = _misfit(rule, tensor)
            if fault:
                raise InvalidOutput(f"output {name!r} has {fault[0]}, expected {fault[1]}")
            if rule.is_finite and not rule.is_finite(tensor.array):
                raise InvalidOutput(f"output {name!r} holds NaN or Inf")
            if rule.within:
                _check_range(tensor, *rule.within)


def wide(tensor: Tensor) -> NDArray[Any]:
    """The numbers of a tensor, BF16 bit patterns widened to float32."""
    if tensor.datatype == "BF16":
        return (tensor.array.astype(np.uint32) << 16).view(np.float32)
    return tensor.array


def _floats_are_finite(array: NDArray[Any]) -> bool:
    # A sum that is finite had finite terms. One that is not may only have overflowed, so it is confirmed.
    if array.size <= _SMALL_N and isfinite(sum(array.ravel().tolist())):
        return True
    return bool(np.isfinite(array).all())


def _patterns_are_finite(array: NDArray[Any]) -> bool:
    return not ((array & _BF16_EXPONENT) == _BF16_EXPONENT).any()


_FINITE: Mapping[str, Callable[[NDArray[Any]], bool]] = {
    "FP16": _floats_are_finite,
    "FP32": _floats_are_finite,
    "FP64": _floats_are_finite,
    "BF16": _patterns_are_finite,
}


def _others(rules: Iterable[_Rule], outputs: Iterable[Tensor]) -> InvalidOutput:
    return InvalidOutput(
        f"the model gave {_list(t.name for t in outputs)}, expected {_list(r.spec.name for r in rules)}"
    )


def _misfit(rule: _Rule, tensor: Tensor) -> tuple[str, str] | None:
    """What a tensor has and what it should have, or None if it fits."""
    array = tensor.array
    dtype = array.dtype
    if tensor.datatype != rule.datatype:
        return f"datatype {quoted(tensor.datatype)}", rule.datatype
    if dtype is not rule.dtype and dtype != rule.dtype:
        return f"elements held as {dtype}, which is not how {rule.datatype} is held", str(rule.dtype)
    shape = array.shape
    if len(shape) != rule.rank:
        return f"shape {list(shape)}", str(list(rule.spec.shape))
    for axis, size in rule.fixed:
        if shape[axis] != size:
            return f"shape {list(shape)}", str(list(rule.spec.shape))
    return None


def _check_range(tensor: Tensor, low: float, high: float) -> None:
    array = wide(tensor)
    if not array.size:
        return
    # fmin and fmax pass over NaN, which is the business of the NaN policy alone.
    lowest, highest = np.fmin.reduce(array, axis=None), np.fmax.reduce(array, axis=None)
    if lowest < low or highest > high:
        raise InvalidOutput(f"output {tensor.name!r} spans {lowest} to {highest}, expected within {low} to {high}")


def _rules(specs: tuple[TensorSpec, ...]) -> dict[str, _Rule]:
    return {
        spec.name: _Rule(
            spec=spec,
            bit=1 << index,
            datatype=spec.datatype,
            dtype=DATATYPES[spec.datatype].numpy,
            rank=len(spec.shape),
            fixed=tuple((axis, size) for axis, size in enumerate(spec.shape) if size >= 0),
        )
        for index, spec in enumerate(specs)
    }


def _ranges(rules: dict[str, _Rule], policy: OutputPolicy) -> dict[str, tuple[float, float]]:
    for name, low, high in policy.ranges:
        if name not in rules:
            raise LoadRefused(f"range of output {name!r}", "the model has no such output", f"it gives {_list(rules)}")
        if rules[name].datatype in ("BYTES", "BOOL"):
            raise LoadRefused(f"range of output {name!r}", f"{rules[name].datatype} has no order")
        if not low <= high:
            raise LoadRefused(f"range of output {name!r}", f"{low} to {high} allows nothing")
    return {name: (low, high) for name, low, high in policy.ranges}


def _list(names: Iterable[str]) -> str:
    return ", ".join(quoted(name) for name in names) or "none"
