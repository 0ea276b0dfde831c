"""What is refused before a model is called, and what after."""

import numpy as np
import pytest

from runners.core.checks import InputCheck, OutputCheck
from runners.core.errors import InvalidInput, InvalidOutput, LoadRefused
from runners.core.runner import OutputPolicy
from runners.core.tensor import DATATYPES, InferenceRequest, Signature, Tensor, TensorSpec

SIGNATURE = Signature(
    inputs=(TensorSpec("x", "FP32", (-1, 4)), TensorSpec("n", "INT64", ())),
    outputs=(TensorSpec("y", "FP32", (-1, 2)), TensorSpec("label", "INT64", (-1,))),
)
X = Tensor("x", "FP32", np.zeros((3, 4), "<f4"))
N = Tensor("n", "INT64", np.array(1, "<i8"))
Y = Tensor("y", "FP32", np.zeros((3, 2), "<f4"))
LABEL = Tensor("label", "INT64", np.zeros(3, "<i8"))


def request(*inputs, outputs=()):
    return InferenceRequest("m", inputs, outputs)


def refusal(*inputs, outputs=()):
    with pytest.raises(InvalidInput) as caught:
        InputCheck(SIGNATURE)(request(*inputs, outputs=outputs))
    return str(caught.value)


def test_inputs_that_fit_pass_in_any_order():
    """A client may list its inputs as it likes."""
    InputCheck(SIGNATURE)(request(N, X))


def test_a_wrong_shape_is_told_with_the_right_one():
    """A client reads what it sent and what the model takes."""
    told = refusal(Tensor("x", "FP32", np.zeros((1, 5), "<f4")), N)
    assert "input 'x' has shape [1, 5], the model takes [-1, 4]" == told


def test_a_wrong_rank_is_refused():
    """A flat row is not a batch of one."""
    told = refusal(Tensor("x", "FP32", np.zeros(4, "<f4")), N)
    assert "input 'x' has shape [4], the model takes [-1, 4]" == told


def test_a_scalar_is_not_a_list_of_one():
    """Rank 0 and rank 1 are different things."""
    told = refusal(X, Tensor("n", "INT64", np.zeros(1, "<i8")))
    assert "input 'n' has shape [1], the model takes []" == told


def test_a_batch_may_be_empty():
    """Zero rows are a legal number of rows."""
    InputCheck(SIGNATURE)(request(Tensor("x", "FP32", np.zeros((0, 4), "<f4")), N))


def test_a_wrong_datatype_is_told_with_the_right_one():
    """A client reads which datatype to send."""
    told = refusal(Tensor("x", "FP64", np.zeros((1, 4), "<f8")), N)
    assert "input 'x' has datatype 'FP64', the model takes FP32" == told


def test_an_array_that_is_not_what_its_datatype_says_is_refused():
    """A codec's mistake is not passed on to the runtime."""
    told = refusal(Tensor("x", "FP32", np.zeros((1, 4), ">f4")), N)
    assert "input 'x' has elements held as >f4, which is not how FP32 is held, the model takes float32" == told


def test_an_unknown_input_is_told_with_the_known_ones():
    """A client that misspelt a name reads the right one."""
    assert "input 'z' is unknown, the model takes 'x', 'n'" == refusal(X, N, Tensor("z", "FP32", X.array))


def test_missing_inputs_are_named():
    """A client reads all that is missing."""
    assert "input 'x', 'n' is missing, the model takes 'x', 'n'" == refusal()


def test_an_input_given_twice_is_refused():
    """Nobody guesses which of two was meant."""
    assert "input 'x' is given twice" == refusal(X, X, N)


def test_an_unknown_output_is_told_with_the_known_ones():
    """A client that asks for what there is not reads what there is."""
    assert "output 'z' is unknown, the model gives 'y', 'label'" == refusal(X, N, outputs=("y", "z"))


def test_an_output_asked_for_twice_is_refused():
    """An answer has every output once."""
    assert "output 'y' is asked for twice" == refusal(X, N, outputs=("y", "y"))


def test_a_long_name_is_cut_and_escaped_in_the_error():
    """Nobody writes a novel, or a second line, into the log."""
    told = refusal(Tensor("\n" * 9999, "FP32", X.array))
    assert (True, False) == (len(told) < 300, "\n" in told)


def test_a_check_that_is_not_strict_looks_at_wanted_outputs_alone():
    """A constant model may ignore what it is sent, not what it is asked."""
    check = InputCheck(SIGNATURE, strict=False)
    check(request(X, X))
    with pytest.raises(InvalidInput):
        check(request(outputs=("z",)))


REJECTING = OutputPolicy()


def verdict(*outputs, wanted=(), policy=REJECTING, signature=SIGNATURE):
    with pytest.raises(InvalidOutput) as caught:
        OutputCheck(signature, policy)(wanted, outputs)
    return str(caught.value)


def test_outputs_that_fit_pass():
    """A good answer goes out."""
    OutputCheck(SIGNATURE, OutputPolicy())((), (Y, LABEL))


def test_outputs_asked_for_pass_in_the_order_asked():
    """A subset is a whole answer if it was the subset asked for."""
    OutputCheck(SIGNATURE, OutputPolicy())(("label", "y"), (LABEL, Y))


@pytest.mark.parametrize("given", [(Y,), (Y, LABEL, LABEL), (LABEL, Y), ()])
def test_outputs_missing_too_many_or_in_the_wrong_order_are_refused(given):
    """An answer never lacks what was asked, nor passes one tensor for another."""
    assert "expected 'y', 'label'" in verdict(*given)


def test_an_output_of_the_wrong_shape_is_refused():
    """A model that breaks its signature has failed."""
    told = verdict(Tensor("y", "FP32", np.zeros((3, 3), "<f4")), LABEL)
    assert "output 'y' has shape [3, 3], expected [-1, 2]" == told


def test_an_output_of_the_wrong_datatype_is_refused():
    """A model that breaks its signature has failed."""
    assert "output 'y' has datatype 'FP64', expected FP32" == verdict(Tensor("y", "FP64", np.zeros((3, 2))), LABEL)


def one(datatype):
    return Signature((), (TensorSpec("y", datatype, (-1,)),))


def array_with(datatype, bad, size):
    array = np.zeros(size, DATATYPES[datatype].numpy)
    array[-1] = bad
    return array


@pytest.mark.parametrize("size", [1, 32, 33, 5000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_nan_and_inf_are_refused_wherever_they_hide(datatype, bad, size):
    """No NaN reaches a client whose route rejects it."""
    told = verdict(Tensor("y", datatype, array_with(datatype, bad, size)), signature=one(datatype))
    assert "output 'y' holds NaN or Inf" == told


@pytest.mark.parametrize("bits", [0x7FC0, 0x7F80, 0xFF80])
def test_nan_and_inf_are_refused_in_bf16(bits):
    """A datatype that numpy does not know is no hiding place."""
    told = verdict(Tensor("y", "BF16", array_with("BF16", bits, 3)), signature=one("BF16"))
    assert "output 'y' holds NaN or Inf" == told


def test_opposite_infinities_do_not_cancel_out():
    """Inf and -Inf are two faults, not none."""
    array = np.array([np.inf, -np.inf], "<f4")
    assert "output 'y' holds NaN or Inf" == verdict(Tensor("y", "FP32", array), signature=one("FP32"))


def test_large_numbers_whose_sum_overflows_are_no_fault():
    """Big is not infinite."""
    array = np.full(4, 1.7e308)
    OutputCheck(one("FP64"), OutputPolicy())((), (Tensor("y", "FP64", array),))


def test_nan_passes_where_the_operator_lets_it():
    """A model whose NaN means something keeps it."""
    array = np.array([np.nan], "<f4")
    OutputCheck(one("FP32"), OutputPolicy(nan="pass"))((), (Tensor("y", "FP32", array),))


@pytest.mark.parametrize(("datatype", "value"), [("FP32", 1.5), ("INT64", 2), ("BF16", 0x4000)])
def test_a_broken_range_is_told_with_its_bounds(datatype, value):
    """A probability of 1.5 does not go out."""
    policy = OutputPolicy(ranges=(("y", 0.0, 1.0),))
    told = verdict(Tensor("y", datatype, array_with(datatype, value, 3)), policy=policy, signature=one(datatype))
    assert "expected within 0.0 to 1.0" in told


def test_the_ends_of_a_range_belong_to_it():
    """A certainty is a probability."""
    policy = OutputPolicy(ranges=(("y", 0.0, 1.0),))
    OutputCheck(one("FP32"), policy)((), (Tensor("y", "FP32", np.array([0, 1], "<f4")),))


def test_an_empty_output_keeps_any_range():
    """No rows, no offence."""
    policy = OutputPolicy(ranges=(("y", 0.0, 1.0),))
    OutputCheck(one("FP32"), policy)((), (Tensor("y", "FP32", np.zeros(0, "<f4")),))


def test_a_range_does_not_judge_the_nan_that_the_policy_lets_pass():
    """Each rule judges its own."""
    policy = OutputPolicy(nan="pass", ranges=(("y", 0.0, 1.0),))
    OutputCheck(one("FP32"), policy)((), (Tensor("y", "FP32", np.array([np.nan, 1], "<f4")),))
    assert "expected within" in verdict(
        Tensor("y", "FP32", np.array([np.nan, 2], "<f4")), policy=policy, signature=one("FP32")
    )


@pytest.mark.parametrize(
    "policy",
    [
        OutputPolicy(nan="perhaps"),
        OutputPolicy(ranges=(("z", 0, 1),)),
        OutputPolicy(ranges=(("y", 1, 0),)),
        OutputPolicy(ranges=(("y", float("nan"), 0),)),
    ],
)
def test_a_policy_that_cannot_hold_is_refused_when_the_model_is_opened(policy):
    """An operator hears of a mistake before a client does."""
    with pytest.raises(LoadRefused):
        OutputCheck(one("FP32"), policy)


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL"])
def test_a_range_of_what_has_no_order_is_refused(datatype):
    """Texts have no lowest and highest here."""
    with pytest.raises(LoadRefused, match="has no order"):
        OutputCheck(one(datatype), OutputPolicy(ranges=(("y", 0, 1),)))
