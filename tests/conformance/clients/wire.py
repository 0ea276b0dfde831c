"""What the client programs share: jobs in on stdin, results out on stdout, one JSON object a line.

    python triton_http.py HTTP_PORT GRPC_PORT

A job is {"do": "infer" or a question, ...}; its result {"value": ...}, or {"error": text, "kind": exception's name}.
This module needs nothing but numpy, for it runs in the environment of every client.
"""

import asyncio
import inspect
import json
import struct
import sys
from collections.abc import Callable

import numpy as np

try:
    import ml_dtypes
except ImportError:  # an environment whose client knows no BF16
    ml_dtypes = None

NUMPY = {
    "BOOL": "?",
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def run(make: Callable) -> None:
    """Answer jobs by the methods of what `make(http_port, grpc_port)` returns, until stdin ends."""
    asyncio.run(_answer_all(make))


def numpy_of(tensor: dict) -> np.ndarray:
    """A tensor of a job as the array that client libraries take."""
    raw = bytes.fromhex(tensor["hex"])
    if tensor["datatype"] == "BYTES":
        elements = split(raw)
        array = np.empty(len(elements), dtype=object)
        array[:] = elements
    elif tensor["datatype"] == "BF16":
        array = np.frombuffer(raw, ml_dtypes.bfloat16)
    else:
        array = np.frombuffer(raw, NUMPY[tensor["datatype"]])
    return array.reshape(tensor["shape"])


def tensor_of(name: str, datatype: str, shape: list, array: np.ndarray) -> dict:
    """What a client library gave, as a result holds it; `shape` and `datatype` are what the answer says."""
    assert list(shape) == list(array.shape), f"{name}: the answer says {shape}, the client made {array.shape}"
    if datatype == "BYTES":
        elements = [each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()]
        raw = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    else:
        raw = array.tobytes()
    return {"name": name, "datatype": datatype, "shape": list(shape), "hex": raw.hex()}


def values_of(tensor: dict) -> list:
    """A tensor's elements as JSON or typed contents hold them, BYTES as bytes."""
    return numpy_of(tensor).ravel().tolist()


def split(raw: bytes) -> list[bytes]:
    """The elements of BYTES in binary form."""
    elements = []
    at = 0
    while at < len(raw):
        size = struct.unpack_from("<I", raw, at)[0]
        elements.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    return elements


async def _answer_all(make: Callable) -> None:
    client = make(*map(int, sys.argv[1:3]))
    if inspect.isawaitable(client):
        client = await client
    lines = asyncio.get_running_loop()
    while line := await lines.run_in_executor(None, sys.stdin.readline):
        job = json.loads(line)
        try:
            value = getattr(client, job.pop("do"))(**job)
            result = {"value": await value if inspect.isawaitable(value) else value}
        except Exception as error:
            result = {"error": str(error), "kind": type(error).__name__}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    if hasattr(client, "close"):
        await client.close()
