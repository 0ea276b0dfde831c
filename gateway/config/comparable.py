"""Whether the arms of a canary can be compared in what its guardrails measure."""

from collections.abc import Iterator

from gateway.config.documents import RouteDoc
from gateway.config.traffic import Traffic
from strategies.core.spec import Problem
from strategies.rollout.guardrails import DEFAULT_GUARDRAILS, TIMED


def comparable_problems(document: RouteDoc, traffic: Traffic) -> Iterator[Problem]:
    """Guardrails on latency written for arms that run on different things; those by default are just left out."""
    guardrails = document.strategy.guardrails if document.strategy.kind == "canary" else DEFAULT_GUARDRAILS
    if guardrails == DEFAULT_GUARDRAILS:
        return
    candidate = document.strategy.candidate
    for place, guardrail in enumerate(guardrails):
        if guardrail.metric in TIMED and (words := traffic.unlike.get(candidate)):
            what = f"'{candidate}' has {', '.join(words)}: latencies would compare engines, not models"
            cure = "run both arms alike, or leave this guardrail out"
            yield Problem(("strategy", "guardrails", place, "metric"), what, cure)
