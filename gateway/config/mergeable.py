"""Whether what a strategy would merge is there to be merged: held against the baseline's signature."""

from collections.abc import Collection, Iterator

from runners.core.tensor import Signature, TensorSpec
from strategies.core.merge import Merge, Mode
from strategies.core.plan import Plan
from strategies.core.spec import Problem
from strategies.interleaving.slots import named, slots_of

WHOLE_NUMBERS = frozenset({"UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"})
NAMES = WHOLE_NUMBERS | {"BYTES"}
SCORES = WHOLE_NUMBERS | {"FP16", "FP32", "FP64"}
LIST_RANKS = (1, 2)


def merge_problems(plan: Plan, signature: Signature, unranked: Collection[str] = ()) -> Iterator[Problem]:
    """What is wrong with a merged plan for a baseline of this signature, with paths into the strategy.

    `unranked` are tensors of which it is not known yet how many dimensions they have.
    """
    merge = plan.merge
    if merge is None:
        return
    outputs = {spec.name: spec for spec in signature.outputs}
    if merge.mode is Mode.BOTH:
        yield from _taken_names(plan, merge, outputs)
        return
    inputs = {spec.name: spec for spec in signature.inputs}
    for word, name, known, allowed in (
        ("ids", merge.ids, outputs, NAMES),
        ("items", merge.items, inputs, NAMES),
        ("scores", merge.scores, outputs, SCORES),
    ):
        if not name:
            continue
        if name not in known:
            yield _unknown((word,), name, known, "input" if word == "items" else "output")
        else:
            yield from _unfit(word, known[name], allowed, is_ranked=name not in unranked)
    for place, name in enumerate(merge.aligned):
        if name not in outputs:
            yield _unknown(("aligned", place), name, outputs, "output")


def _unknown(path: tuple[str | int, ...], name: str, known: Collection[str], what: str) -> Problem:
    return Problem(path, f"the baseline has no {what} '{name}'", f"its {what}s are {', '.join(known)}")


def _unfit(word: str, spec: TensorSpec, allowed: Collection[str], *, is_ranked: bool) -> Iterator[Problem]:
    if spec.datatype not in allowed:
        what = f"'{spec.name}' is {spec.datatype}, which says nothing of an order of items"
        wanted = (
            "scores are FP16, FP32, FP64 or whole numbers" if word == "scores" else "ids are BYTES or whole numbers"
        )
        yield Problem((word,), what, wanted)
    if is_ranked and len(spec.shape) not in LIST_RANKS:
        what = f"'{spec.name}' has shape {list(spec.shape)}, which is no list a row"
        yield Problem((word,), what, "export it with shape [rows, items], or [items] for one list")


def _taken_names(plan: Plan, merge: Merge, outputs: Collection[str]) -> Iterator[Problem]:
    for name in outputs:
        for slot in slots_of(merge, plan.serve):
            if named(name, slot) in outputs:
                what = f"the baseline has an output '{named(name, slot)}' of its own"
                yield Problem(("mode",), what, "rename the output or the arm")
