"""Whether the answers of a model can be a route's actions. Workers ask it, so it knows nothing of documents."""

from collections.abc import Collection, Iterator, Sequence

from gateway.actions import Action
from runners.core.tensor import Signature, TensorSpec
from strategies.core.spec import Problem
from strategies.evidence.epochs import ACTION

WORDS = ("equals", "above", "below")
UNREADABLE = ("BF16",)  # held as bit patterns


def output_problems(
    actions: Sequence[Action], signature: Signature, unranked: Collection[str] = ()
) -> Iterator[Problem]:
    """Actions that no answer of this signature can be. Of `unranked` outputs the shape is not known yet."""
    outputs = {spec.name: spec for spec in signature.outputs}
    for action in actions:
        path = ("actions", action.metric.removeprefix(ACTION))
        if action.output not in outputs:
            what = f"the baseline has no output '{action.output}'"
            yield Problem((*path, "output"), what, f"its outputs are {', '.join(outputs)}")
        else:
            yield from _unfit(path, action, outputs[action.output], is_ranked=action.output not in unranked)


def _unfit(path: tuple[str, ...], action: Action, spec: TensorSpec, *, is_ranked: bool) -> Iterator[Problem]:
    is_text = isinstance(action.equals, bytes)
    word = next(word for word in WORDS if getattr(action, word) is not None)
    if spec.datatype in UNREADABLE:
        yield Problem((*path, "output"), f"'{spec.name}' is {spec.datatype}", "name an output of another datatype")
    elif (spec.datatype == "BYTES") != is_text:
        cure = "write equals: and a text in quotes" if spec.datatype == "BYTES" else f"write {word}: and a number"
        what = f"'{spec.name}' is {spec.datatype}, and {_said(action, word)}"
        yield Problem((*path, word), what, cure)
    if is_ranked and (len(spec.shape) > 2 or spec.shape[1:] not in ((), (1,))):
        what = f"'{spec.name}' has shape {list(spec.shape)}, and an action is told by one value a row"
        yield Problem((*path, "output"), what, "name an output of shape [rows] or [rows, 1]")


def _said(action: Action, word: str) -> str:
    value = getattr(action, word)
    return f"'{value.decode()}' is a text" if isinstance(value, bytes) else f"{value:g} is a number"
