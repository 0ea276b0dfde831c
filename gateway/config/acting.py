"""A route's actions: what its document says of them, and whether its models have such outputs."""

from collections.abc import Collection, Iterator, Sequence
from math import isnan

from gateway.actions import Action
from gateway.config.documents import ActionDoc, RouteDoc
from runners.core.tensor import Signature, TensorSpec
from strategies.core.spec import Problem
from strategies.evidence.epochs import ACTION

WORDS = ("equals", "above", "below")
UNREADABLE = ("BF16",)  # held as bit patterns


def actions_of(document: RouteDoc) -> tuple[Action, ...]:
    """What is counted of a checked document's answers."""
    return tuple(
        Action(
            metric=ACTION + name,
            output=written.output,
            equals=written.equals.encode() if isinstance(written.equals, str) else written.equals,
            above=written.above,
            below=written.below,
        )
        for name, written in document.actions.items()
    )


def action_problems(document: RouteDoc) -> Iterator[Problem]:
    """What is wrong with them, and with guardrails that name them, whatever the models are."""
    for name, written in document.actions.items():
        yield from _unclear(("actions", name), written)
    for place, guardrail in enumerate(getattr(document.strategy, "guardrails", ())):
        if guardrail.action and guardrail.action not in document.actions:
            cure = f"the actions are {', '.join(document.actions)}" if document.actions else "declare it under actions:"
            what = f"no action is called '{guardrail.action}'"
            yield Problem(("strategy", "guardrails", place, "action"), what, cure)


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


def _unclear(path: tuple[str, ...], written: ActionDoc) -> Iterator[Problem]:
    said = [word for word in WORDS if getattr(written, word) is not None]
    if len(said) != 1:
        what = f"an answer is an action by one comparison, here there is {' and '.join(said) or 'none'}"
        yield Problem(path, what, "write one of equals, above and below")
    for word in said:
        value = getattr(written, word)
        if isinstance(value, float) and isnan(value):
            yield Problem((*path, word), "nothing compares to NaN", "write a number")


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
