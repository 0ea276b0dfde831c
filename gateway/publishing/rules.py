"""From documents to rules: what a canary's evidence is held against."""

from gateway.config.check import baseline_of, twin_of
from gateway.config.compiled import CompiledRoute
from gateway.config.documents import RouteDoc
from gateway.config.traffic import traffic_of
from strategies.evidence.rule import Rule
from strategies.rollout.guardrails import TIMED, bound_of


def rule_of(document: RouteDoc, route: CompiledRoute) -> Rule | None:
    """What the candidate of a checked document must keep, None for a strategy without a rollout.

    With a twin the rule's baseline is the twin. Latencies of arms that run on different things would compare engines:
    these guardrails are left out.
    """
    strategy = document.strategy
    if strategy.kind != "canary":
        return None
    is_comparable = strategy.candidate not in traffic_of(route).unlike
    return Rule(
        candidate=strategy.candidate,
        baseline=twin_of(document) or baseline_of(document),
        bounds=tuple(bound_of(each) for each in strategy.guardrails if is_comparable or each.metric not in TIMED),
        alpha=strategy.alpha,
        n_min=strategy.n_min,
        rest=baseline_of(document) if twin_of(document) else "",
    )
