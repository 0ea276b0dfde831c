"""The one protocol a strategy keeps: say what is wrong with what was written, then say which plans there are."""

from typing import Protocol

from strategies.core.arm import Arms
from strategies.core.plan import Plan
from strategies.core.spec import Problem
from strategies.core.state import RouteState


class Strategy(Protocol):
    """What an operator writes under `strategy:`, as a frozen dataclass; one per strategy file."""

    @property
    def kind(self) -> str: ...

    def problems(self, arms: Arms) -> list[Problem]:
        """Everything wrong with the document, at once; paths are within the strategy."""
        ...

    def plans(self, arms: Arms, state: RouteState) -> tuple[Plan, ...]:
        """Every plan a unit can draw; shares sum to one million, the baseline's comes last. Only without problems."""
        ...
