"""The protocol's messages: those of the published file, beside everybody else's."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_tools import protoc

from runners.oip import messages

ROOT = Path(__file__).parents[3]
PROTO = ROOT / "proto" / "open_inference.proto"

COUNTED = {  # fields that the public protocol numbers from 1 on
    "ModelInferRequest": "model_name model_version id parameters inputs outputs raw_input_contents",
    "ModelInferRequest.InferInputTensor": "name datatype shape parameters contents",
    "ModelInferRequest.InferRequestedOutputTensor": "name parameters",
    "ModelInferResponse": "model_name model_version id parameters outputs raw_output_contents",
    "ModelInferResponse.InferOutputTensor": "name datatype shape parameters contents",
    "ModelStreamInferResponse": "error_message infer_response",
    "InferParameter": "bool_param int64_param string_param double_param uint64_param",
    "InferTensorContents": (
        "bool_contents int_contents int64_contents uint_contents uint64_contents "
        "fp32_contents fp64_contents bytes_contents"
    ),
    "ModelMetadataResponse": "name versions platform inputs outputs",
    "RepositoryIndexRequest": "repository_name ready",
    "RepositoryIndexResponse.ModelIndex": "name version state reason",
    "RepositoryModelLoadRequest": "repository_name model_name parameters",
    "RepositoryModelLoadResponse": "model_name isLoaded",
    "RepositoryModelUnloadResponse": "model_name isUnloaded",
}
NUMBERS = {name: {field: n for n, field in enumerate(fields.split(), 1)} for name, fields in COUNTED.items()} | {
    "ModelConfig": {"name": 1, "platform": 2, "max_batch_size": 4, "input": 5, "output": 6, "backend": 17},
    "ModelInput": {"name": 1, "data_type": 2, "dims": 4},
    "ModelOutput": {"name": 1, "data_type": 2, "dims": 3},
}


def test_the_shipped_descriptor_is_the_published_file_compiled(tmp_path) -> None:
    """Clients in other languages that compile the file speak exactly what is served."""
    compiled = tmp_path / "compiled.binpb"
    arguments = ["protoc", f"-I{PROTO.parent}", f"--descriptor_set_out={compiled}", PROTO.name]
    assert 0 == protoc.main(arguments)
    fresh = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    shipped = (Path(messages.__file__).parent / messages.DESCRIPTOR_FILE).read_bytes()
    assert fresh == descriptor_pb2.FileDescriptorSet.FromString(shipped)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_those_of_the_public_protocol(name) -> None:
    """A message of any other implementation is read as it was meant."""
    described = messages.POOL.FindMessageTypeByName(f"inference.{name}")
    assert NUMBERS[name] == {field.name: field.number for field in described.fields}


def test_the_metadata_field_that_dialects_dispute_stays_free() -> None:
    """Field 6 means one thing to one client and another to the next, so nobody can set it here."""
    described = messages.POOL.FindMessageTypeByName("inference.ModelMetadataResponse")
    copied = descriptor_pb2.DescriptorProto()
    described.CopyToProto(copied)
    assert [(6, 7)] == [(span.start, span.end) for span in copied.reserved_range]


def test_the_default_pool_is_left_alone() -> None:
    """Another package with the same messages can be imported into the same process."""
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")


def test_every_message_class_of_the_module_is_typed() -> None:
    """What a type checker is told of is there, and the other way round."""
    told = {line.split("(")[0].split()[1] for line in stub() if line.startswith("class ")}
    there = {name for name, value in vars(messages).items() if isinstance(value, type) and hasattr(value, "DESCRIPTOR")}
    assert told == there - {"Message"}


def stub() -> list[str]:
    return Path(messages.__file__).with_suffix(".pyi").read_text().splitlines()


def test_two_halves_are_read_as_one_message() -> None:
    """An answer's fixed part and its outputs may be written one after the other."""
    head = messages.ModelInferResponse(model_name="m")
    head.parameters["turnout_arm"].string_param = "a"
    tail = messages.ModelInferResponse()
    tail.outputs.add(name="y", datatype="FP32", shape=[1])
    tail.raw_output_contents.append(b"\0\0\0\0")
    whole = messages.ModelInferResponse.FromString(head.SerializeToString() + tail.SerializeToString())
    assert ("m", "a", "y", 1) == (
        whole.model_name,
        whole.parameters["turnout_arm"].string_param,
        whole.outputs[0].name,
        len(whole.raw_output_contents),
    )
