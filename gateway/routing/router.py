"""The router holds one table, no more; swapping it is how traffic changes."""

from difflib import get_close_matches

from gateway.errors import UnknownModel
from gateway.routing.table import BoundRoute, RoutingTable
from runners.core.errors import NotReady


class Router:
    """Finds the route of a public model name in the table that is live now."""

    def __init__(self, table: RoutingTable) -> None:
        self._table = table

    @property
    def table(self) -> RoutingTable:
        return self._table

    def route(self, name: str) -> BoundRoute:
        """Raise UnknownModel for a name nobody wrote, NotReady for a route whose models could not be opened."""
        route = self._table.routes.get(name)
        if route is None:
            raise self._refusal(name)
        return route

    def swap(self, table: RoutingTable) -> RoutingTable:
        """Make `table` live and return the one it replaces, whose requests may still be under way."""
        before, self._table = self._table, table
        return before

    def _refusal(self, name: str) -> Exception:
        if name in self._table.quarantined:
            return NotReady(f"model '{name}' is not ready: {self._table.quarantined[name]}")
        near = get_close_matches(name[:100], self._table.routes, n=1)
        return UnknownModel(f"no model '{name[:100]}' here" + (f"; did you mean '{near[0]}'?" if near else ""))
