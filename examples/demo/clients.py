"""Two plain clients, one per protocol, made of nothing but what the gateway itself installs."""

import http.client
import json
import struct
from dataclasses import dataclass

import grpc
from routes import UNIT_HEADER

from runners.oip.messages import ModelInferRequest, ModelInferResponse

INFER = "/inference.GRPCInferenceService/ModelInfer"
PIXELS_N = 64


@dataclass(frozen=True)
class Answer:
    """What a client saw: a digit, or why there was none, and who it was told had answered."""

    digit: int | None
    arm: str
    reason: str
    fallback: str
    event: str
    revision: int


class HttpClient:
    """V2 JSON over one kept connection. Asks for all outputs unless some are named."""

    protocol = "http"

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def infer(self, route: str, pixels: list[int], unit: str, outputs: tuple[str, ...] = ()) -> Answer:
        tensor = {"name": "pixels", "datatype": "FP32", "shape": [1, PIXELS_N], "data": pixels}
        body = json.dumps({"inputs": [tensor], "outputs": [{"name": name} for name in outputs]})
        self._connection.request("POST", f"/v2/models/{route}/infer", body, {UNIT_HEADER: unit})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        told = answer.get("parameters", {})
        by_name = {output["name"]: output for output in answer.get("outputs", ())}
        return Answer(
            digit=by_name["label"]["data"][0] if response.status == 200 else None,
            arm=told.get("turnout_arm", ""),
            reason=told.get("turnout_reason", ""),
            fallback=told.get("turnout_fallback", ""),
            event=response.headers["x-request-id"],
            revision=told.get("turnout_revision", 0),
        )


class GrpcClient:
    """Raw tensors over one channel."""

    protocol = "grpc"

    def __init__(self, port: int) -> None:
        channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._infer = channel.unary_unary(
            INFER,
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )

    def infer(self, route: str, pixels: list[int], unit: str, outputs: tuple[str, ...] = ()) -> Answer:
        request = ModelInferRequest(model_name=route, raw_input_contents=[struct.pack(f"<{PIXELS_N}f", *pixels)])
        request.inputs.add(name="pixels", datatype="FP32", shape=[1, PIXELS_N])
        for name in outputs:
            request.outputs.add(name=name)
        answer, call = self._infer.with_call(request, metadata=[(UNIT_HEADER, unit)])
        told = {name: value.string_param for name, value in answer.parameters.items()}
        ids = dict(call.initial_metadata())
        raw = dict(zip((output.name for output in answer.outputs), answer.raw_output_contents, strict=True))
        return Answer(
            digit=struct.unpack("<q", raw["label"])[0],
            arm=told.get("turnout_arm", ""),
            reason=told.get("turnout_reason", ""),
            fallback=told.get("turnout_fallback", ""),
            event=ids.get("x-request-id", ""),
            revision=answer.parameters["turnout_revision"].int64_param,
        )
