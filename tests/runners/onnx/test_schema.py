"""Our own description of ONNX's messages agrees with ONNX's."""

import onnx
import pytest

from runners.onnx.schema import MESSAGES, PAYLOAD_FIELD, model_class


def fields():
    for message, declared in MESSAGES.items():
        for name, field in declared.items():
            if name != "payload_bytes":
                yield message, name, field


def descriptor(message):
    found = onnx.onnx_ml_pb2.DESCRIPTOR
    for number, part in enumerate(message.split(".")):
        found = found.nested_types_by_name[part] if number else found.message_types_by_name[part]
    return found


@pytest.mark.parametrize(("message", "name", "field"), [*fields()])
def test_every_field_is_onnxs_own(message, name, field):
    """Number, cardinality and type are what every ONNX file is written with."""
    number, repeated, kind = field
    theirs = descriptor(message).fields_by_name[name]
    nested = theirs.message_type.full_name.removeprefix("onnx.") if theirs.message_type else None
    assert (number, repeated) == (theirs.number, theirs.is_repeated)
    assert kind == (nested or kind)
    assert (kind in MESSAGES) == (nested is not None)


def test_our_own_field_is_none_of_theirs():
    """What we note beside a tensor cannot be mistaken for what a file says."""
    assert PAYLOAD_FIELD not in descriptor("TensorProto").fields_by_number


def test_the_messages_meet_no_other_copy_of_onnx():
    """A process that has the onnx package, as this one, reads with both."""
    model = onnx.parser.parse_model(
        '<ir_version: 9, opset_import: ["": 17]> m (float[1] x) => (float[1] y) {y = Abs(x)}'
    )
    ours = model_class().FromString(model.SerializeToString())
    assert "Abs" == ours.graph.node[0].op_type
