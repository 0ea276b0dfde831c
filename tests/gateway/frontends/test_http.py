"""Inference over HTTP: what goes in, what comes back, what is recorded."""

import pytest


async def test_an_inference_answers_in_the_protocol_s_form(stage, make_tensor) -> None:
    """A client gets its outputs under the model's name, with its id."""
    reply = await stage.infer("plain", {"id": "a1", "inputs": [make_tensor()]})
    document = reply.json()
    assert 200 == reply.status
    assert ("plain", "v1", "a1") == (document["model_name"], document["model_version"], document["id"])
    assert [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}] == document["outputs"]
