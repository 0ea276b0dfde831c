"""Tensors without elements, in the forms in which stock clients send them."""

import json

import numpy as np
import pytest

NOTHING = {"name": "FP32", "shape": [0], "datatype": "FP32", "parameters": {"binary_data_size": 0}}


@pytest.mark.parametrize("data", [{}, {"data": None}])
async def test_an_empty_binary_tensor_needs_no_header(stage, data) -> None:
    """KServe's client, which sends neither bytes nor the header that would say where they begin, is answered."""
    reply = await stage.infer("mirror", {"inputs": [{**NOTHING, **data}]})
    assert (200, [[0]]) == (reply.status, [output["shape"] for output in reply.json()["outputs"]])


async def test_null_beside_binary_data_is_no_data(stage, make_binary) -> None:
    """An empty tensor beside a full one arrives as null, and is not taken for data that came twice."""
    full = {"name": "UINT8", "shape": [2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}}
    body, headers = make_binary({"inputs": [{**NOTHING, "data": None}, {**full, "data": None}]}, b"\x05\x06")
    document = (await stage.infer("mirror", body, headers)).json()
    assert [[], [5, 6]] == [output["data"] for output in document["outputs"]]


@pytest.mark.parametrize("wrong", [{"shape": [1]}, {"data": [1.0]}, {"parameters": {"binary_data_size": False}}])
async def test_only_what_is_empty_passes_as_empty(stage, wrong) -> None:
    """A tensor that lacks its bytes, or has data in JSON as well, is still refused."""
    reply = await stage.infer("mirror", json.dumps({"inputs": [{**NOTHING, **wrong}]}).encode())
    assert 400 == reply.status
    assert reply.error


async def test_an_empty_tensor_in_json_is_an_empty_list(stage, make_tensor) -> None:
    """The plain form goes on working."""
    reply = await stage.infer("mirror", {"inputs": [make_tensor("FP32", [], [0, 4])]})
    assert [np.zeros((0, 4)).tolist()] == [output["data"] for output in reply.json()["outputs"]]
