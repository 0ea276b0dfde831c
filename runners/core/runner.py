"""The two protocols of this room: a runner opens models, an endpoint answers for one opened model."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from runners.core.tensor import InferenceRequest, InferenceResponse, Signature

NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


class ProviderChoice(Struct, frozen=True):
    """Where a model shall run. `require` fails the load when the provider is not there; `prefer` takes the CPU."""

    name: str = "cpu"  # cpu, cuda, tensorrt, openvino
    policy: str = "require"  # require, prefer
    options: Mapping[str, str] = NO_OPTIONS


class OutputPolicy(Struct, frozen=True):
    """What an answer must keep to beyond its signature. `ranges`: output name, lowest and highest value allowed."""

    nan: str = "reject"  # reject, pass
    ranges: tuple[tuple[str, float, float], ...] = ()


class Batching(Struct, frozen=True):
    """How calls may share a run: at most `max_rows` rows in it, held back for `max_wait_s` at most; 1 row is none.

    `tolerance` is how far, absolute, in the unit of an output, rows run together may be from rows run apart.
    """

    max_rows: int = 64
    max_wait_s: float = 0.0
    tolerance: float = 0.0


class RemoteServer(Struct, frozen=True):
    """Where a model that is not held here is served, and what that server is shown. Files are absent where None."""

    url: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    token_file: Path | None = None


class Hosting(Struct, frozen=True):
    """What an arm on a Ray cluster is given there, and under which name it is kept.

    `key` names what is run: equal for arms that one application could serve. `memory_bytes` 0 and `accelerator_type` ""
    ask for nothing. There are `replicas`; with `most` there may be up to that many, one for every `target` calls under
    way, and `replicas`, then the fewest, may be 0.
    """

    key: str = ""
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory_bytes: int = 0
    accelerator_type: str = ""
    replicas: int = 1
    most: int = 0
    target: float = 8.0


class ModelRef(Struct, frozen=True):
    """Which model to open, and how.

    `reference` is as the operator wrote it ("file:models/a.onnx", "bento:name:version", "constant:prior.json",
    "remote:name:version", which needs a `server`), paths relative to `root`. `golden` is a file of requests with the
    answers expected. `threads` are intra-op threads. `background` asks for a session and a niced thread of its own,
    for calls that no client waits for. `hosting` is for models on Ray. `is_twin` asks for an instance apart from all
    that serve otherwise.
    """

    reference: str
    root: Path
    version: str = ""
    provider: ProviderChoice = ProviderChoice()
    outputs: OutputPolicy = OutputPolicy()
    golden: Path | None = None
    threads: int = 1
    background: bool = False
    batching: Batching = Batching()
    server: RemoteServer | None = None
    hosting: Hosting | None = None
    is_twin: bool = False


class Description(Struct, frozen=True):
    """What an opened model turned out to be.

    `digest` is the SHA-256 of the model file in hex ("" where there is no file here), `version` what the operator, the
    registry, the remote server or the digest's first 12 digits say, `provider` the one the session really got,
    `degraded` why that is not the one preferred ("" if it is). `held_bytes` is the size of a model file that is held in
    this process's memory, and nowhere else, with all its weights; 0 for what is elsewhere, or of unknown size.
    """

    signature: Signature
    platform: str
    version: str
    digest: str
    provider: str
    degraded: str = ""
    held_bytes: int = 0


class Endpoint(Protocol):
    """An opened model. May be shared by routes; all methods are called on the event loop."""

    @property
    def description(self) -> Description: ...

    def ready(self) -> bool:
        """Whether a call made now would be tried at all."""
        ...

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        """Answer by `deadline_at` (time.monotonic seconds) or raise a RunnerError by then, whatever the model does."""
        ...

    async def close(self) -> None:
        """Let go of the model. Calls under way fail with NotReady; closing twice is harmless."""
        ...


class Runner(Protocol):
    """Opens models of one kind."""

    async def open(self, model: ModelRef, /) -> Endpoint:
        """Load, check, warm, and return an endpoint that is ready; raises LoadRefused."""
        ...

    async def close(self) -> None: ...
