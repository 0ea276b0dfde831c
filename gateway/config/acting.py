"""A route's actions: what its document says of them."""

from collections.abc import Iterator
from math import isnan

from gateway.actions import Action
from gateway.config.countable import WORDS
from gateway.config.documents import ActionDoc, RouteDoc
from strategies.core.spec import Problem
from strategies.evidence.epochs import ACTION


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


def _unclear(path: tuple[str, ...], written: ActionDoc) -> Iterator[Problem]:
    said = [word for word in WORDS if getattr(written, word) is not None]
    if len(said) != 1:
        what = f"an answer is an action by one comparison, here there is {' and '.join(said) or 'none'}"
        yield Problem(path, what, "write one of equals, above and below")
    for word in said:
        value = getattr(written, word)
        if isinstance(value, float) and isnan(value):
            yield Problem((*path, word), "nothing compares to NaN", "write a number")
