"""Names that mean harm: units, ids and models in any bytes reach the same arm by every way, and stay on one line."""

import http.client
import json
import struct
from contextlib import closing
from hashlib import sha256

import grpc
import pytest

from runners.oip.messages import ModelInferRequest

INFER = "/inference.GRPCInferenceService/ModelInfer"
PATH = "/v2/models/floats/infer"
FLOATS = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
UNITS = {
    "plain": "account-7",
    "four bytes": "\U0001f600\U00010348",
    "right to left": "\u202eabc\u05d0\u0627",
    "zero width": "a\u200b\u200d\ufeffb",
    "combining": "e\u0301",
    "composed": "\u00e9",
    "a line separator": "a\u2028b\u0085c",
    "long": "\u00fc" * 5000,
    "a number": "007",
    "spaces inside": "a b  c",
}
ONLY_IN_BODIES = {"NUL": "a\0b", "a line feed": "a\r\nb", "spaces around": " a ", "colours": "\x1b[31mred\x1b[0m"}
EVIL = "x\r\nINFO turnout: all is well\n\x1b[2J\u2028{}"


def arm_of(unit: bytes) -> str:
    """The published rule, written again."""
    point = int.from_bytes(sha256(b"floats/0\x1f" + unit).digest()[:8])
    return "new" if point < 2**63 else "old"


def by_http(port: int, document: dict, headers: dict[str, bytes] | None = None, path: str = PATH) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", path, json.dumps(document), headers or {})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["x-turnout-arm"]


def by_grpc(
    port: int, parameter: str = "", metadata: tuple[tuple[str, str], ...] = (), **fields: str
) -> tuple[str, str]:
    message = ModelInferRequest(**{"model_name": "floats"} | fields)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(struct.pack("<4f", 1, 2, 3, 4))
    if parameter:
        message.parameters["turnout_unit"].string_param = parameter
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            _, call = channel.unary_unary(INFER).with_call(message.SerializeToString(), metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            return error.code().name, ""
        return "OK", dict(call.initial_metadata())["x-turnout-arm"]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_one_arm_however_it_is_sent(hostile, name):
    """An account does not change its arm with its client's protocol."""
    unit = UNITS[name]
    expected = arm_of(unit.encode())
    found = [
        by_http(hostile.http, FLOATS, {"x-turnout-unit": unit.encode()})[1],
        by_http(hostile.http, FLOATS | {"parameters": {"turnout_unit": unit}})[1],
        by_grpc(hostile.grpc, unit)[1],
    ]
    if unit.isascii():
        found.append(by_grpc(hostile.grpc, metadata=(("x-turnout-unit", unit),))[1])

    assert {expected} == set(found)


@pytest.mark.parametrize("name", ONLY_IN_BODIES)
def test_what_no_header_can_carry_is_a_unit_in_a_body(hostile, name):
    unit = ONLY_IN_BODIES[name]
    found = {by_http(hostile.http, FLOATS | {"parameters": {"turnout_unit": unit}})[1], by_grpc(hostile.grpc, unit)[1]}

    assert {arm_of(unit.encode())} == found


@pytest.mark.parametrize("unit", [b"\xff\xfe", b"\xed\xa0\x80", b"caf\xe9", b"\xc0\x80"])
def test_bytes_that_are_no_text_are_a_unit_too(hostile, unit):
    """Units are hashed as bytes; nobody is turned away for their encoding."""
    assert (200, arm_of(unit)) == by_http(hostile.http, FLOATS, {"x-turnout-unit": unit})


def test_the_units_reach_both_arms():
    """Else the tests above would prove little."""
    assert {"old", "new"} == {arm_of(unit.encode()) for unit in (UNITS | ONLY_IN_BODIES).values()}


def test_whatever_is_sent_a_record_stays_one_line(start_hostile):
    """Nobody can write into the log what did not happen."""
    gateway = start_hostile()
    sent = FLOATS | {"id": EVIL, "parameters": {"turnout_unit": EVIL}}
    by_http(gateway.http, sent)
    by_http(gateway.http, FLOATS | {"id": EVIL, "outputs": [{"name": EVIL}]})
    by_http(gateway.http, {"inputs": [FLOATS["inputs"][0] | {"name": EVIL}]})
    by_http(gateway.http, FLOATS, {"x-request-id": b"\xe2\x80\xa8\xc2\x85", "traceparent": b"\xe2\x80\xa8"})
    by_http(gateway.http, FLOATS, path="/v2/models/%0d%0aINFO%20turnout:%20all%20is%20well%1b[2J/infer")
    by_grpc(gateway.grpc, EVIL, id=EVIL)
    by_grpc(gateway.grpc, model_name=EVIL)
    assert 0 == gateway.stop()

    segments = gateway.state.glob("events/*/*.jsonl")
    lines = [line for segment in segments for line in segment.read_bytes().removesuffix(b"\n").split(b"\n")]
    events = [json.loads(line) for line in lines]
    assert 7 == sum(event["event"] == "request" for event in events)
    assert not any(b"\x1b" in line or b"\r" in line for line in lines)
    assert all(
        line.startswith(("INFO turnout", "WARNING turnout", "ERROR turnout")) for line in gateway.log().splitlines()
    )
    assert "all is well" not in gateway.log()
    assert "\x1b" not in gateway.log()
