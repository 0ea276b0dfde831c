"""Fake: a runner for tests, whose models do what a script says.

    endpoint = FakeEndpoint(signature, [Answer(outputs), Fail(ExecutionFailed("it raised")), Hang()])

plays the script one act a call, and goes on with its last act. It checks requests and keeps deadlines like any other.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from msgspec import Struct

from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import DeadlineExceeded, LoadRefused, NotReady, RunnerError, untried
from runners.core.runner import Description, ModelRef, OutputPolicy
from runners.core.tensor import InferenceRequest, InferenceResponse, Signature, Tensor

PLATFORM = "turnout_fake"


class Answer(Struct, frozen=True):
    """Give these outputs, those of them that were asked for."""

    outputs: tuple[Tensor, ...]


class Compute(Struct, frozen=True):
    """Give what `by` makes of the request: all outputs, in the signature's order."""

    by: Callable[[InferenceRequest], tuple[Tensor, ...]]


class Fail(Struct, frozen=True):
    """Raise this."""

    error: RunnerError


class Hang(Struct, frozen=True):
    """Never answer: the deadline does."""


class Wait(Struct, frozen=True):
    """Answer as `then` says once `until` is set, or miss the deadline."""

    until: asyncio.Event
    then: "Answer | Compute"


Act = Answer | Compute | Fail | Hang | Wait


class Fake:
    """Opens the endpoints it was given, by reference."""

    def __init__(self, endpoints: Mapping[str, "FakeEndpoint"] | None = None) -> None:
        self._endpoints = endpoints or {}

    async def open(self, model: ModelRef, /) -> "FakeEndpoint":
        if model.reference not in self._endpoints:
            raise LoadRefused(model.reference, "no script was given for it", "fakes are for tests")
        return self._endpoints[model.reference]

    async def close(self) -> None:
        """The endpoints belong to the test."""


class FakeEndpoint:
    """Plays a script. `requests` are all that reached it, refused ones too; `is_broken` makes it not ready."""

    def __init__(
        self,
        signature: Signature,
        script: Sequence[Act],
        *,
        description: Description | None = None,
        policy: OutputPolicy | None = None,
    ) -> None:
        self.description = description or Description(signature, PLATFORM, "1", "f" * 64, "cpu")
        self.requests: list[InferenceRequest] = []
        self.is_broken = False
        self._closed = asyncio.Event()
        self._script = list(script)
        self._names = tuple(spec.name for spec in signature.outputs)
        self._check_input = InputCheck(signature)
        self._check_output = OutputCheck(signature, policy or OutputPolicy())

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def ready(self) -> bool:
        return not (self.is_broken or self.is_closed)

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        self.requests.append(request)
        if not self.ready():
            raise NotReady("the fake is closed" if self.is_closed else "the fake is broken")
        self._check_input(request)
        if monotonic() >= deadline_at:
            raise untried(DeadlineExceeded("the deadline had passed before the fake was called"))
        act = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        outputs = await self._play(act, request, deadline_at)
        self._check_output(request.outputs, outputs)
        return InferenceResponse(outputs)

    async def close(self) -> None:
        self._closed.set()

    async def _play(self, act: Act, request: InferenceRequest, deadline_at: float) -> tuple[Tensor, ...]:
        match act:
            case Answer(outputs):
                return self._wanted(request, outputs)
            case Compute(by):
                return self._wanted(request, by(request))
            case Fail(error):
                raise error
            case Hang():
                return await self._play(Wait(asyncio.Event(), Answer(())), request, deadline_at)
            case Wait(until, then):
                await self._wait(until, deadline_at)
                return await self._play(then, request, deadline_at)

    async def _wait(self, until: asyncio.Event, deadline_at: float) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (until, self._closed)]
        try:
            remaining_s = deadline_at - monotonic()
            await asyncio.wait(waits, timeout=remaining_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self.is_closed:
            raise untried(NotReady("the fake was closed"))
        if not until.is_set():
            raise DeadlineExceeded("the deadline passed before the fake had answered")

    def _wanted(self, request: InferenceRequest, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Outputs as asked for; what a script gives too much or too little stays so, for the check to find."""
        if not request.outputs:
            return outputs
        given = {tensor.name: tensor for tensor in outputs}
        return tuple(given[name] for name in request.outputs if name in given)


RUNNER = Fake
