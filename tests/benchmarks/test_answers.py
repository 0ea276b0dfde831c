"""A wrong answer is found before it is timed."""

import json

import numpy as np
import pytest

from benchmarks.answers import WrongAnswer, compare, read_binary, read_grpc, read_json
from runners.oip.messages import ModelInferResponse


def test_the_answer_of_an_arm_is_compared_with_that_arms(workload):
    """Under a split both models may answer, each with its own output."""
    for arm, probs in workload.expected.items():
        compare("here", arm, probs, workload)


@pytest.mark.parametrize(
    ("arm", "change"),
    [("old", lambda x: x + 1e-3), ("new", lambda x: x), ("old", lambda x: x * np.nan), ("old", lambda x: x[:, :2])],
)
def test_any_other_answer_is_wrong(workload, arm, change):
    """A little off, another arm's, not a number, or too short."""
    with pytest.raises(WrongAnswer, match="onnxruntime says"):
        compare("here", arm, change(workload.expected["old"]), workload)


def test_an_arm_that_was_never_written_is_wrong(workload):
    """An answer from elsewhere is not measured."""
    with pytest.raises(WrongAnswer, match="never written"):
        compare("here", "other", workload.expected["old"], workload)


def test_a_gateway_names_the_arm():
    """Every form of an answer says who gave it."""
    output = {"name": "probs", "datatype": "FP32", "shape": [1, 2]}
    told = {"model_name": "tiny", "parameters": {"turnout_arm": "new"}}
    values = np.array([[0.25, 0.75]], np.float32)
    text = json.dumps({**told, "outputs": [{**output, "data": [0.25, 0.75]}]}).encode()
    head = json.dumps({**told, "outputs": [{**output, "parameters": {"binary_data_size": 8}}]}).encode()
    message = ModelInferResponse(model_name="tiny", raw_output_contents=[values.tobytes()])
    message.outputs.add(name="probs", datatype="FP32", shape=[1, 2])
    message.parameters["turnout_arm"].string_param = "new"
    for arm, probs in (read_json(text), read_binary(head + values.tobytes(), len(head)), read_grpc(message)):
        assert "new" == arm
        assert np.array_equal(values, probs)


def test_a_binary_answer_of_another_length_is_not_read():
    """Sizes that do not add up are a defect, not a detail."""
    head = b'{"outputs":[{"name":"probs","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":8}}]}'
    with pytest.raises(ValueError, match="binary_data_size"):
        read_binary(head + b"\0\0\0\0", len(head))
