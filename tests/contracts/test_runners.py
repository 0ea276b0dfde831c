"""What every runner promises, asked of each: the models are different, the promises are the same."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import numpy as np
import onnx.parser
import pytest

from runners.constant import Constant
from runners.core.catalogue import known_runners
from runners.core.errors import DeadlineExceeded, InvalidInput, NotReady
from runners.core.runner import Endpoint, Hosting, ModelRef, RemoteServer
from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.embedded import Embedded
from runners.fake import Compute, Fake, FakeEndpoint, Hang
from runners.ray.board import Board
from runners.ray.endpoint import HopEndpoint
from runners.ray.members import Member, Membership
from runners.ray.opener import RayRunner
from runners.ray.serving import Hop, serve_hop
from runners.ray.settings import Dial, Listen, Pace
from runners.remote import Remote

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 1)), TensorSpec("n", "INT64", (-1,)))
)
HEAD = '<ir_version: 9, opset_import: ["": 17]> '
# y is the sum of a row, n is always 7
SUMS = (
    HEAD
    + """m (float[N,4] x) => (float[N,1] y, int64[N] n) <int64[1] axis = {1}, int64 seven = {7}, float zero = {0}> {
    y = ReduceSum <keepdims = 1> (x, axis)
    flat = ReduceSum <keepdims = 0> (x, axis)
    none = Mul(flat, zero)
    nothing = Cast <to = 7> (none)
    n = Add(nothing, seven) }"""
)
ENDLESS = (
    HEAD
    + """m (float[N,4] x) => (float[N,4] y) <int64 most = {9223372036854775807}, float zero = {0}> {
    top = ReduceMax <keepdims = 0> (x)
    positive = Greater(top, zero)
    y = Loop <body = body (int64 i, bool go, float[N,4] v) => (bool on, float[N,4] w) {
        on = Identity(go)  w = Add(v, v) }> (most, positive, x) }"""
)


@dataclass
class Subject:
    """A runner under test: how to open a model that answers, and one that hangs where the runner can have one."""

    answering: Callable[[], Awaitable[Endpoint]]
    hanging: Callable[[], Awaitable[Endpoint]] | None
    y: Callable[[np.ndarray], list[list[float]]]  # what the answering model gives as y
    has_file: bool = True  # here, so that the model has a digest
    hops: list[Hop] = field(default_factory=list)  # to be closed in the end


@pytest.fixture(scope="module")
def elsewhere(start_shared_gateway, tmp_path_factory):
    """A gateway that serves the models of `embedded`, for runners that hold none themselves."""
    config = tmp_path_factory.mktemp("elsewhere")
    (config / "routes").mkdir()
    for name, text in (("sums", SUMS), ("endless", ENDLESS)):
        (config / f"{name}.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
        arms = {name: {"model": f"file:{name}.onnx", "role": "baseline"}}
        route = {"turnout": "v1", "route": name, "arms": arms, "strategy": {"kind": "baseline"}}
        (config / "routes" / f"{name}.yaml").write_text(json.dumps(route))
    return start_shared_gateway(config)


def remote(url):
    def opener(name):
        return lambda: Remote().open(ModelRef(f"remote:{name}", Path(), server=RemoteServer(url)))

    return Subject(opener("sums"), opener("endless"), lambda x: x.sum(1, keepdims=True).tolist(), has_file=False)


def remote_over_http(elsewhere):
    return remote(f"http://127.0.0.1:{elsewhere.http}")


def remote_over_grpc(elsewhere):
    return remote(f"grpc://127.0.0.1:{elsewhere.grpc}")


def embedded(folder):
    def opener(name, text):
        (folder / name).write_bytes(onnx.parser.parse_model(text).SerializeToString())
        return lambda: Embedded().open(ModelRef(f"file:{name}", folder))

    return Subject(
        opener("sums.onnx", SUMS), opener("endless.onnx", ENDLESS), lambda x: x.sum(1, keepdims=True).tolist()
    )


def constant(folder):
    content = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [-1, 1], "data": [0.5]},
            {"name": "n", "datatype": "INT64", "shape": [-1], "data": [7]},
        ],
    }
    (folder / "constant.json").write_text(json.dumps(content))
    reference = ModelRef("constant:constant.json", folder)
    return Subject(lambda: Constant().open(reference), None, lambda x: [[0.5]] * len(x))


def fake(folder):
    def sums(request):
        x = request.inputs[0].array
        return Tensor("y", "FP32", x.sum(1, keepdims=True)), Tensor("n", "INT64", np.full(len(x), 7, "<i8"))

    def opener(script):
        return lambda: Fake({"fake:m": FakeEndpoint(SIGNATURE, script)}).open(ModelRef("fake:m", folder))

    return Subject(opener([Compute(sums)]), opener([Hang()]), lambda x: x.sum(1, keepdims=True).tolist())


def behind_a_hop(folder, reach):
    """The models of `embedded`, each in a replica: a thread with a loop of its own, behind a socket."""
    behind = embedded(folder)
    (folder / "secret").write_bytes(b"of sixteen bytes or more")
    dial = Dial(folder / "secret", pace=Pace(silent_s=60, greeting_s=60))

    def opener(open_endpoint, name):
        async def open_over_hop():
            hop = serve_hop(open_endpoint, Listen(name, folder / "secret", unix=str(folder / name)))
            subject.hops.append(hop)
            return await reach(dial, Membership(1, (Member("arm", name, hop.address),)))

        return open_over_hop

    subject = Subject(opener(behind.answering, "answering"), opener(behind.hanging, "hanging"), behind.y)
    return subject


def embedded_over_a_hop(folder):
    async def reach(dial, membership):
        endpoint = HopEndpoint("arm", dial)
        endpoint.update(membership)
        await endpoint.greeted(60)
        return endpoint

    return behind_a_hop(folder, reach)


def ray(folder):
    """As the runner opens an arm whose replicas an agent has told of."""

    async def reach(dial, membership):
        model = ModelRef("file:sums.onnx", folder, hosting=Hosting(key="arm"))
        return await RayRunner(Board(dial, membership)).open(model)

    return behind_a_hop(folder, reach)


HERE = {
    "embedded": embedded,
    "constant": constant,
    "fake": fake,
    "embedded over a hop": embedded_over_a_hop,
    "ray": ray,
}
ELSEWHERE = {"remote over http": remote_over_http, "remote over grpc": remote_over_grpc}


@pytest.fixture(params=[*HERE, *ELSEWHERE])
def subject(request, tmp_path):
    if request.param in HERE:
        made = HERE[request.param](tmp_path)
    else:
        made = ELSEWHERE[request.param](request.getfixturevalue("elsewhere"))
    yield made
    for hop in made.hops:
        hop.close()


@pytest.fixture
async def endpoint(subject):
    opened = await subject.answering()
    yield opened
    await opened.close()


@pytest.fixture
async def hanging(subject):
    if subject.hanging is None:
        pytest.skip("this runner's models cannot hang")
    opened = await subject.hanging()
    yield opened
    await opened.close()


def request_of(x, outputs=()):
    return InferenceRequest("m", (Tensor("x", "FP32", x),), outputs)


def ones(rows=1):
    return np.ones((rows, 4), "<f4")


def later():
    return monotonic() + 30


def test_every_runner_is_asked():
    """A new runner makes these promises too."""
    assert set(known_runners()) == {name.split()[0] for name in (*HERE, *ELSEWHERE)}


async def test_an_open_model_is_ready_and_says_what_it_is(subject, endpoint):
    """Metadata can be answered, and evidence has a version to name."""
    found = endpoint.description
    assert (True, SIGNATURE) == (endpoint.ready(), found.signature)
    assert all((found.platform, found.version, found.provider))
    assert subject.has_file == bool(found.digest)


@pytest.mark.parametrize("rows", [0, 1, 8, 9, 100])
async def test_every_row_is_answered(subject, endpoint, rows):
    """A batch gets as many answers as it has rows, wherever it is run."""
    x = np.arange(rows * 4, dtype="<f4").reshape(rows, 4)
    y, n = (await endpoint.infer(request_of(x), deadline_at=later())).outputs
    assert ("y", "FP32", subject.y(x)) == (y.name, y.datatype, y.array.tolist())
    assert ("n", "INT64", [7] * rows) == (n.name, n.datatype, n.array.tolist())


@pytest.mark.parametrize("wanted", [("n",), ("n", "y"), ("y",)])
async def test_what_is_asked_for_is_given_in_the_order_asked(endpoint, wanted):
    """Whoever names outputs gets those."""
    outputs = (await endpoint.infer(request_of(ones(), wanted), deadline_at=later())).outputs
    assert wanted == tuple(tensor.name for tensor in outputs)


@pytest.mark.parametrize(
    "request_",
    [
        InferenceRequest("m", ()),
        InferenceRequest("m", (Tensor("z", "FP32", ones()),)),
        InferenceRequest("m", (Tensor("x", "FP32", ones()), Tensor("x", "FP32", ones()))),
        InferenceRequest("m", (Tensor("x", "FP64", np.ones((1, 4))),)),
        InferenceRequest("m", (Tensor("x", "FP32", np.ones((1, 4))),)),
        InferenceRequest("m", (Tensor("x", "FP32", np.ones((1, 5), "<f4")),)),
        InferenceRequest("m", (Tensor("x", "FP32", np.ones(4, "<f4")),)),
        request_of(ones(), ("z",)),
        request_of(ones(), ("y", "y")),
    ],
    ids=["missing", "unknown", "twice", "datatype", "array", "shape", "rank", "output", "output twice"],
)
async def test_a_request_that_does_not_fit_is_the_callers_fault(endpoint, request_):
    """Every runner refuses the same things, and a fallback is not tried."""
    with pytest.raises(InvalidInput):
        await endpoint.infer(request_, deadline_at=later())


async def test_a_deadline_that_has_passed_is_told_at_once(endpoint):
    """Late work is not begun."""
    with pytest.raises(DeadlineExceeded):
        await endpoint.infer(request_of(ones()), deadline_at=monotonic() - 1)


async def test_a_model_that_hangs_is_answered_for_at_the_deadline(hanging):
    """Nobody waits longer than they said they would."""
    with pytest.raises(DeadlineExceeded):
        await hanging.infer(request_of(ones()), deadline_at=monotonic() + 0.05)


async def test_calls_behind_one_that_hangs_keep_their_own_deadlines(hanging):
    """A queue is no excuse."""
    calls = [hanging.infer(request_of(ones()), deadline_at=monotonic() + 0.05 * n) for n in (1, 2, 3)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [DeadlineExceeded] * 3 == [type(outcome) for outcome in outcomes]


async def test_a_caller_may_leave(hanging):
    """And hears nothing more."""
    call = asyncio.create_task(hanging.infer(request_of(ones()), deadline_at=later()))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_closing_fails_the_calls_under_way(hanging):
    """Nobody waits for a model that is gone."""
    calls = [asyncio.create_task(hanging.infer(request_of(ones()), deadline_at=later())) for _ in range(3)]
    await asyncio.sleep(0)
    await hanging.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [NotReady] * 3 == [type(outcome) for outcome in outcomes]


async def test_a_closed_model_is_not_ready(endpoint):
    """And says so, to probes and callers."""
    await endpoint.close()
    assert not endpoint.ready()
    with pytest.raises(NotReady):
        await endpoint.infer(request_of(ones()), deadline_at=later())


async def test_closing_twice_is_harmless(endpoint):
    """Whoever shares a model may close it too."""
    await endpoint.close()
    await endpoint.close()


async def test_many_callers_get_their_own_answers(subject, endpoint):
    """Nobody gets somebody else's."""
    batches = [np.full((rows, 4), number, "<f4") for number, rows in enumerate([1, 9] * 25)]
    calls = [endpoint.infer(request_of(x), deadline_at=later()) for x in batches]
    answers = await asyncio.gather(*calls)
    assert [subject.y(x) for x in batches] == [answer.outputs[0].array.tolist() for answer in answers]
