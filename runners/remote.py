"""Remote: a model on another server that speaks the Open Inference Protocol, over HTTP or gRPC.

Nothing is run here, so this process cannot vouch for it: an endpoint knows the model by the server's metadata, believes
the server up or down (oip/watch.py), and fails at once with NotReady while it is believed down.
"""

import asyncio
from time import monotonic

from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidOutput,
    LoadRefused,
    NotReady,
    Overloaded,
    RunnerError,
    untried,
)
from runners.core.golden import mismatch, read_golden
from runners.core.runner import Description, ModelRef, RemoteServer
from runners.core.tensor import InferenceRequest, InferenceResponse, Tensor
from runners.oip.address import Address, read_reference, read_url
from runners.oip.client import Client, Metadata, Unreachable
from runners.oip.credentials import Token, channel_credentials, ssl_context
from runners.oip.grpc_client import GrpcClient
from runners.oip.http_client import HttpClient
from runners.oip.watch import DEFAULT_PACE, Pace, Watch

PROVIDER = "remote"
UNPINNED = "unpinned"  # the version of an arm whose server chooses it anew for every request
CALLS_LIMIT_N = 128  # under way at once; each may hold a connection, and an answer of the largest size
LOAD_LIMIT_S = 10.0
_ASK_S = 2.0  # for one question that is no inference
_FIRST_RETRY_S, _LAST_RETRY_S = 0.1, 2.0
_GOLDEN_S = 60.0


class Remote:
    """Opens models on other servers. Every endpoint has connections of its own."""

    def __init__(self, *, pace: Pace = DEFAULT_PACE, load_limit_s: float = LOAD_LIMIT_S) -> None:
        self._pace = pace
        self._load_limit_s = load_limit_s

    async def open(self, model: ModelRef, /) -> "RemoteEndpoint":
        """Ask the server what the model takes and gives. Raises LoadRefused, if need be after trying for 10 s."""
        if model.server is None:
            raise LoadRefused(model.reference, "has no server", "write its url")
        try:
            name, version = read_reference(model.reference)
            address = read_url(model.server.url)
        except ValueError as error:
            raise LoadRefused(model.reference, f"cannot be reached: {error}") from None
        token = await asyncio.to_thread(Token, model.server.token_file)
        client = await _connect(model.server, address, token, name, version)
        try:
            metadata = await self._learn(client, model.reference)
            endpoint = RemoteEndpoint(model, metadata, client, token, self._pace)
            if model.golden:
                await _ask_golden(model, endpoint)
        except BaseException:
            await client.close()
            raise
        endpoint.watch.start()
        return endpoint

    async def close(self) -> None:
        """Nothing is shared between endpoints, so nothing is left to let go of."""

    async def _learn(self, client: Client, name: str) -> Metadata:
        """The model's metadata, once the server says that it is ready; a server may still be starting."""
        until = monotonic() + self._load_limit_s
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                await client.check_ready(min(until, monotonic() + _ASK_S))
                return await client.metadata(min(until, monotonic() + _ASK_S))
            except (Unreachable, NotReady, Overloaded, DeadlineExceeded) as error:
                if monotonic() + delay_s >= until:
                    raise LoadRefused(name, f"was not ready within {self._load_limit_s:g} s: {error}") from None
            except RunnerError as error:
                raise LoadRefused(name, str(error)) from None
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, _LAST_RETRY_S)


class RemoteEndpoint:
    """One model on another server. `watch` is to be started by whoever made this, and is stopped by `close`."""

    def __init__(self, model: ModelRef, metadata: Metadata, client: Client, token: Token, pace: Pace) -> None:
        """Raises LoadRefused for a policy that cannot hold of this model."""
        signature = metadata.signature
        self.description = Description(
            signature=signature,
            platform=metadata.platform or PROVIDER,
            version=model.version or _version(model, metadata),
            digest="",
            provider=PROVIDER,
        )
        self.watch = Watch(model.reference, self._probe, pace)
        self._client = client
        self._token = token
        self._names = tuple(spec.name for spec in signature.outputs)
        self._check_input = InputCheck(signature)
        self._check_output = OutputCheck(signature, model.outputs)
        self._calls_n = 0
        self._is_closed = False

    def ready(self) -> bool:
        return self.watch.is_up

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        if self._is_closed:
            raise untried(NotReady("the model is closed"))
        self._check_input(request)
        if monotonic() >= deadline_at:
            raise untried(DeadlineExceeded("the deadline had passed before the remote server was called"))
        if not self.watch.is_up:
            raise NotReady(f"the remote server is down: {self.watch.why}")
        if self._calls_n >= CALLS_LIMIT_N:
            raise Overloaded(f"{CALLS_LIMIT_N} calls are under way at the remote server already")
        self._calls_n += 1
        try:
            answered = await self._client.infer(request, deadline_at)
        except Unreachable as error:
            self.watch.doubt(str(error), is_down=True)
            raise NotReady(str(error)) from None
        except Overloaded as error:
            error.is_untried = False  # it was asked: not to bear the load is its own fault
            raise
        except (NotReady, InvalidInput) as error:  # a server may call its own troubles a bad request, as MLServer does
            self.watch.doubt(str(error), is_down=False)
            raise
        finally:
            self._calls_n -= 1
        outputs = _wanted(request.outputs or self._names, answered)
        self._check_output(request.outputs, outputs)
        return InferenceResponse(outputs)

    async def close(self) -> None:
        self._is_closed = True
        await self.watch.stop()
        await self._client.close()

    async def _probe(self, is_up: bool) -> None:
        """Raises a RunnerError unless the model would answer, and is the one that was opened."""
        await asyncio.to_thread(self._token.refresh)
        try:
            await self._client.check_ready(monotonic() + _ASK_S)
            metadata = None if is_up else await self._client.metadata(monotonic() + _ASK_S)
        except Unreachable as error:
            raise NotReady(str(error)) from None
        if metadata and metadata.signature != self.description.signature:
            raise NotReady("the remote server came back with another signature")


async def _connect(server: RemoteServer, address: Address, token: Token, name: str, version: str) -> Client:
    """Raises LoadRefused for files that cannot be used; nothing is sent yet."""
    if address.is_grpc:
        credentials = await asyncio.to_thread(channel_credentials, server) if address.is_secure else None
        return GrpcClient(address, credentials, token, name, version)
    context = await asyncio.to_thread(ssl_context, server) if address.is_secure else None
    return HttpClient(address, context, token, name, version)


async def _ask_golden(model: ModelRef, endpoint: RemoteEndpoint) -> None:
    """Raises LoadRefused, saying which golden request was not answered as expected."""
    assert model.golden
    for number, case in enumerate(await asyncio.to_thread(read_golden, model.root / model.golden), 1):
        try:
            answer = await endpoint.infer(case.request, deadline_at=monotonic() + _GOLDEN_S)
        except RunnerError as error:
            raise LoadRefused(model.reference, f"failed golden request {number}: {error}") from None
        fault = mismatch(case, answer.outputs)
        if fault:
            raise LoadRefused(model.reference, f"failed golden request {number}: {fault}")


def _version(model: ModelRef, metadata: Metadata) -> str:
    """The version asked for, else the only one there is."""
    _, asked = read_reference(model.reference)
    return asked or (metadata.versions[0] if len(metadata.versions) == 1 else UNPINNED)


def _wanted(names: tuple[str, ...], answered: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What was asked for, in the order asked; servers give outputs in their own order, and some give all of them."""
    given = {tensor.name: tensor for tensor in answered}
    if len(given) != len(answered):
        raise InvalidOutput("the remote server gave an output twice")
    return tuple([given[name] for name in names if name in given])


RUNNER = Remote
