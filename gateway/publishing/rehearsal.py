"""A rehearsal: models that a change needs are opened where nothing is served, and closed again."""

from collections.abc import Mapping

from gateway.config.bind import Binder
from gateway.publishing.prepare import Meaning
from gateway.routing.leases import Leases
from observability.metrics import Metrics
from runners.core.catalogue import Runners
from runners.ray.opener import OpenedHere


class Rehearsal:
    """In the place of a fleet, for whoever changes the state beside the gateways that follow it."""

    def __init__(self, *, is_opening: bool) -> None:
        """Without `is_opening` models are believed to be fine, as they must be where they are not at hand."""
        self._is_opening = is_opening
        self._known: set[str] = set()

    def knows(self, meaning: Meaning) -> None:
        """Models of this revision are served already, and need no rehearsal."""
        self._known = {arm.key for route in meaning.routes.values() for arm in route.arms}

    async def warm(self, meaning: Meaning) -> Mapping[str, str]:
        """Open what is not known yet; returns what could not be opened, with the reason."""
        fresh = [
            route for route in meaning.routes.values() if not self._known.issuperset(arm.key for arm in route.arms)
        ]
        if not fresh or not self._is_opening:
            return {}
        runners = Runners({"ray": OpenedHere()})
        try:
            binder = Binder(Leases(runners.find), metrics=Metrics(""), report=lambda _event: None)
            bound = await binder.bind(meaning.number, fresh)
            await bound.lease.end()
            return bound.refused
        finally:
            await runners.close()

    def discard(self, _number: int) -> None:
        """Nothing stays open."""

    async def swap(self, _meaning: Meaning) -> None:
        """Gateways follow the store by themselves."""
