"""What both transports have in common: what they promise, and what of a server's word is believed."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from msgspec import Struct

from runners.core.errors import InvalidOutput, quoted
from runners.core.tensor import DATATYPES, InferenceRequest, Parameter, Signature, Tensor, TensorSpec

ANSWER_LIMIT_BYTES = 64 << 20
_WORD_LENGTH = 128
_TEXT_LENGTH = 300
_TENSORS_N = 1024
_HEADER_LENGTH = 8192
_LARGEST_DIM = 2**31
_KEPT_HERE = ("turnout_", "triton_", "timeout", "binary_data_output")  # parameters between a caller and its server


class Unreachable(Exception):
    """No connection was to be had, or the one there was broke: NotReady for the caller, and more for the watch."""


class Metadata(Struct, frozen=True):
    """What a server says of a model, once checked. `versions` are those it has, () when it does not tell."""

    signature: Signature
    platform: str
    versions: tuple[str, ...]


class WireSpec(Struct, frozen=True):
    """An input or output as a server's metadata has it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Client(Protocol):
    """One model of one server. All methods raise RunnerErrors, or Unreachable where the server is away."""

    async def metadata(self, deadline_at: float, /) -> Metadata: ...

    async def check_ready(self, deadline_at: float, /) -> None:
        """Raises NotReady unless the server says that it would answer."""
        ...

    async def infer(self, request: InferenceRequest, deadline_at: float, /) -> tuple[Tensor, ...]:
        """All that was answered, in the server's order. Ends by `deadline_at`; a caller who leaves ends the call."""
        ...

    async def close(self) -> None:
        """Calls under way fail with NotReady or Unreachable."""
        ...


def metadata_of(
    platform: str, versions: tuple[str, ...], inputs: tuple[WireSpec, ...], outputs: tuple[WireSpec, ...]
) -> Metadata:
    """A server's word, taken with care: versions and names go on into headers and logs. Raises InvalidOutput."""
    for word in (platform, *versions):
        if len(word) > _WORD_LENGTH or not (word.isascii() and word.isprintable()):
            raise InvalidOutput(f"its metadata holds {quoted(word)}, which is no name")
    if not outputs:
        raise InvalidOutput("its metadata declares no outputs; Turnout has to know what a model takes and gives")
    signature = Signature(tuple(_specs("input", inputs)), tuple(_specs("output", outputs)))
    return Metadata(signature, platform, tuple(word for word in versions if word))


def onward(context: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The headers of `context` that can be sent: a value that could end a line is as if it were not there."""
    for name, value in context.items():
        if value and len(value) <= _HEADER_LENGTH and value.isascii() and value.isprintable():
            yield name, value


def parameters_onward(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """A caller's parameters that are meant for the model."""
    return {name: value for name, value in parameters.items() if not name.startswith(_KEPT_HERE)}


def shown(text: str) -> str:
    """What a server wrote, as part of an error: one printable line, cut."""
    cut = text[:_TEXT_LENGTH]
    return cut if cut.isprintable() else "".join([char if char.isprintable() else " " for char in cut])


def _specs(what: str, written: tuple[WireSpec, ...]) -> Iterator[TensorSpec]:
    if len(written) > _TENSORS_N or len({spec.name for spec in written}) != len(written):
        raise InvalidOutput(f"its metadata declares {len(written)} {what}s, some of them twice or far too many")
    for spec in written:
        if spec.datatype not in DATATYPES:
            raise InvalidOutput(f"its {what} {quoted(spec.name)} has datatype {quoted(spec.datatype)}")
        if not spec.name or any(not -1 <= dim < _LARGEST_DIM for dim in spec.shape):
            raise InvalidOutput(f"its {what} {quoted(spec.name)} has shape {quoted(str(list(spec.shape)))}")
        yield TensorSpec(spec.name, spec.datatype, spec.shape)
