"""Ray: an arm that replicas on a Ray cluster answer for. Here they are only asked; who starts them is the agent."""

from msgspec.structs import replace

from runners.core.errors import LoadRefused
from runners.core.runner import Description, Endpoint, ModelRef, ProviderChoice
from runners.embedded import Embedded
from runners.ray.board import Board

GREETED_S = 10.0  # for a replica that is said to be there; the agent's word comes after it has warmed


class RayRunner:
    """Opens endpoints of hosted arms. Without a board there is no cluster."""

    def __init__(self, board: Board | None = None) -> None:
        self._board = board

    async def open(self, model: ModelRef, /) -> Endpoint:
        """An endpoint that asks the replicas there are, and those that come. Raises LoadRefused.

        While there are none it is not ready, and knows what it serves from the file that lies here.
        """
        if self._board is None:
            cure = "write ray: {address: HOST:PORT, secret_file: FILE} in turnout.yaml, or serve with --ray local"
            raise LoadRefused("runner 'ray'", "this gateway knows no Ray cluster", cure)
        hosting = model.hosting
        if hosting is None or not hosting.key:
            raise LoadRefused(f"model '{model.reference}'", "lies in no file here that could be sent to a cluster")
        if not self._board.has_ready(hosting.key):
            return self._board.endpoint(hosting.key, await _described(model))
        endpoint = self._board.endpoint(hosting.key)
        try:
            await endpoint.greeted(GREETED_S)
        except LoadRefused:
            await endpoint.close()
            return self._board.endpoint(hosting.key, await _described(model))
        return endpoint

    async def close(self) -> None:
        """Endpoints are closed by whoever opened them."""


class OpenedHere:
    """Opens what would be hosted elsewhere here and on the CPU, to see whether it can be opened at all."""

    async def open(self, model: ModelRef, /) -> Endpoint:
        """Raises LoadRefused."""
        return await Embedded().open(_here(model))

    async def close(self) -> None:
        """Endpoints are closed by whoever opened them."""


async def _described(model: ModelRef) -> Description:
    """What replicas will say of themselves, found out by opening the model here, for a moment and on the CPU."""
    opened = await Embedded().open(replace(_here(model), golden=None))
    await opened.close()
    return replace(opened.description, provider="", degraded="")


def _here(model: ModelRef) -> ModelRef:
    return replace(model, hosting=None, provider=ProviderChoice(), threads=1)


RUNNER = RayRunner
