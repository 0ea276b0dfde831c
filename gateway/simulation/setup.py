"""What is simulated: one route, its rule and its ramp, and what it compiles to wherever its rollout stands."""

from pathlib import Path

from msgspec import Struct

from gateway.config.compile import compile_route
from gateway.config.compiled import CompiledRoute
from gateway.config.directory import Configuration
from gateway.config.documents import LayersDoc, RouteDoc
from gateway.publishing.rules import rule_of
from strategies.core.assignment import Allocation
from strategies.core.state import RolloutState
from strategies.evidence.rule import Rule
from strategies.rollout.ramp import Ramp


class NoRollout(ValueError):
    """A route whose strategy never moves by itself."""


class Setup(Struct, frozen=True):
    """A checked document with its meaning."""

    document: RouteDoc
    root: Path
    layers: LayersDoc
    rule: Rule
    ramp: Ramp

    def compiled(self, state: RolloutState, before: Allocation | None = None) -> CompiledRoute:
        """The route while its rollout stands there; its map moves as few units as possible from the one before."""
        return compile_route(self.document, root=self.root, layers=self.layers, state=state, before=before)


def setup_of(configuration: Configuration) -> Setup:
    """The one route of a configuration. Raises NoRollout."""
    (document,) = configuration.routes
    route = compile_route(document, root=configuration.root, layers=configuration.layers)
    rule = rule_of(document, route)
    if rule is None:
        kind = document.strategy.kind
        raise NoRollout(f"route '{document.route}' is kind: {kind}, which never moves by itself; only a canary does")
    return Setup(document, configuration.root, configuration.layers, rule, document.strategy.rollout())
