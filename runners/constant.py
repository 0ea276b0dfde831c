"""Constant: the dumb model. It answers what a file says, in microseconds, and cannot fail; the last of the fallbacks.

`constant:FILE.json`, for example the class prior where a classifier stood:

    {"inputs":  [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
     "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3], "data": [0.5, 0.3, 0.2]}]}

or the mean per country, 0.1 where a country is unknown:

    {"inputs":  [{"name": "country", "datatype": "BYTES", "shape": [-1, 1]}],
     "outputs": [{"name": "score", "datatype": "FP32", "shape": [-1], "data": [0.1]}],
     "key":     "country",
     "table":   [{"when": "nz", "outputs": [{"name": "score", "data": [0.2]}]},
                 {"when": "no", "outputs": [{"name": "score", "data": [0.4]}]}]}

outputs   Tensors in the protocol's JSON form. Where the first dimension is -1, `data` is one row, and is given once for
          every row of the request; else `data` is the whole tensor, whatever was asked.
inputs    What a request must bring, checked as for any model. Left out, any inputs are taken and ignored.
key       The input, one of `inputs`, whose values choose: one per row, of shape [-1] or [-1, 1], a text, an integer or
          a truth. With it, every output has one row per row.
table     What to answer for which value. An output that is not named, like a value that is not found, has the row of
          `outputs` above.
version   Text, optional; by default the first 12 digits of the file's SHA-256.
"""

import asyncio
from time import monotonic
from typing import Any

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import DeadlineExceeded, InvalidInput, InvalidOutput, LoadRefused, NotReady, quoted, untried
from runners.core.frozen import FrozenFile, freeze
from runners.core.golden import check_golden, read_golden
from runners.core.runner import Description, ModelRef
from runners.core.tensor import (
    DATATYPES,
    InferenceRequest,
    InferenceResponse,
    Signature,
    Tensor,
    TensorSpec,
    rows_of,
)
from runners.core.tensor_json import JsonTensor, tensor_from_json
from runners.registry.resolve import resolve

PLATFORM = "turnout_constant"
FILE_LIMIT_BYTES = 16 << 20
_ANSWER_LIMIT_BYTES = 64 << 20  # a request of empty rows could ask for any number of full ones

_Key = str | int | bool


class _WrittenInput(Struct, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: tuple[int, ...]


class _WrittenOutput(Struct, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Raw


class _WrittenRow(Struct, forbid_unknown_fields=True):
    name: str
    data: Raw


class _WrittenEntry(Struct, forbid_unknown_fields=True):
    when: _Key
    outputs: list[_WrittenRow]


class _Written(Struct, forbid_unknown_fields=True):
    outputs: list[_WrittenOutput]
    inputs: list[_WrittenInput] | None = None
    key: str = ""
    table: list[_WrittenEntry] = []
    version: str = ""


class _Answer(Struct, frozen=True):
    """One output. `rows` has the row for unknown values first, then the table's; or it is the whole tensor."""

    datatype: str
    per_row: bool
    rows: NDArray[Any]


class _Model(Struct, frozen=True):
    signature: Signature
    answers: dict[str, _Answer]
    key: str
    places: dict[Any, int]  # value of the key, as an array gives it -> index into rows
    takes_any: bool
    version: str


class Constant:
    """Opens files of fixed answers."""

    async def open(self, model: ModelRef, /) -> "ConstantEndpoint":
        return await asyncio.to_thread(_open, model)

    async def close(self) -> None:
        """Nothing is held."""


class ConstantEndpoint:
    """One opened file of fixed answers."""

    def __init__(self, model: _Model, description: Description) -> None:
        self.description = description
        self._model: _Model | None = model
        self._names = tuple(model.answers)
        self._check_input = InputCheck(model.signature, strict=not model.takes_any)

    def ready(self) -> bool:
        return self._model is not None

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        model = self._model
        if model is None:
            raise untried(NotReady("the model is closed"))
        self._check_input(request)
        if monotonic() >= deadline_at:
            raise untried(DeadlineExceeded("the deadline had passed before the model was called"))
        return InferenceResponse(self.answer(model, request))

    def answer(self, model: _Model, request: InferenceRequest) -> tuple[Tensor, ...]:
        """The outputs a checked request asks for. Raises InvalidInput where they would be beyond all measure."""
        chosen = _chosen(model, request)
        wanted = [(name, model.answers[name]) for name in request.outputs or self._names]
        size = sum(answer.rows.nbytes // len(answer.rows) for _, answer in wanted if answer.per_row) * len(chosen)
        if size > _ANSWER_LIMIT_BYTES:
            raise InvalidInput(f"{len(chosen)} rows would be answered with {size} bytes")
        return tuple(
            Tensor(name, answer.datatype, answer.rows[chosen] if answer.per_row else answer.rows)
            for name, answer in wanted
        )

    async def close(self) -> None:
        self._model = None


def _chosen(model: _Model, request: InferenceRequest) -> NDArray[np.intp]:
    """For every row of the request, which row answers it."""
    if not model.key:
        return np.zeros(rows_of(request), dtype=np.intp)
    keys = next(tensor.array for tensor in request.inputs if tensor.name == model.key)
    places = model.places
    return np.array([places.get(value, 0) for value in keys.ravel().tolist()], dtype=np.intp)


def declared_in(file: FrozenFile) -> Signature:
    """What a file of fixed answers takes and gives; no inputs if it takes any. Raises LoadRefused."""
    return _read(file).signature


def _read(file: FrozenFile) -> _Model:
    try:
        return _compile(msgspec.json.decode(bytes(file.view), type=_Written))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LoadRefused(file.name, f"is not a constant model: {error}", "docs of runners.constant show one") from None
    except InvalidInput as error:
        raise LoadRefused(file.name, str(error)) from None


def _open(model: ModelRef) -> ConstantEndpoint:
    artifact = resolve(model.reference, model.root)
    name = artifact.path.name
    with freeze(artifact.path, limit_bytes=FILE_LIMIT_BYTES) as file:
        compiled, digest = _read(file), file.digest()
    check_output = OutputCheck(compiled.signature, model.outputs)
    try:
        check_output((), tuple(Tensor(n, answer.datatype, answer.rows) for n, answer in compiled.answers.items()))
    except InvalidOutput as error:
        raise LoadRefused(name, str(error)) from None
    version = model.version or compiled.version or digest[:12]
    endpoint = ConstantEndpoint(
        compiled, Description(compiled.signature, PLATFORM, version, digest, "cpu", _degraded(model))
    )
    if model.golden:
        checks = InputCheck(compiled.signature, strict=not compiled.takes_any), check_output
        cases = read_golden(model.root / model.golden)
        check_golden(name, cases, lambda request: endpoint.answer(compiled, request), checks)
    return endpoint


def _degraded(model: ModelRef) -> str:
    wanted = model.provider
    if wanted.name != "cpu" and wanted.policy == "require":
        raise LoadRefused(f"provider {wanted.name!r}", "a constant runs on no device", "leave the provider out")
    return "" if wanted.name == "cpu" else f"{wanted.name} was preferred, but a constant runs on no device"


def _compile(written: _Written) -> _Model:
    """All that can be wrong with a file is found here. Raises InvalidInput."""
    inputs = tuple(_input(each) for each in written.inputs or ())
    if not written.outputs:
        raise InvalidInput("it declares no outputs")
    _distinct("input", [spec.name for spec in inputs])
    _distinct("output", [output.name for output in written.outputs])
    places = _places(written, inputs)
    return _Model(
        signature=Signature(inputs, tuple(TensorSpec(o.name, o.datatype, o.shape) for o in written.outputs)),
        answers={output.name: _answer(output, written) for output in written.outputs},
        key=written.key,
        places=places,
        takes_any=written.inputs is None,
        version=written.version,
    )


def _input(written: _WrittenInput) -> TensorSpec:
    if written.datatype not in DATATYPES:
        raise InvalidInput(f"input {quoted(written.name)} has datatype {quoted(written.datatype)}, which there is not")
    if any(size < -1 for size in written.shape):
        raise InvalidInput(f"input {quoted(written.name)} has a dimension below -1")
    return TensorSpec(written.name, written.datatype, written.shape)


def _answer(output: _WrittenOutput, written: _Written) -> _Answer:
    per_row = output.shape[:1] == (-1,)
    if written.key and not per_row:
        raise InvalidInput(f"output {quoted(output.name)} must have the first dimension -1, as there is a key")
    shape = output.shape[1:] if per_row else output.shape
    whole = tensor_from_json(JsonTensor(output.name, shape, output.datatype, output.data)).array
    if not per_row:
        return _Answer(output.datatype, per_row, whole)
    rows = [whole]
    for entry in written.table:
        own = [row.data for row in entry.outputs if row.name == output.name]
        rows += [tensor_from_json(JsonTensor(output.name, shape, output.datatype, data)).array for data in own]
        rows += [] if own else [whole]
    return _Answer(output.datatype, per_row, np.stack(rows))


def _places(written: _Written, inputs: tuple[TensorSpec, ...]) -> dict[Any, int]:
    if bool(written.key) != bool(written.table):
        raise InvalidInput("key and table go together, and one of them is missing")
    if not written.key:
        return {}
    spec = next((spec for spec in inputs if spec.name == written.key), None)
    if spec is None or spec.shape not in ((-1,), (-1, 1)):
        raise InvalidInput(f"key {quoted(written.key)} must be one of the inputs, of shape [-1] or [-1, 1]")
    outputs = {output.name for output in written.outputs}
    places: dict[Any, int] = {}
    for index, entry in enumerate(written.table, 1):
        value = _value(entry.when, spec)
        if value in places:
            raise InvalidInput(f"the table has {entry.when!r} twice")
        names = [row.name for row in entry.outputs]
        _distinct(f"output of {entry.when!r}", names)
        if unknown := set(names) - outputs:
            raise InvalidInput(f"the table has outputs for {entry.when!r} that are not declared: {sorted(unknown)}")
        places[value] = index
    return places


def _value(when: _Key, spec: TensorSpec) -> Any:
    """A value of the key as an array of its datatype gives it."""
    match when:
        case bool() if spec.datatype == "BOOL":
            return when
        case str() if spec.datatype == "BYTES":
            return when.encode()
        case int() if not isinstance(when, bool) and DATATYPES[spec.datatype].numpy.kind in "iu":
            return when
        case _:
            raise InvalidInput(f"the table has {when!r}, but {quoted(spec.name)} is {spec.datatype}")


def _distinct(what: str, names: list[str]) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidInput(f"{what} {sorted(twice)} is declared twice")


RUNNER = Constant
