"""Sessions: how one is built from a file, what it says of itself, and how one request is run through it."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from msgspec import Struct
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput, LoadRefused, quoted
from runners.core.frozen import freeze
from runners.core.runner import ProviderChoice
from runners.core.tensor import DATATYPES, InferenceRequest, Signature, Tensor, TensorSpec
from runners.onnx.external import digest_of, frozen_externals
from runners.onnx.graph import MODEL_LIMIT_BYTES, GraphFacts, read_graph
from runners.onnx.messages import short_text
from runners.onnx.providers import ChosenProvider, choose_provider, missing, was_got

_BY_ONNX_TYPE = {datatype.onnx: datatype.name for datatype in DATATYPES.values()}
_BFLOAT16 = 16  # TensorProto.DataType
_FATAL = 4


class LoadedModel(Struct, frozen=True):
    """A session with all that is known of the file it came from. `size_bytes` is without external data."""

    session: "OnnxSession"
    facts: GraphFacts
    digest: str
    size_bytes: int
    provider: ChosenProvider


class OnnxSession:
    """A built session. Runs may overlap, in several threads."""

    def __init__(self, session: ort.InferenceSession, signature: Signature) -> None:
        self.signature = signature
        self._names = tuple(spec.name for spec in signature.outputs)
        self._datatypes = {spec.name: spec.datatype for spec in signature.outputs}
        self._all_datatypes = list(self._datatypes.values())
        self._session = session
        # Without Python's checks around it, which repeat ours: 0.5 us of 6.
        self._run = session._sess.run  # noqa: SLF001
        used = {spec.datatype for spec in (*signature.inputs, *signature.outputs)}
        self._takes_values = "BF16" in used  # a method kept here would be a cycle, and a closed model stay in memory
        self._has_text_in = any(spec.datatype == "BYTES" for spec in signature.inputs)
        self._has_text_out = any(spec.datatype == "BYTES" for spec in signature.outputs)

    def run(self, request: InferenceRequest, options: ort.RunOptions | None = None) -> tuple[Tensor, ...]:
        """The outputs that a checked request asks for, in the order it asks.

        Raises InvalidInput for BYTES that are not UTF-8, DeadlineExceeded when `options` told it to terminate, and
        ExecutionFailed.
        """
        wanted = request.outputs
        names = wanted or self._names
        feed = {tensor.name: tensor.array for tensor in request.inputs}
        if self._has_text_in:
            feed = {tensor.name: _decoded(tensor) for tensor in request.inputs}
        try:
            if self._takes_values:
                arrays = self._call_with_values(names, feed, options)
            else:
                arrays = self._run(names, feed, options)
        except Exception as error:  # noqa: BLE001  whatever the runtime raises, the model has failed
            if options is not None and options.terminate:
                raise DeadlineExceeded("the run was stopped") from None
            raise ExecutionFailed(short_text(error)) from None
        if self._has_text_out:
            arrays = [_encoded(array) for array in arrays]
        datatypes = [self._datatypes[name] for name in wanted] if wanted else self._all_datatypes
        return tuple(map(Tensor, names, datatypes, arrays))

    def _call_with_values(
        self, names: Sequence[str], feed: dict[str, NDArray[Any]], options: ort.RunOptions | None
    ) -> list[NDArray[Any]]:
        """For BF16, which numpy does not know: bit patterns go in and come out as ONNX Runtime's own values."""
        datatypes = {spec.name: spec.datatype for spec in self.signature.inputs}
        values = {name: _value(array, datatypes[name]) for name, array in feed.items()}
        results = self._session.run_with_ort_values(list(names), values, options)
        return [_array(value) for value in results]


def load_model(
    path: Path, choice: ProviderChoice, *, threads: int, options: ort.SessionOptions, digest: str = ""
) -> LoadedModel:
    """Check the file at `path`, build a session from those very bytes, and read what it says of itself.

    Blocks for as long as it takes; `options` come from `session_options` and can cancel it from another thread.
    `digest` is what the registry says the model has, "" if it says nothing. Raises LoadRefused, naming the file alone.
    """
    chosen = choose_provider(choice, ort.get_available_providers())
    with freeze(path, limit_bytes=MODEL_LIMIT_BYTES) as file:
        facts = read_graph(file)
        with frozen_externals(file.name, path.resolve().parent, facts) as externals:
            found = digest_of(file, externals)
            if digest and digest != found:
                raise LoadRefused(
                    file.name, f"has SHA-256 {found[:12]}..., the registry says {digest[:12]}...", "import it again"
                )
            options.intra_op_num_threads = threads
            options.add_external_initializers_from_files_in_memory(
                list(externals), [each.view for each in externals.values()], [each.size for each in externals.values()]
            )
            session, got = _build(file.path, file.name, choice, chosen, options)
        signature = _signature(session, file.name, facts)
        return LoadedModel(OnnxSession(session, signature), facts, found, file.size, got)


def session_options() -> ort.SessionOptions:
    """The options of every session here; `set_load_cancellation_flag(True)` on them stops the load."""
    options = ort.SessionOptions()
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # What fails is raised as well; a model that fails on every call would write a line to stderr for each.
    options.log_severity_level = _FATAL
    # Threads that spin while they wait would take the cores from the event loop.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # Otherwise the runtime guesses the format, and its own format was not looked at.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return options


def _build(
    path: str, name: str, choice: ProviderChoice, chosen: ChosenProvider, options: ort.SessionOptions
) -> tuple[ort.InferenceSession, ChosenProvider]:
    """A session on the chosen provider, or on the CPU where that is allowed, and which of them it was."""
    if chosen.name in ("cuda", "tensorrt"):
        ort.preload_dlls(directory="")  # CUDA and cuDNN as pip installed them
    try:
        session = _session(path, chosen, options)
        if was_got(chosen, session.get_providers()):
            return session, chosen
        why = "the session came up without it, its libraries or its device are missing"
    except ort_errors.ModelLoadCanceled:
        raise LoadRefused(name, "loading was stopped") from None
    except Exception as error:  # noqa: BLE001  whatever the runtime raises, there is no session
        if chosen.name == "cpu":
            raise _refusal(name, error) from None
        why = f"no session could be built on it: {short_text(error)}"
    chosen = missing(choice, why)
    try:
        return _session(path, chosen, options), chosen
    except Exception as error:  # noqa: BLE001  as above
        raise _refusal(name, error) from None


def _session(path: str, chosen: ChosenProvider, options: ort.SessionOptions) -> ort.InferenceSession:
    return ort.InferenceSession(
        path,
        options,
        providers=list(chosen.stack),
        enable_fallback=0,  # never retry on the CPU with a line on stdout
        read_config_from_model=0,  # a model file does not configure the process that loads it
    )


def _refusal(name: str, error: Exception) -> LoadRefused:
    text = short_text(error)
    if "is not a registered function/op" in text or "No opset import for domain" in text:
        return LoadRefused(
            name, f"uses an operator that this runtime lacks ({text})", "custom operators are not loaded"
        )
    if "Opset" in text or "IR version" in text:
        return LoadRefused(name, f"is newer than this runtime ({text})", "export it with an older opset")
    return LoadRefused(name, f"was refused by ONNX Runtime: {text}")


def _signature(session: ort.InferenceSession, name: str, facts: GraphFacts) -> Signature:
    return Signature(
        inputs=tuple(_spec("input", each, name, facts) for each in session.get_inputs()),
        outputs=tuple(_spec("output", each, name, facts) for each in session.get_outputs()),
    )


def _spec(side: str, node: ort.NodeArg, name: str, facts: GraphFacts) -> TensorSpec:
    datatype = _BY_ONNX_TYPE.get(node.type)
    if datatype is None and node.type.startswith(("seq(", "map(", "optional(")):
        raise LoadRefused(
            name,
            f"{side} {quoted(node.name)} is a {node.type}, and only tensors can be served",
            "convert with zipmap=False if scikit-learn made it: to_onnx(model, options={'zipmap': False})",
        )
    if datatype is None:
        raise LoadRefused(name, f"{side} {quoted(node.name)} is a {node.type}, which the protocol has no datatype for")
    if not node.shape and node.name in facts.unranked:
        raise LoadRefused(name, f"does not say how many dimensions {side} {quoted(node.name)} has", "declare its shape")
    return TensorSpec(node.name, datatype, tuple(size if _is_size(size) else -1 for size in node.shape))


def _is_size(size: object) -> bool:
    return isinstance(size, int) and size >= 0


def _decoded(tensor: Tensor) -> NDArray[Any]:
    """BYTES as the str that ONNX Runtime wants; given bytes, it would take them for the text b'...'."""
    if tensor.datatype != "BYTES":
        return tensor.array
    texts = np.empty(tensor.array.size, dtype=object)
    try:
        texts[:] = [element.decode() for element in tensor.array.ravel().tolist()]
    except UnicodeDecodeError:
        raise InvalidInput(f"input {quoted(tensor.name)} holds bytes that are not UTF-8") from None
    return texts.reshape(tensor.array.shape)


def _encoded(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != object:
        return array
    encoded = np.empty(array.size, dtype=object)
    encoded[:] = [text.encode() for text in array.ravel().tolist()]
    return encoded.reshape(array.shape)


def _value(array: NDArray[Any], datatype: str) -> ort.OrtValue:
    contiguous = np.ascontiguousarray(array)
    if datatype == "BF16":
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(contiguous, _BFLOAT16)
    return ort.OrtValue.ortvalue_from_numpy(contiguous)


def _array(value: ort.OrtValue) -> NDArray[Any]:
    if value.data_type() != "tensor(bfloat16)":
        array: NDArray[Any] = value.numpy()
        return array
    copied = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()) if value.tensor_size_in_bytes() else b""
    return np.ndarray(tuple(value.shape()), DATATYPES["BF16"].numpy, copied)
