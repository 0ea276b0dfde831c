"""The facts of an ONNX file, read before the runtime sees it: whether it is one, what it computes with and leans on.

Refused here is what must not reach the runtime at all. What the runtime merely lacks, it says itself: see session.py.
"""

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError
from msgspec import Struct

from runners.core.errors import LoadRefused, quoted
from runners.core.frozen import FrozenFile
from runners.onnx.disguises import disguise_of, likeness_of
from runners.onnx.schema import EXTERNAL, model_class
from runners.onnx.wire import Malformed, skeleton

MODEL_LIMIT_BYTES = (2 << 30) - 1  # protobuf's own; what is larger keeps its weights in files of their own
_HEAD_BYTES = 65_536
_DEPTH_LIMIT = 16  # subgraphs within subgraphs; models that people export stay below 5
_UNSKIPPED_BYTES = 1024  # a tensor this short is not measured, see wire.py

# TensorProto.DataType -> bits per element; 8 is a string, of any length
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16}
_BITS_OF_OTHERS = 2  # FP8, INT4, INT2 and what may come: at least this

Operator = tuple[str, str]  # domain ("" is ONNX's own), op type


class ExternalTensor(Struct, frozen=True):
    """Where a tensor that is kept beside the model lies. `size_bytes` is what its shape needs, -1 if none can tell."""

    name: str
    location: str
    offset: int
    length: int  # -1: to the end of the file
    size_bytes: int


class GraphFacts(Struct, frozen=True):
    """What an ONNX file says of itself.

    `opsets` are (domain, version); `operators` those of all subgraphs too; `unranked` the inputs and outputs of which
    not even the number of dimensions is declared, which the runtime does not tell from scalars.
    """

    ir_version: int
    opsets: tuple[tuple[str, int], ...]
    producer: str
    operators: frozenset[Operator]
    nodes_n: int
    external: tuple[ExternalTensor, ...]
    unranked: frozenset[str]


def read_graph(file: FrozenFile) -> GraphFacts:
    """The facts of `file`. Raises LoadRefused, naming the file, what it is instead of a model, and the cure."""
    return _Reading(file.name).facts(parse_model(file))


def parse_model(file: FrozenFile) -> Any:
    """The ModelProto in `file` less its weights. Raises LoadRefused."""
    head = bytes(file.view[:_HEAD_BYTES])
    disguise = disguise_of(head)
    if disguise:
        raise LoadRefused(file.name, f"is {disguise.is_a}", disguise.cure)
    try:
        model = model_class().FromString(skeleton(file.view))
    except Malformed as malformed:
        raise _not_onnx(file, head, str(malformed)) from None
    except DecodeError:
        raise _not_onnx(file, head, "it does not parse, or nests too deeply") from None
    if not model.HasField("graph") or not model.ir_version:
        raise _not_onnx(file, head, "it holds no graph")
    return model


def _not_onnx(file: FrozenFile, head: bytes, detail: str) -> LoadRefused:
    likeness = likeness_of(head)
    return LoadRefused(file.name, f"is {likeness.is_a} ({detail})", likeness.cure)


class _Reading:
    """Collects over the graphs of one model. Messages are protobuf's, of classes made at run time."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._operators: set[Operator] = set()
        self._external: list[ExternalTensor] = []
        self._nodes_n = 0

    def facts(self, model: Any) -> GraphFacts:
        for tensor in model.graph.initializer:
            self._read_tensor(tensor, may_be_external=True)
        self._read_graph(model.graph, 0)
        for function in model.functions:
            self._read_nodes(function.node, 0)
            self._read_attributes(function.attribute_proto, 0)
        if ("com.microsoft", "EPContext") in self._operators:
            raise LoadRefused(self._name, "holds an engine compiled for one device (EPContext)", "export plain ONNX")
        return GraphFacts(
            ir_version=model.ir_version,
            opsets=tuple((opset.domain, opset.version) for opset in model.opset_import),
            producer=model.producer_name,
            operators=frozenset(self._operators),
            nodes_n=self._nodes_n,
            external=tuple(self._external),
            unranked=frozenset(
                value.name
                for value in (*model.graph.input, *model.graph.output)
                if not value.type.tensor_type.HasField("shape")
            ),
        )

    def _read_graph(self, graph: Any, depth: int) -> None:
        if depth > _DEPTH_LIMIT:
            raise LoadRefused(self._name, f"nests subgraphs deeper than {_DEPTH_LIMIT}")
        if depth:
            for tensor in graph.initializer:
                self._read_tensor(tensor, may_be_external=False)
        self._read_sparse(graph.sparse_initializer)
        self._read_nodes(graph.node, depth)

    def _read_nodes(self, nodes: Any, depth: int) -> None:
        for node in nodes:
            domain = "" if node.domain == "ai.onnx" else node.domain
            self._operators.add((domain, node.op_type))
            self._read_attributes(node.attribute, depth)
        self._nodes_n += len(nodes)

    def _read_attributes(self, attributes: Any, depth: int) -> None:
        for attribute in attributes:
            for tensor in _tensors_of(attribute):
                self._read_tensor(tensor, may_be_external=False)
            self._read_sparse(attribute.sparse_tensors)
            if attribute.HasField("sparse_tensor"):
                self._read_sparse([attribute.sparse_tensor])
            if attribute.HasField("g"):
                self._read_graph(attribute.g, depth + 1)
            for graph in attribute.graphs:
                self._read_graph(graph, depth + 1)

    def _read_sparse(self, sparse_tensors: Any) -> None:
        for sparse in sparse_tensors:
            self._read_tensor(sparse.values, may_be_external=False)
            self._read_tensor(sparse.indices, may_be_external=False)

    def _read_tensor(self, tensor: Any, *, may_be_external: bool) -> None:
        count = _count(tensor.dims)
        if count < 0:
            raise LoadRefused(self._name, f"declares a negative size for tensor {quoted(tensor.name)}")
        if tensor.data_location == EXTERNAL or tensor.external_data:
            if not may_be_external:
                raise LoadRefused(
                    self._name, f"keeps tensor {quoted(tensor.name)}, which is no weight of the main graph, in a file"
                )
            self._external.append(_external(self._name, tensor, count))
            return
        held_bytes = tensor.payload_bytes or _UNSKIPPED_BYTES
        # The tightest packing there is holds four elements in a byte; more is a promise that only costs memory.
        if count > 4 * held_bytes:
            raise LoadRefused(
                self._name, f"declares {count} elements for tensor {quoted(tensor.name)} and holds {held_bytes} bytes"
            )


def _tensors_of(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _count(dims: Any) -> int:
    """Elements of a tensor, -1 if a dimension is negative; Python's integers do not overflow."""
    count = 1
    for size in dims:
        if size < 0:
            return -1
        count *= size
    return count


def _external(name: str, tensor: Any, count: int) -> ExternalTensor:
    entries = [(entry.key, entry.value) for entry in tensor.external_data]
    facts = dict(entries)
    if len(facts) != len(entries) or "location" not in facts:
        raise LoadRefused(name, f"does not say where tensor {quoted(tensor.name)} lies, or says it twice")
    bits = _BITS.get(tensor.data_type, _BITS_OF_OTHERS)
    return ExternalTensor(
        name=tensor.name,
        location=facts["location"],
        offset=_whole(name, tensor.name, facts.get("offset", "0")),
        length=_whole(name, tensor.name, facts["length"]) if "length" in facts else -1,
        size_bytes=-1 if tensor.data_type == 8 else (count * bits + 7) // 8,
    )


def _whole(name: str, tensor: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise LoadRefused(name, f"has the offset or length {quoted(text)} for tensor {quoted(tensor)}")
    return int(text)
