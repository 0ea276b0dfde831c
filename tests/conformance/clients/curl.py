"""curl, which knows nothing of the protocol: every byte it sends is made here."""

import gzip
import json
import subprocess
import zlib

import numpy as np
import wire

JSON_LENGTH = "inference-header-content-length"
PACK = {"gzip": gzip.compress, "deflate": zlib.compress}
BINARY_IN = ("binary", "binary-to-json", "gzip", "deflate")
BINARY_OUT = ("binary", "json-to-binary", "gzip", "deflate", "bare")


class Refused(Exception):
    """An answer that is not 200."""


class Client:
    def __init__(self, http_port: int, _: int) -> None:
        self._url = f"http://127.0.0.1:{http_port}"

    def versions(self):
        said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
        return {"curl": said.split()[1]}

    def infer(self, model, inputs, how, version="", headers=None, **job):
        headers = dict(headers or {})
        body = inputs_only(inputs) if how == "bare" else body_of(inputs, how, headers, **job)
        if how == "bare":
            headers[JSON_LENGTH] = "0"
        if how in PACK:
            headers["content-encoding"] = how
            body = PACK[how](body)
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        return told(*self._ask(path, body, headers))

    def live(self):
        return self._read("/v2/health/live")["live"]

    def ready(self):
        return self._read("/v2/health/ready")["ready"]

    def model_ready(self, model, version=""):
        return self._read(f"/v2/models/{model}{f'/versions/{version}' if version else ''}/ready")["ready"]

    def server(self):
        return self._read("/v2")

    def metadata(self, model, version=""):
        return self._read(f"/v2/models/{model}{f'/versions/{version}' if version else ''}")

    def config(self, model):
        return self._read(f"/v2/models/{model}/config")

    def index(self):
        return self._read("/v2/repository/index", b"")

    def statistics(self, model):
        return self._read(f"/v2/models/{model}/stats")

    def load(self, model):
        return self._read(f"/v2/repository/models/{model}/load", b"")

    def unload(self, model):
        return self._read(f"/v2/repository/models/{model}/unload", b"")

    def _read(self, path, body=None):
        return json.loads(self._ask(path, body, {})[1])

    def _ask(self, path, body, headers):
        """Headers and body of an answer."""
        command = ["curl", "--silent", "--show-error", "--include", "--max-time", "30", self._url + path]
        for name, value in headers.items():
            command += ["--header", f"{name}: {value}"]
        if body is not None:
            command += ["--data-binary", "@-", "--header", "expect:"]
        said = subprocess.run(command, input=body or b"", capture_output=True, check=True).stdout
        head, _, answer = said.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        if status.split()[1] != "200":
            raise Refused(f"{status.split()[1]} {json.loads(answer)['error']}")
        return dict(line.lower().split(": ", 1) for line in lines), answer


def inputs_only(inputs):
    """A raw binary request has one input; BYTES come as the one element itself, without its length."""
    raw = bytes.fromhex(inputs[0]["hex"])
    return wire.split(raw)[0] if inputs[0]["datatype"] == "BYTES" else raw


def body_of(inputs, how, headers, outputs=None, request_id="", parameters=None, timeout_us=None):
    parameters = {**(parameters or {}), "binary_data_output": how in BINARY_OUT}
    if timeout_us is not None:
        parameters["timeout"] = timeout_us
    tensors, tail = [], b""
    for given in inputs:
        tensor = {key: given[key] for key in ("name", "datatype", "shape")}
        if how in BINARY_IN:
            raw = bytes.fromhex(given["hex"])
            tensor["parameters"] = {"binary_data_size": len(raw)}
            tail += raw
        else:
            tensor["data"] = [each.decode() if isinstance(each, bytes) else each for each in wire.values_of(given)]
        tensors.append(tensor)
    document = {"inputs": tensors, "parameters": parameters}
    document |= {"outputs": [{"name": name} for name in outputs]} if outputs else {}
    head = json.dumps(document | ({"id": request_id} if request_id else {})).encode()
    if how in BINARY_IN:
        headers[JSON_LENGTH] = str(len(head))
    return head + tail


def told(headers, answer):
    json_n = int(headers.get(JSON_LENGTH, len(answer)))
    document = json.loads(answer[:json_n])
    outputs = []
    for output in document["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            array = np.empty(len(output["data"]), dtype=object if output["datatype"] == "BYTES" else None)
            if output["datatype"] == "BYTES":
                array[:] = output["data"]
            else:
                array = np.array(output["data"], wire.NUMPY[output["datatype"]])
            shaped = array.reshape(output["shape"])
            outputs.append(wire.tensor_of(output["name"], output["datatype"], output["shape"], shaped))
        else:
            raw = answer[json_n : json_n + size]
            outputs.append({key: output[key] for key in ("name", "datatype", "shape")} | {"hex": raw.hex()})
            json_n += size
    parameters = document.get("parameters", {})
    return {"outputs": outputs, "parameters": parameters, "id": document.get("id", ""), "headers": headers}


if __name__ == "__main__":
    wire.run(Client)
