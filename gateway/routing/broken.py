"""An arm that could not be opened: it keeps its place, so that its units stay assigned and evidence says so."""

from runners.core.errors import NotReady
from runners.core.runner import Description
from runners.core.tensor import InferenceRequest, InferenceResponse, Signature


class BrokenEndpoint:
    """Fails every call at once with the reason why the model was not opened."""

    def __init__(self, reason: str, version: str) -> None:
        self._reason = reason
        self.description = Description(Signature((), ()), "none", version or "none", "", "none", degraded=reason)

    def ready(self) -> bool:
        return False

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:  # noqa: ARG002
        raise NotReady(self._reason)

    async def close(self) -> None:
        return
