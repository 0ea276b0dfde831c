"""What each client can say with a request, and how it learns what was done with it."""

import pytest

STOCK = ("triton_http", "triton_http_aio", "triton_grpc", "triton_grpc_aio")
VERSIONED = (*STOCK, "curl", "reflected")  # KServe's clients send no version
FORMS = {"HTTP": "binary", "gRPC": "raw"}
SLOW_BUDGET_US = 5_000  # of a model that takes some 70 ms
UNITS = [f"account-{number}" for number in range(24)]


def only(*names):
    return pytest.mark.parametrize("client", names, indirect=True)


@pytest.fixture
def infer(client, case):
    """One inference of a case, in a form that every client of the transport has."""

    def ask(model, of, form="", **job):
        inputs = case(*of)["inputs"]
        return client.ask("infer", **{"model": model, "inputs": inputs, "how": form or FORMS[client.transport], **job})

    return ask


def changed(inputs, **change):
    """The same inputs, the first of them changed."""
    return [{**inputs[0], **change}, *inputs[1:]]


@pytest.mark.parametrize("wanted", [["d"], ["d", "c"]])
def test_outputs_are_those_asked_for_in_that_order(infer, case, wanted):
    """Who asks for one output does not pay for two."""
    known = {tensor["name"]: tensor for tensor in case("pair", "two rows")["expected"]["old"]}
    answer = infer("pair-baseline", ("pair", "two rows"), outputs=wanted)
    assert [known[name] for name in wanted] == answer["outputs"]


def test_the_id_comes_back(infer):
    """Answers can be told apart by what the caller called them."""
    assert "order 66" == infer("digits-ab", ("digits", "1 rows"), request_id="order 66")["id"]


def test_parameters_of_one_s_own_are_let_through(infer):
    """Text, integers and truths that nobody here knows harm nothing."""
    parameters = {"a_text": "grüße", "a_number": -3, "a_truth": True}
    assert "old" == arm_of(infer("digits-baseline", ("digits", "1 rows"), parameters=parameters))


def test_the_answer_says_who_gave_it(infer):
    """Also where a client shows no headers, the parameters of the answer tell."""
    parameters = infer("digits-baseline", ("digits", "1 rows"))["parameters"]
    assert ("old", "v1", "only_arm") == tuple(parameters[f"turnout_{name}"] for name in ("arm", "version", "reason"))


@only("kserve_rest", "curl", "reflected")
def test_the_headers_say_the_same(infer):
    """Where a client shows headers or metadata, they carry it too, and the id."""
    answer = infer("digits-baseline", ("digits", "1 rows"), request_id="mine")
    names = ("x-turnout-arm", "x-turnout-version", "x-request-id")
    assert ["old", "v1", "mine"] == [answer["headers"][name] for name in names]


@pytest.mark.parametrize("strategy", ["ab", "canary"])
def test_a_unit_meets_one_arm_however_it_is_named(infer, strategy, known_arms):
    """By header or by parameter, over HTTP or gRPC, with any client: an account meets the same arm."""
    route = f"digits-{strategy}"
    by_header = [arm_of(infer(route, ("digits", "1 rows"), headers={"x-turnout-unit": unit})) for unit in UNITS]
    by_parameter = [arm_of(infer(route, ("digits", "1 rows"), parameters={"turnout_unit": unit})) for unit in UNITS]
    assert by_header == by_parameter == known_arms(route, by_header)
    assert {"old", "new"} == set(by_header)


@only(*STOCK)
def test_a_sequence_stays_with_its_arm(infer, known_arms):
    """Triton's sequence ids, numbers or texts, keep their arm as a unit does."""
    numbers = [arm_of(infer("digits-canary", ("digits", "1 rows"), sequence_id=number)) for number in range(1, 17)]
    again = [arm_of(infer("digits-canary", ("digits", "1 rows"), sequence_id=str(number))) for number in range(1, 17)]
    assert numbers == again == known_arms("sequence", numbers)
    assert {"old", "new"} == set(numbers)


def test_a_fallback_is_named_in_the_answer(infer, case):
    """A candidate that fails is stepped in for, and the client can see it."""
    answer = infer("failing", ("digits", "7 rows"))
    assert ("old", "error") == (arm_of(answer), answer["parameters"]["turnout_fallback"])
    assert case("digits", "7 rows")["expected"]["old"] == answer["outputs"]


def test_a_fallback_can_be_declined(client, case, outcome):
    """Who would rather have an error than another arm's answer gets it, by header or by metadata."""
    job = {"model": "failing", "inputs": case("digits", "1 rows")["inputs"], "how": FORMS[client.transport]}
    assert isinstance(outcome(client, "infer", **job, headers={"x-turnout-fallback": "never"}), str)


@only(*VERSIONED)
@pytest.mark.parametrize(("version", "arm"), [("v1", "old"), ("v2", "new")])
def test_a_version_can_be_asked_for(infer, version, arm):
    """Where the route lets its clients choose, they get the arm of that version."""
    answer = infer("pinned", ("digits", "1 rows"), version=version)
    assert (arm, "pinned") == (arm_of(answer), answer["parameters"]["turnout_reason"])


@only(*VERSIONED)
def test_a_version_that_is_not_offered_is_refused_in_words(client, case, outcome):
    """A route that does not let its clients choose says so."""
    job = {"model": "digits-ab", "inputs": case("digits", "1 rows")["inputs"], "version": "v2"}
    assert "does not let clients choose" in outcome(client, "infer", how=FORMS[client.transport], **job)


def test_a_budget_that_runs_out_is_a_deadline_exceeded(client, case, outcome):
    """The protocol's `timeout` in microseconds is kept, and the client's exception says what happened."""
    job = {"model": "slow", "inputs": case("digits", "1 rows")["inputs"], "timeout_us": SLOW_BUDGET_US}
    assert "deadline" in outcome(client, "infer", how=FORMS[client.transport], **job).lower()


def test_a_budget_in_a_header_is_kept(client, case, outcome):
    """The header, or metadata of the same name, does what the parameter does."""
    job = {"model": "slow", "inputs": case("digits", "1 rows")["inputs"], "headers": {"x-request-timeout-ms": "5"}}
    assert "deadline" in outcome(client, "infer", how=FORMS[client.transport], **job).lower()


@only("triton_grpc", "triton_grpc_aio")
def test_a_deadline_of_grpc_itself_is_kept(client, case, outcome):
    """A client's own timeout travels as the call's deadline."""
    job = {"model": "slow", "inputs": case("digits", "1 rows")["inputs"], "client_timeout": SLOW_BUDGET_US / 1e6}
    assert "deadline exceeded" in outcome(client, "infer", how="raw", **job).lower().replace("_", " ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": "digit-ab"}, "no model 'digit-ab' here; did you mean 'digits-ab'?"),
        ({"name": "pixel"}, "input 'pixel' is unknown, the model takes 'pixels'"),
        ({"shape": [64]}, "the model takes"),
        ({"datatype": "INT32"}, "the model takes"),
        ({"outputs": ["probability"]}, "output 'probability' is unknown, the model gives 'label', 'probabilities'"),
    ],
)
def test_a_mistake_is_told_in_the_client_s_exception(client, case, outcome, change, says):
    """Whoever made a mistake reads what it was and what would have been right."""
    inputs = case("digits", "1 rows")["inputs"]
    job = {"model": "digits-ab", "how": FORMS[client.transport]}
    job |= {key: value for key, value in change.items() if key in ("model", "outputs")}
    wire = {key: value for key, value in change.items() if key not in job}
    assert says in outcome(client, "infer", inputs=changed(inputs, **wire), **job)


def test_bytes_that_are_no_text_are_refused_in_words(client, outcome):
    """A string model takes UTF-8, and says so."""
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "hex": "01000000ff"}
    job = {"model": "text-baseline", "inputs": [tensor], "how": FORMS[client.transport]}
    assert "not UTF-8" in outcome(client, "infer", **job)


@only("triton_http", "triton_http_aio", "curl")
@pytest.mark.parametrize("datatype", ["fp16", "bf16"])
def test_what_json_cannot_hold_is_refused_in_words(client, case, outcome, datatype):
    """Sixteen-bit floats have no JSON form, and the client is told what to do."""
    job = {"model": f"{datatype}-baseline", "inputs": case(datatype, "edges")["inputs"], "outputs": ["y"]}
    assert "ask for it as binary tensor data" in outcome(client, "infer", how="binary-to-json", **job)


@only("triton_http", "triton_http_aio", "curl")
@pytest.mark.parametrize("datatype", ["fp32", "fp64"])
def test_what_is_not_finite_is_nan_in_json(infer, case, datatype):
    """JSON has neither NaN nor infinity; a client that reads JSON finds NaN for all three."""
    answer = infer(f"{datatype}-baseline", (datatype, "not finite"), "binary-to-json", outputs=["y"])
    nan = case(datatype, "not finite")["inputs"][0]["hex"]
    assert nan[: len(nan) // 3] * 3 == answer["outputs"][0]["hex"]


@only("kserve_rest")
def test_a_null_is_a_nan(infer):
    """KServe's client writes NaN as null, which is read as it was meant."""
    answer = infer("fp32-baseline", ("fp32", "not finite"), "json")
    assert "0000c07f" * 3 == answer["outputs"][0]["hex"]


@only("curl")
def test_a_bare_text_is_a_request(client):
    """A body that is nothing but one string needs no JSON at all."""
    tensor = {"name": "x", "datatype": "BYTES", "shape": [1], "hex": "0300000061" + "00" + "62"}
    assert [{**tensor, "name": "y"}] == client.ask("infer", model="note", inputs=[tensor], how="bare")["outputs"]


def arm_of(answer):
    return answer["parameters"]["turnout_arm"]
