"""The floor: the least that a server in Python does to answer the protocol, with the same servers and the same model.

It decodes one tensor, runs it, encodes one tensor. It checks nothing, decides nothing, records nothing, and a request
that is not exactly the benchmark's own breaks it. What the gateway costs is the distance from here.

    python benchmarks/peers/floor.py http|grpc MODEL.onnx      prints where it listens on standard error

HTTP is raw ASGI on uvicorn with uvloop and httptools, JSON by msgspec; gRPC is grpc.aio on uvloop.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime
import uvicorn
import uvloop
from msgspec import Struct, json
from numpy.typing import NDArray

from runners.oip.messages import SERVICE, ModelInferRequest, ModelInferResponse

HOST = "127.0.0.1"
JSON_LENGTH = b"inference-header-content-length"

Array = NDArray[np.float32]
Run = Callable[[Array], Array]
Message = dict[str, Any]


class InputTensor(Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float] = []


class Request(Struct):
    inputs: list[InputTensor]
    id: str = ""


class OutputTensor(Struct, omit_defaults=True):
    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[float] = []
    parameters: dict[str, int] = {}


class Response(Struct):
    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


def main() -> None:
    protocol, path = sys.argv[1:]
    run = open_model(Path(path))
    listening = socket.socket()
    listening.bind((HOST, 0))
    port = listening.getsockname()[1]
    if protocol == "http":
        sys.stderr.write(f"http://{HOST}:{port}\n")
        config = uvicorn.Config(
            HttpFloor(run), loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="warning"
        )
        uvicorn.Server(config).run(sockets=[listening])
    else:
        listening.close()
        uvloop.run(serve_grpc(run))


def open_model(path: Path) -> Run:
    """A function that runs the model, past the checks that Python's `session.run` makes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    bare = session._sess.run  # noqa: SLF001
    names = ["probs"]
    return lambda x: bare(names, {"x": x}, None)[0]


class HttpFloor:
    """An ASGI application that takes every request for an inference."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._decode = json.Decoder(Request).decode
        self._encode = json.Encoder().encode

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        name = scope["path"][11:-6]  # /v2/models/NAME/infer
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        length = next((value for key, value in scope["headers"] if key == JSON_LENGTH), None)
        if length is None:
            answer = self.answer_json(name, body)
            headers = [(b"content-type", b"application/json")]
        else:
            answer, head_n = self.answer_binary(name, body, int(length))
            headers = [(b"content-type", b"application/octet-stream"), (JSON_LENGTH, b"%d" % head_n)]
        headers.append((b"content-length", b"%d" % len(answer)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def answer_json(self, name: str, body: bytes) -> bytes:
        asked = self._decode(body)
        (tensor,) = asked.inputs
        y = self._run(np.array(tensor.data, np.float32).reshape(tensor.shape))
        output = OutputTensor("probs", y.shape, "FP32", y.ravel().tolist())
        return self._encode(Response(name, "1", asked.id, [output]))

    def answer_binary(self, name: str, body: bytes, json_length: int) -> tuple[bytes, int]:
        """The answer, and how many of its bytes are JSON."""
        asked = self._decode(memoryview(body)[:json_length])
        (tensor,) = asked.inputs
        y = self._run(np.frombuffer(body, np.float32, offset=json_length).reshape(tensor.shape))
        output = OutputTensor("probs", y.shape, "FP32", parameters={"binary_data_size": y.nbytes})
        head = self._encode(Response(name, "1", asked.id, [output]))
        return head + y.tobytes(), len(head)


async def serve_grpc(run: Run) -> None:
    """Serve until the process is told to end."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc_handlers(run),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    sys.stderr.write(f"grpc://{HOST}:{port}\n")
    await asyncio.Event().wait()


def grpc_handlers(run: Run) -> grpc.GenericRpcHandler:
    """The protocol's ModelInfer and nothing else."""

    async def infer(body: bytes, _context: grpc.aio.ServicerContext) -> bytes:
        return answer_grpc(run, body)

    return grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": grpc.unary_unary_rpc_method_handler(infer)})


def answer_grpc(run: Run, body: bytes) -> bytes:
    """A serialised ModelInferResponse for a serialised ModelInferRequest with one raw tensor."""
    asked = ModelInferRequest.FromString(body)
    y = run(np.frombuffer(asked.raw_input_contents[0], np.float32).reshape(tuple(asked.inputs[0].shape)))
    answer = ModelInferResponse(model_name=asked.model_name, model_version="1", id=asked.id)
    answer.outputs.add(name="probs", datatype="FP32", shape=y.shape)
    answer.raw_output_contents.append(y.tobytes())
    return answer.SerializeToString()


if __name__ == "__main__":
    main()
