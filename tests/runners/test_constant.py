"""The dumb model: what a file says, row for row."""

import json

import numpy as np
import pytest

from runners.constant import Constant
from runners.core.errors import InvalidInput, LoadRefused
from runners.core.runner import ModelRef, OutputPolicy, ProviderChoice
from runners.core.tensor import InferenceRequest, Tensor, TensorSpec


def output(name="y", shape=(-1, 2), data=(0.25, 0.75), datatype="FP32"):
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": list(data)}


PRIOR = {"outputs": [output()]}
TABLE = {
    "inputs": [{"name": "country", "datatype": "BYTES", "shape": [-1, 1]}],
    "outputs": [output("score", [-1], [0.1]), output("label", [-1], ["none"], "BYTES")],
    "key": "country",
    "table": [
        {"when": "nz", "outputs": [{"name": "score", "data": [0.2]}, {"name": "label", "data": ["kiwi"]}]},
        {"when": "no", "outputs": [{"name": "score", "data": [0.4]}]},
    ],
}


@pytest.fixture
def constant(tmp_path):
    """Opens a file of this content."""

    async def open_file(content, **how):
        (tmp_path / "prior.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return await Constant().open(ModelRef("constant:prior.json", tmp_path, **how))

    return open_file


@pytest.fixture
def answered(constant, soon):
    async def ask(content, request):
        endpoint = await constant(content)
        answer = await endpoint.infer(request, deadline_at=soon())
        return {tensor.name: tensor.array.tolist() for tensor in answer.outputs}

    return ask


def texts(*values):
    return np.array([[value.encode()] for value in values], dtype=object).reshape(len(values), 1)


@pytest.mark.parametrize("rows", [0, 1, 3])
async def test_a_row_is_given_once_for_every_row_asked(answered, ask, rows):
    """A batch gets as many answers as it has rows."""
    assert {"y": [[0.25, 0.75]] * rows} == await answered(PRIOR, ask(x=np.zeros((rows, 4), "<f4")))


async def test_a_request_without_inputs_is_one_row(answered, ask):
    """Whoever asks about nothing gets one answer."""
    assert {"y": [[0.25, 0.75]]} == await answered(PRIOR, ask())


async def test_a_whole_tensor_is_given_whole(answered, ask):
    """Without -1 the answer is what the file says, whatever was asked."""
    content = {"outputs": [output(shape=[2], data=[1, 2])]}
    assert {"y": [1, 2]} == await answered(content, ask(x=np.zeros((5, 4), "<f4")))


async def test_inputs_that_are_not_declared_are_not_looked_at(answered, ask):
    """A class prior fits every request."""
    request = ask(anything=np.zeros((1, 2, 3), "<f8"), x=np.zeros(1, "<f4"))
    assert {"y": [[0.25, 0.75]]} == await answered(PRIOR, request)


async def test_inputs_that_are_declared_are_checked(constant, ask, soon):
    """A constant can be as strict as the model it stands in for."""
    endpoint = await constant(PRIOR | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]})
    assert (TensorSpec("x", "FP32", (-1, 4)),) == endpoint.description.signature.inputs
    with pytest.raises(InvalidInput, match=r"input 'x' has shape \[1, 5\], the model takes \[-1, 4\]"):
        await endpoint.infer(ask(x=np.zeros((1, 5), "<f4")), deadline_at=soon())


async def test_a_table_answers_row_by_row(answered, ask):
    """Known values have their rows, unknown ones the default, and what a row leaves out is the default's."""
    answer = await answered(TABLE, ask(country=texts("no", "nz", "xx")))
    assert {"score": [np.float32(v) for v in (0.4, 0.2, 0.1)], "label": [b"none", b"kiwi", b"none"]} == answer


@pytest.mark.parametrize(
    ("datatype", "values", "when"),
    [
        ("INT64", np.array([7, 8], "<i8"), 7),
        ("UINT8", np.array([7, 8], "u1"), 7),
        ("BOOL", np.array([True, False]), True),
    ],
)
async def test_a_key_may_be_an_integer_or_a_truth(answered, datatype, values, when):
    """Whatever has equal values."""
    content = {
        "inputs": [{"name": "k", "datatype": datatype, "shape": [-1]}],
        "outputs": [output("y", [-1], [0])],
        "key": "k",
        "table": [{"when": when, "outputs": [{"name": "y", "data": [1]}]}],
    }
    assert {"y": [1, 0]} == await answered(content, InferenceRequest("m", (Tensor("k", datatype, values),)))


async def test_a_file_says_which_version_it_is(constant):
    """Else its digest does, and the operator's word beats both."""
    plain, own = await constant(PRIOR), await constant(PRIOR | {"version": "priors-3"})
    assert (plain.description.digest[:12], "priors-3") == (plain.description.version, own.description.version)
    assert "9" == (await constant(PRIOR | {"version": "priors-3"}, version="9")).description.version


async def test_rows_without_end_are_not_answered(constant, soon):
    """A tensor of no columns can have any number of rows, and costs nothing to send."""
    endpoint = await constant(PRIOR)
    empty = Tensor("x", "FP32", np.zeros((50_000_000, 0), "<f4"))
    with pytest.raises(InvalidInput, match="50000000 rows would be answered with 400000000 bytes"):
        await endpoint.infer(InferenceRequest("m", (empty,)), deadline_at=soon())


MISTAKES = {
    "no JSON": ("outputs: y", "is not a constant model"),
    "no object": ("[]", "is not a constant model"),
    "too deep": ("[" * 100_000, "is not a constant model"),
    "no outputs": ({"outputs": []}, "it declares no outputs"),
    "a misspelt field": (PRIOR | {"ouputs": []}, "unknown field `ouputs`"),
    "an output twice": ({"outputs": [output(), output()]}, r"output \['y'\] is declared twice"),
    "an unknown datatype": ({"outputs": [output(datatype="FLOAT")]}, "has datatype 'FLOAT', known are"),
    "too few elements": ({"outputs": [output(data=[1])]}, r"has 1 elements, shape \[2\] needs 2"),
    "a text for a number": ({"outputs": [output(data=["a", "b"])]}, "is not FP32 data"),
    "half floats": ({"outputs": [output(datatype="FP16")]}, "has no JSON form"),
    "a dimension that is open inside": ({"outputs": [output(shape=[-1, -1])]}, "has a negative dimension"),
    "NaN": ({"outputs": [output(data=[None, 1])]}, "holds NaN or Inf"),
    "an input twice": (TABLE | {"inputs": TABLE["inputs"] * 2}, "is declared twice"),
    "an unknown input datatype": (
        PRIOR | {"inputs": [{"name": "x", "datatype": "TEXT", "shape": [1]}]},
        "has datatype 'TEXT', which there is not",
    ),
    "an input dimension below -1": (
        PRIOR | {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-2]}]},
        "has a dimension below -1",
    ),
    "a key without a table": (TABLE | {"table": []}, "key and table go together"),
    "a table without a key": (TABLE | {"key": ""}, "key and table go together"),
    "a key that is no input": (TABLE | {"key": "region"}, "key 'region' must be one of the inputs"),
    "a key of more than one column": (
        TABLE | {"inputs": [{"name": "country", "datatype": "BYTES", "shape": [-1, 2]}]},
        "of shape",
    ),
    "a key without declared inputs": ({k: v for k, v in TABLE.items() if k != "inputs"}, "must be one of the inputs"),
    "a whole tensor beside a key": (
        TABLE | {"outputs": [output("score", [1], [1])], "table": [{"when": "nz", "outputs": []}]},
        "must have the first dimension -1",
    ),
    "a value of another type": (
        TABLE | {"table": [{"when": 7, "outputs": []}]},
        "the table has 7, but 'country' is BYTES",
    ),
    "a value twice": (TABLE | {"table": TABLE["table"] * 2}, "the table has 'nz' twice"),
    "a row for no output": (
        TABLE | {"table": [{"when": "nz", "outputs": [{"name": "z", "data": [1]}]}]},
        "that are not declared",
    ),
    "a row twice": (
        TABLE | {"table": [{"when": "nz", "outputs": [{"name": "score", "data": [1]}] * 2}]},
        "is declared twice",
    ),
    "a row of the wrong size": (
        TABLE | {"table": [{"when": "nz", "outputs": [{"name": "score", "data": [1, 2]}]}]},
        "has 2 elements",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_every_mistake_in_a_file_is_told(constant, mistake):
    """A constant that can be opened can answer."""
    content, why = MISTAKES[mistake]
    with pytest.raises(LoadRefused, match=f"^prior.json: .*{why}"):
        await constant(content)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"outputs": OutputPolicy(ranges=(("y", 0.5, 1.0),))}, "expected within 0.5 to 1.0"),
        ({"outputs": OutputPolicy(ranges=(("z", 0.5, 1.0),))}, "the model has no such output"),
        ({"provider": ProviderChoice("cuda")}, "a constant runs on no device"),
    ],
)
async def test_what_cannot_hold_of_a_constant_is_told(constant, how, why):
    """An operator hears of a mistake before a client does."""
    with pytest.raises(LoadRefused, match=why):
        await constant(PRIOR, **how)


async def test_a_constant_that_was_to_prefer_a_gpu_says_it_has_none(constant):
    """It is no worse for it, but it is said."""
    endpoint = await constant(PRIOR, provider=ProviderChoice("cuda", "prefer"))
    assert "cuda was preferred, but a constant runs on no device" == endpoint.description.degraded


async def test_a_constant_is_held_to_golden_requests_too(constant, tmp_path):
    """Whoever gives any is taken at their word."""
    case = {"inputs": [], "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.7]}]}
    (tmp_path / "golden.json").write_text(json.dumps([case]))
    with pytest.raises(LoadRefused, match=r"output 'y' at \[0, 1\] is 0.75"):
        await constant(PRIOR, golden=tmp_path / "golden.json")


async def test_a_model_file_is_no_constant(model_file):
    """And says so, instead of something else."""
    path = model_file("sum")
    with pytest.raises(LoadRefused, match=r"sum.onnx: is not a constant model"):
        await Constant().open(ModelRef("constant:sum.onnx", path.parent))


async def test_the_examples_in_the_documentation_open(tmp_path):
    """What the docstring shows works."""
    import runners.constant

    blocks = runners.constant.__doc__.split("\n\n")
    examples = [block for block in blocks if block.strip().startswith('{"inputs"')]
    assert 2 == len(examples)
    for number, example in enumerate(examples):
        (tmp_path / f"{number}.json").write_text(example)
        assert (await Constant().open(ModelRef(f"constant:{number}.json", tmp_path))).ready()
