"""Whether one model can stand in for another: the same inputs, and at least the same outputs."""

from runners.core.tensor import Signature, TensorSpec


def difference_of(found: Signature, wanted: Signature) -> str:
    """Why an arm cannot stand in for the baseline, "" if it can. Any size is as good as a certain one."""
    if not found.inputs:  # a constant that looks at no input takes them all
        return _unlike("output", found.outputs, wanted.outputs)
    return _unlike("input", found.inputs, wanted.inputs) or _unlike("output", found.outputs, wanted.outputs)


def _unlike(what: str, found: tuple[TensorSpec, ...], wanted: tuple[TensorSpec, ...]) -> str:
    by_name = {spec.name: spec for spec in found}
    for spec in wanted:
        other = by_name.get(spec.name)
        if other is None:
            return f"its {what}s are {', '.join(by_name)}; the baseline's {what} '{spec.name}' is missing"
        if other.datatype != spec.datatype or not _fits(other.shape, spec.shape):
            return (
                f"its {what} '{spec.name}' is {other.datatype} {list(other.shape)}, "
                f"the baseline's {spec.datatype} {list(spec.shape)}"
            )
    extra = by_name.keys() - {spec.name for spec in wanted}
    if extra and what == "input":
        return f"it wants inputs the baseline does not have: {', '.join(sorted(extra))}"
    return ""


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if len(found) != len(wanted):
        return False
    return all(-1 in sizes or sizes[0] == sizes[1] for sizes in zip(found, wanted, strict=True))
