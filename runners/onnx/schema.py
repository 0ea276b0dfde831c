"""The part of the ONNX file format that is looked at before the runtime is given a model.

The messages live in a descriptor pool of their own, so that they meet no other copy of ONNX's in the process. Only what
is asked about is declared, weights in particular are not.

Source: ONNX, onnx.proto (IR version 13): message names and field numbers.
"""

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

EXTERNAL = 1  # TensorProto.DataLocation
PAYLOAD_FIELD = 1000  # not ONNX's: how many bytes of weights were left out, see wire.py
_INT64, _INT32, _STRING = "TYPE_INT64", "TYPE_INT32", "TYPE_STRING"

# message -> field -> (number, repeated, type or message)
MESSAGES: dict[str, dict[str, tuple[int, bool, str]]] = {
    "ModelProto": {
        "ir_version": (1, False, _INT64),
        "producer_name": (2, False, _STRING),
        "graph": (7, False, "GraphProto"),
        "opset_import": (8, True, "OperatorSetIdProto"),
        "functions": (25, True, "FunctionProto"),
    },
    "OperatorSetIdProto": {"domain": (1, False, _STRING), "version": (2, False, _INT64)},
    "GraphProto": {
        "node": (1, True, "NodeProto"),
        "initializer": (5, True, "TensorProto"),
        "input": (11, True, "ValueInfoProto"),
        "output": (12, True, "ValueInfoProto"),
        "sparse_initializer": (15, True, "SparseTensorProto"),
    },
    "ValueInfoProto": {"name": (1, False, _STRING), "type": (2, False, "TypeProto")},
    "TypeProto": {"tensor_type": (1, False, "TypeProto.Tensor")},
    "TypeProto.Tensor": {"elem_type": (1, False, _INT32), "shape": (2, False, "TensorShapeProto")},
    "TensorShapeProto": {"dim": (1, True, "TensorShapeProto.Dimension")},
    "TensorShapeProto.Dimension": {"dim_value": (1, False, _INT64)},
    "FunctionProto": {"node": (7, True, "NodeProto"), "attribute_proto": (11, True, "AttributeProto")},
    "NodeProto": {
        "op_type": (4, False, _STRING),
        "domain": (7, False, _STRING),
        "attribute": (5, True, "AttributeProto"),
    },
    "AttributeProto": {
        "t": (5, False, "TensorProto"),
        "g": (6, False, "GraphProto"),
        "tensors": (10, True, "TensorProto"),
        "graphs": (11, True, "GraphProto"),
        "sparse_tensor": (22, False, "SparseTensorProto"),
        "sparse_tensors": (23, True, "SparseTensorProto"),
    },
    "SparseTensorProto": {"values": (1, False, "TensorProto"), "indices": (2, False, "TensorProto")},
    "TensorProto": {
        "dims": (1, True, _INT64),
        "data_type": (2, False, _INT32),
        "name": (8, False, _STRING),
        "external_data": (13, True, "StringStringEntryProto"),
        "data_location": (14, False, _INT32),
        "payload_bytes": (PAYLOAD_FIELD, False, _INT64),
    },
    "StringStringEntryProto": {"key": (1, False, _STRING), "value": (2, False, _STRING)},
}


@cache
def model_class() -> Any:
    """The class of ModelProto, for what a skeleton holds."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="turnout_onnx.proto", package="turnout.onnx", syntax="proto2")
    for message_name, fields in MESSAGES.items():
        message = file.message_type.add(name=_flat(message_name))
        for name, (number, repeated, kind) in fields.items():
            is_message = kind in MESSAGES
            message.field.add(
                name=name,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if is_message else kinds.Type.Value(kind),
                type_name=f".turnout.onnx.{_flat(kind)}" if is_message else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("turnout.onnx.ModelProto"))


def _flat(name: str) -> str:
    """A nested message's name as one of a message of its own; on the wire there is no difference."""
    return name.replace(".", "_")
