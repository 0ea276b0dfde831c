"""A model on another server: real ones started as an operator does, and scripted ones for what those never do."""

import asyncio
import json
from pathlib import Path
from time import monotonic

import grpc
import numpy as np
import onnx
import pytest
from onnx import helper

from runners.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    InvalidInput,
    InvalidOutput,
    LoadRefused,
    NotReady,
    Overloaded,
)
from runners.core.runner import ModelRef, RemoteServer
from runners.core.tensor import DATATYPES, InferenceRequest, Tensor
from runners.embedded import Embedded
from runners.oip import messages
from runners.oip.watch import Pace
from runners.remote import UNPINNED, Remote

ROOT = Path(__file__).parents[2]
MODELS, FAULTS = ROOT / "configs" / "models", ROOT / "examples" / "faults"
ROWS = np.array([row["pixels"] for row in json.loads((ROOT / "examples/digits/rows.json").read_text())], "<f4")
QUICK = Pace(up_s=0.05, down_s=0.01, down_most_s=0.05)
ONNX_TYPES = {
    "BOOL": onnx.TensorProto.BOOL,
    "FP16": onnx.TensorProto.FLOAT16,
    "BF16": onnx.TensorProto.BFLOAT16,
    "FP32": onnx.TensorProto.FLOAT,
    "FP64": onnx.TensorProto.DOUBLE,
    "BYTES": onnx.TensorProto.STRING,
}
VALUES = {
    "BOOL": [True, False],
    "FP16": [6.1e-5, -65504],
    "BF16": [0x3F80, 0xFF7F],  # 1, and the lowest there is
    "FP32": [np.float32(0.1), np.finfo("<f4").min],
    "FP64": [0.1, np.finfo("<f8").tiny],
    "BYTES": ["\U0001f686 turnout".encode(), b"a\0b"],
}


NUMBERS = tuple(name for name in DATATYPES if name != "BYTES")  # ONNX Runtime takes no BF16 beside texts


def mirror(names) -> onnx.ModelProto:
    """Gives back every input, one of each of these datatypes."""
    specs = [(name, ONNX_TYPES[name] if name in ONNX_TYPES else getattr(onnx.TensorProto, name)) for name in names]
    graph = helper.make_graph(
        [helper.make_node("Identity", [f"x{name}"], [f"y{name}"]) for name, _ in specs],
        "mirror",
        [helper.make_tensor_value_info(f"x{name}", kind, ["N"]) for name, kind in specs],
        [helper.make_tensor_value_info(f"y{name}", kind, ["N"]) for name, kind in specs],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture(scope="module")
def turnout(start_shared_gateway, tmp_path_factory):
    """A gateway whose routes are `linear`, `hangs`, `numbers` and `texts`."""
    config = tmp_path_factory.mktemp("config")
    (config / "routes").mkdir()
    onnx.save(mirror(NUMBERS), config / "numbers.onnx")
    onnx.save(mirror(["BYTES"]), config / "texts.onnx")
    files = {
        "linear": MODELS / "digits-linear.onnx",
        "hangs": FAULTS / "hangs.onnx",
        "numbers": config / "numbers.onnx",
        "texts": config / "texts.onnx",
    }
    for name, file in files.items():
        arms = {"a": {"model": f"file:{file}", "role": "baseline", "version": "7"}}
        route = {"turnout": "v1", "route": name, "pin": True, "arms": arms, "strategy": {"kind": "baseline"}}
        (config / "routes" / f"{name}.yaml").write_text(json.dumps(route))
    return start_shared_gateway(config)


@pytest.fixture(params=["http", "grpc"])
def url(request, turnout):
    return f"{request.param}://127.0.0.1:{getattr(turnout, request.param)}"


@pytest.fixture
async def open_remote():
    """Opens remote models, and closes them at the end."""
    opened = []

    async def open_(reference, url, root=ROOT, how=None, **server):
        runner = Remote(pace=QUICK, load_limit_s=0.3)
        ref = ModelRef(reference, root, server=RemoteServer(url, **server), **(how or {}))
        opened.append(await runner.open(ref))
        return opened[-1]

    yield open_
    for endpoint in opened:
        await endpoint.close()


def pixels(rows, **how):
    return InferenceRequest("digits", (Tensor("pixels", "FP32", rows),), **how)


def later(seconds=30.0):
    return monotonic() + seconds


async def until(claim):
    async with asyncio.timeout(30):
        while not claim():
            await asyncio.sleep(0.005)


async def test_an_answer_is_the_models_own(open_remote, url):
    """To the last bit what the same file answers when it is held here."""
    here = await Embedded().open(ModelRef("file:digits-linear.onnx", MODELS))
    there = await open_remote("remote:linear", url)
    for rows in (ROWS[:1], ROWS[:50], ROWS[:0]):
        expected = (await here.infer(pixels(rows), deadline_at=later())).outputs
        got = (await there.infer(pixels(rows), deadline_at=later())).outputs
        assert [(t.name, t.datatype, t.shape, t.array.tobytes()) for t in expected] == [
            (t.name, t.datatype, t.shape, t.array.tobytes()) for t in got
        ]
    await here.close()


@pytest.mark.parametrize("size", [2, 0])
async def test_every_datatype_goes_there_and_back(open_remote, url, size):
    """Nothing is rounded, cut at a NUL or lost for being empty."""
    for route, names in (("numbers", NUMBERS), ("texts", ["BYTES"])):
        there = await open_remote(f"remote:{route}", url)
        sent = tuple(Tensor(f"x{name}", name, extremes(name)[:size]) for name in names)
        got = (await there.infer(InferenceRequest("m", sent), deadline_at=later())).outputs
        assert [(f"y{tensor.datatype}", tensor.datatype, tensor.array.tolist()) for tensor in sent] == [
            (tensor.name, tensor.datatype, tensor.array.tolist()) for tensor in got
        ]


def extremes(datatype) -> np.ndarray:
    """Two values at the edge of what a datatype holds."""
    held = DATATYPES[datatype].numpy
    array = np.empty(2, held)
    array[:] = VALUES.get(datatype) or [np.iinfo(held).min, np.iinfo(held).max]
    return array


async def test_a_remote_model_says_what_its_server_says(open_remote, url):
    """Platform and version are the server's, and nothing here claims to know its file."""
    found = (await open_remote("remote:linear", url)).description
    assert ("onnx_onnxv1", "7", "", "remote") == (found.platform, found.version, found.digest, found.provider)


async def test_a_version_may_be_asked_for(open_remote, url):
    endpoint = await open_remote("remote:linear:7", url)
    answer = await endpoint.infer(pixels(ROWS[:1]), deadline_at=later())
    assert ("7", "label") == (endpoint.description.version, answer.outputs[0].name)


@pytest.mark.parametrize("reference", ["remote:nobody", "remote:linear:8"])
async def test_what_the_server_does_not_have_is_refused(open_remote, url, reference):
    with pytest.raises(LoadRefused, match=r"was not ready within 0\.3 s"):
        await open_remote(reference, url)


async def test_a_model_that_hangs_there_is_left_at_the_deadline(open_remote, url):
    """Whatever the other server does, the caller hears in time, and the next one is answered."""
    endpoint = await open_remote("remote:hangs", url)
    with pytest.raises(DeadlineExceeded):
        await endpoint.infer(pixels(ROWS[:1]), deadline_at=later(0.2))
    answer = await endpoint.infer(pixels(np.zeros((1, 64), "<f4")), deadline_at=later())
    assert (True, "label") == (endpoint.ready(), answer.outputs[0].name)


async def test_a_golden_request_is_asked_before_anybody_elses(open_remote, url):
    """A server with another model under the same name is found out at the start."""
    await open_remote("remote:linear", url, MODELS, {"golden": Path("digits-golden-linear.json")})
    with pytest.raises(LoadRefused, match="failed golden request"):
        await open_remote("remote:linear", url, MODELS, {"golden": Path("digits-golden-mlp.json")})


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_a_killed_server_is_down_at_once_and_up_when_it_is_back(start_gateway, free_port, open_remote, scheme):
    """A server that dies fails calls with one cause, costs nobody a wait, and needs nobody to bring its arm back."""
    server = start_gateway(MODELS / "digits-linear.onnx", "--port", free_port)
    endpoint = await open_remote("remote:digits-linear", f"{scheme}://127.0.0.1:{getattr(server, scheme)}")
    calls = [asyncio.create_task(ask_for_ever(endpoint)) for _ in range(8)]
    await asyncio.sleep(0)
    server.kill()
    assert {"NotReady"} == {type(error).__name__ for error in await asyncio.gather(*calls)}
    await until(lambda: not endpoint.ready())
    start_gateway(MODELS / "digits-linear.onnx", "--port", free_port)
    await until(endpoint.ready)
    answer = await endpoint.infer(pixels(ROWS[:1]), deadline_at=later())
    assert "label" == answer.outputs[0].name


async def ask_for_ever(endpoint):
    while True:
        try:
            await endpoint.infer(pixels(ROWS[:1]), deadline_at=later())
        except Exception as error:
            return error


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
async def test_both_sides_show_who_they_are(start_gateway, authority, open_remote, tmp_path, scheme):
    """With a certificate of the right authority the model is there; without one, or trusting another, it is not."""
    ours, other = authority(), authority("other")
    cert, key = ours.issue("server")
    shown = dict(zip(("cert_file", "key_file"), ours.issue("client"), strict=True))
    config = tmp_path / "config"
    (config / "routes").mkdir(parents=True)
    arms = {"a": {"model": f"file:{MODELS / 'digits-linear.onnx'}", "role": "baseline"}}
    route = {"turnout": "v1", "route": "linear", "arms": arms, "strategy": {"kind": "baseline"}}
    (config / "routes" / "linear.yaml").write_text(json.dumps(route))
    tls = {"cert_file": str(cert), "key_file": str(key), "client_ca_file": str(ours.ca)}
    (config / "turnout.yaml").write_text(json.dumps({"turnout": "v1", "tls": tls}))
    server = start_gateway(config)
    address = f"{scheme}://localhost:{getattr(server, scheme.rstrip('s'))}"

    endpoint = await open_remote("remote:linear", address, ca_file=ours.ca, **shown)
    answer = await endpoint.infer(pixels(ROWS[:1]), deadline_at=later())
    assert "label" == answer.outputs[0].name
    for wrong in ({"ca_file": ours.ca}, {"ca_file": other.ca, **shown}):
        with pytest.raises(LoadRefused):
            await open_remote("remote:linear", address, **wrong)


# from here on the server is scripted

METADATA = {
    "name": "m",
    "versions": ["1", "2"],
    "platform": "p",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}, {"name": "n", "datatype": "INT64", "shape": [1]}],
}
ANSWER = {
    "outputs": [
        {"name": "n", "datatype": "INT64", "shape": [1], "data": [7]},
        {"name": "y", "datatype": "FP32", "shape": [2], "data": [0.5, 0.25]},
    ]
}
X = InferenceRequest("route", (Tensor("x", "FP32", np.array([1, 2], "<f4")),))


def told(status, body, *headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} Said\r\n{lines}content-length: {len(raw)}\r\n\r\n".encode() + raw


def script(infer=None, metadata=None, extensions=(), ready=None):
    """A server's answers; `infer` is what it says to an inference."""

    def answer(asked):
        match asked.line.split()[1]:
            case "/v2":
                return told(200, {"extensions": list(extensions)})
            case path if path.endswith("/ready"):
                return ready or told(200, {})
            case path if path.endswith("/infer"):
                return infer or told(200, ANSWER)
            case _:
                return told(200, METADATA if metadata is None else metadata)

    return answer


@pytest.fixture
async def scripted(script_server, open_remote):
    """A scripted server and an endpoint of it."""

    async def make(*args, server=None, **kwargs):
        started = await script_server(script(*args, **kwargs))
        return started, await open_remote("remote:m", f"http://127.0.0.1:{started.port}", **(server or {}))

    return make


def asked_to_infer(server):
    return next(asked for asked in server.asked if asked.line.endswith("/infer HTTP/1.1"))


async def test_a_server_of_json_alone_is_spoken_to_in_json(scripted):
    """It need not know the binary extension, and may order its outputs as it likes."""
    server, endpoint = await scripted()
    answer = await endpoint.infer(X, deadline_at=later())
    body = json.loads(asked_to_infer(server).body)
    assert [[0.5, 0.25], [7]] == [tensor.array.tolist() for tensor in answer.outputs]
    assert [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1.0, 2.0]}] == body["inputs"]


async def test_a_server_of_many_versions_is_not_said_to_run_one(scripted):
    """Which one answered is the server's secret, so events do not name one."""
    assert UNPINNED == (await scripted())[1].description.version


async def test_the_server_learns_how_long_it_has(scripted):
    server, endpoint = await scripted()
    await endpoint.infer(X, deadline_at=later(5))
    asked = asked_to_infer(server)
    assert 0 < float(asked.headers["x-request-timeout-ms"]) <= 5_000
    assert 0 < json.loads(asked.body)["parameters"]["timeout"] <= 5_000_000


async def test_context_and_the_callers_own_parameters_go_onward(scripted):
    """A trace does not end here; what was meant for this gateway does, and no value begins a header of its own."""
    server, endpoint = await scripted()
    request = InferenceRequest(
        "route",
        X.inputs,
        ("n",),
        id="i",
        parameters={"top_k": 3, "turnout_arm": "b", "timeout": 1, "binary_data_output": True},
        context={"x-request-id": "r", "traceparent": "00-a-b-01", "baggage": "k=v\r\nx-evil: 1"},
    )
    await endpoint.infer(request, deadline_at=later())
    asked = asked_to_infer(server)
    body = json.loads(asked.body)
    assert ("r", "00-a-b-01") == (asked.headers["x-request-id"], asked.headers["traceparent"])
    assert {"x-evil", "baggage"}.isdisjoint(asked.headers)
    assert ({"top_k", "timeout"}, "i", [{"name": "n"}]) == (set(body["parameters"]), body["id"], body["outputs"])


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (400, {"error": "no"}, InvalidInput),
        (422, {"detail": [{"msg": "no"}]}, InvalidInput),
        (400, b"<html>bad gateway</html>", ExecutionFailed),
        (401, {"error": "who?"}, NotReady),
        (404, {"error": "no"}, NotReady),
        (413, {"error": "no"}, ExecutionFailed),
        (429, {"error": "no"}, Overloaded),
        (500, {"error": "no"}, ExecutionFailed),
        (503, b"", NotReady),
        (504, {"error": "no"}, DeadlineExceeded),
        (302, b"", ExecutionFailed),
        (200, b"", InvalidOutput),
        (200, {"outputs": [ANSWER["outputs"][0]]}, InvalidOutput),
        (200, {"outputs": [*ANSWER["outputs"], ANSWER["outputs"][0]]}, InvalidOutput),
        (200, {"outputs": [{"name": "n", "datatype": "INT64", "shape": [2**40], "data": [7]}]}, InvalidOutput),
        (200, {"outputs": [{"name": "n", "datatype": "INT64", "shape": [1], "data": ["7"]}]}, InvalidOutput),
        (
            200,
            {"outputs": [{"name": "n", "datatype": "INT64", "shape": [1], "parameters": {"binary_data_size": 8}}]},
            InvalidOutput,
        ),
    ],
)
async def test_what_a_server_says_has_one_cause(scripted, status, body, cause):
    """Operators count the same causes wherever a model runs; only the protocol's own 400 blames the caller."""
    _, endpoint = await scripted(told(status, body))
    with pytest.raises(cause) as raised:
        await endpoint.infer(X, deadline_at=later())
    assert (cause, True) == (type(raised.value), str(raised.value).isprintable())


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {**METADATA, "outputs": []},
        {**METADATA, "versions": ["1\r\nx: y"]},
        {**METADATA, "outputs": [{"name": "y", "datatype": "COMPLEX", "shape": [1]}]},
        {**METADATA, "outputs": [{"name": "y", "datatype": "FP32", "shape": [-2]}]},
        {**METADATA, "inputs": METADATA["inputs"] * 2},
        b"[",
    ],
    ids=["nothing", "no outputs", "version", "datatype", "shape", "twice", "no JSON"],
)
async def test_a_model_that_is_not_described_is_refused(scripted, metadata):
    """What a server says of itself goes into headers, logs and checks, so it is believed only if it can be."""
    with pytest.raises(LoadRefused):
        await scripted(metadata=metadata)


async def test_a_server_that_returns_with_another_model_stays_down(scripted):
    """A signature is checked at load and whenever a server comes back, not only once."""
    server, endpoint = await scripted()
    server.answer = script(ready=told(503, b""))
    await until(lambda: not endpoint.ready())
    server.answer = script(metadata={**METADATA, "inputs": []})
    await until(lambda: "another signature" in endpoint.watch.why)
    with pytest.raises(NotReady, match="another signature"):
        await endpoint.infer(X, deadline_at=later())
    server.answer = script()
    await until(endpoint.ready)


async def test_a_bad_request_that_was_the_servers_own_trouble_is_found_out(script_server):
    """MLServer answers 400 for a model that is not ready; nobody is blamed for that more than a few times."""
    server = await script_server(script())
    ref = ModelRef("remote:m", ROOT, server=RemoteServer(f"http://127.0.0.1:{server.port}"))
    endpoint = await Remote(pace=Pace(up_s=3600, down_s=0.01)).open(ref)
    said = told(400, {"error": "the model is not ready"})
    server.answer = script(infer=said, ready=said)
    with pytest.raises(InvalidInput):
        await endpoint.infer(X, deadline_at=later())
    await until(lambda: not endpoint.ready())
    await endpoint.close()


async def test_calls_beyond_the_bound_are_told_at_once(scripted, monkeypatch):
    """A slow server cannot pile up connections and answers here."""
    monkeypatch.setattr("runners.remote.CALLS_LIMIT_N", 2)
    server, endpoint = await scripted()
    whole = server.answer
    server.answer = lambda asked: b"" if asked.line.endswith("/infer HTTP/1.1") else whole(asked)
    calls = [asyncio.create_task(endpoint.infer(X, deadline_at=later())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await endpoint.infer(X, deadline_at=later())
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_token_is_read_anew_and_never_shown(scripted, tmp_path, caplog):
    """Whoever rotates a token writes the file and restarts nothing."""
    file = tmp_path / "token"
    file.write_text("first\n")
    server, endpoint = await scripted(server={"token_file": file})
    assert {"Bearer first"} == {asked.headers["authorization"] for asked in server.asked}
    file.write_text("second")
    await until(lambda: server.asked[-1].headers["authorization"] == "Bearer second")
    file.write_text("two words")
    await until(lambda: "token stays" in caplog.text)
    await endpoint.infer(X, deadline_at=later())
    assert "Bearer second" == asked_to_infer(server).headers["authorization"]
    assert {"first", "second", "two words"}.isdisjoint(caplog.text.split())


@pytest.mark.parametrize("content", [None, "", "a b", "a\nb", "ä", "x" * 20_000])
async def test_a_file_without_a_token_is_refused_without_repeating_it(open_remote, tmp_path, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(LoadRefused) as refused:
        await open_remote("remote:m", "http://127.0.0.1:1", token_file=file)
    assert not content or content not in str(refused.value)


# and now it speaks gRPC


class ScriptedGrpc(grpc.GenericRpcHandler):
    """Answers ModelInfer with bytes, or by aborting with a status; notes the metadata of every call."""

    def __init__(self):
        self.infer = answer_message().SerializeToString()
        self.seen = []

    def service(self, details):
        method = details.method.rpartition("/")[2]
        return grpc.unary_unary_rpc_method_handler(getattr(self, f"_{method}"))

    async def _ModelReady(self, body, context):
        return messages.ModelReadyResponse(ready=True).SerializeToString()

    async def _ModelMetadata(self, body, context):
        self.seen.append(dict(context.invocation_metadata()))
        return messages.ModelMetadataResponse(**METADATA).SerializeToString()

    async def _ModelInfer(self, body, context):
        self.seen.append(dict(context.invocation_metadata()))
        self.request = messages.ModelInferRequest.FromString(body)
        self.remaining_s = context.time_remaining()
        if isinstance(self.infer, grpc.StatusCode):
            await context.abort(self.infer, "said\r\nso")
        return self.infer


def answer_message():
    """As the protocol's other servers answer: typed contents."""
    message = messages.ModelInferResponse()
    message.outputs.add(name="n", datatype="INT64", shape=[1]).contents.int64_contents.append(7)
    message.outputs.add(name="y", datatype="FP32", shape=[2]).contents.fp32_contents.extend([0.5, 0.25])
    return message


@pytest.fixture
async def grpc_scripted(open_remote):
    handler = ScriptedGrpc()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def make(**kwargs):
        return handler, await open_remote("remote:m:1", f"grpc://127.0.0.1:{port}", **kwargs)

    yield make
    await server.stop(0)


async def test_a_server_of_typed_contents_is_understood(grpc_scripted):
    """Deadline, version, context and parameters arrive, and outputs come in any order."""
    handler, endpoint = await grpc_scripted()
    request = InferenceRequest(
        "route",
        X.inputs,
        parameters={"top_k": 3, "turnout_unit": "u"},
        context={"x-request-id": "r", "baggage": "a\nb"},
    )
    answer = await endpoint.infer(request, deadline_at=later(5))
    assert [[0.5, 0.25], [7]] == [tensor.array.tolist() for tensor in answer.outputs]
    assert ("m", "1") == (handler.request.model_name, handler.request.model_version)
    assert {"top_k", "timeout"} == set(handler.request.parameters)
    assert 0 < handler.remaining_s <= 5.1  # gRPC rounds it up on the wire
    assert ("r", False) == (handler.seen[-1]["x-request-id"], "baggage" in handler.seen[-1])


async def test_a_token_goes_along_over_grpc_too(grpc_scripted, tmp_path):
    file = tmp_path / "token"
    file.write_text("secret")
    handler, endpoint = await grpc_scripted(token_file=file)
    await endpoint.infer(X, deadline_at=later())
    assert {"Bearer secret"} == {metadata["authorization"] for metadata in handler.seen}


def changed(change):
    message = answer_message()
    change(message)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput),
        (grpc.StatusCode.UNAVAILABLE, NotReady),
        (grpc.StatusCode.NOT_FOUND, NotReady),
        (grpc.StatusCode.CANCELLED, NotReady),
        (grpc.StatusCode.UNAUTHENTICATED, NotReady),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.INTERNAL, ExecutionFailed),
        (grpc.StatusCode.UNIMPLEMENTED, ExecutionFailed),
        (b"\xff\xff", InvalidOutput),
        (b"x" * (66 << 20), InvalidOutput),
        (changed(lambda message: message.outputs.pop()), InvalidOutput),
        (changed(lambda message: message.raw_output_contents.append(b"")), InvalidOutput),
        (changed(lambda message: message.outputs[0].contents.int64_contents.append(8)), InvalidOutput),
        (changed(lambda message: message.outputs[0].contents.bool_contents.append(True)), InvalidOutput),
        (changed(lambda message: message.outputs[0].contents.Clear()), InvalidOutput),
    ],
)
async def test_what_a_grpc_server_says_has_one_cause(grpc_scripted, answer, cause):
    handler, endpoint = await grpc_scripted()
    handler.infer = answer
    with pytest.raises(cause) as raised:
        await endpoint.infer(X, deadline_at=later())
    assert (cause, True) == (type(raised.value), str(raised.value).isprintable())
    assert endpoint.ready()
