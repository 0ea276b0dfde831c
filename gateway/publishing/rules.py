"""From documents to rules: what a canary's evidence is held against."""

from gateway.config.compiled import CompiledRoute
from gateway.config.documents import RouteDoc
from gateway.config.traffic import traffic_of
from strategies.core.arm import Role
from strategies.evidence.rule import Rule
from strategies.rollout.guardrails import TIMED, bound_of


def rule_of(document: RouteDoc, route: CompiledRoute) -> Rule | None:
    """What the candidate of a checked document must keep, None for a strategy without a rollout.

    Latencies of arms that run on different things would compare engines: these guardrails are left out.
    """
    strategy = document.strategy
    if strategy.kind != "canary":
        return None
    is_comparable = strategy.candidate not in traffic_of(route).unlike
    return Rule(
        candidate=strategy.candidate,
        baseline=next(name for name, arm in document.arms.items() if arm.role is Role.BASELINE),
        bounds=tuple(bound_of(each) for each in strategy.guardrails if is_comparable or each.metric not in TIMED),
        alpha=strategy.alpha,
        n_min=strategy.n_min,
    )
