"""Slices that stand out."""

from math import log

from hypothesis import given
from hypothesis import strategies as st

from strategies.evidence.epochs import ArmCounts, Epoch
from strategies.evidence.slices import discoveries, of_slice, whole

COUNTS = ArmCounts(
    100,
    90,
    100,
    events={
        "error_rate": 5,
        "requests|c=nz": 60,
        "error_rate|c=nz": 4,
        "requests|c=other": 40,
        "error_rate|c=other": 1,
    },
)


def test_the_largest_are_named_as_far_as_they_carry_one_another():
    """Of four at 5 %: one alone needs 80, two need 40 each, three need 26.7 each."""
    assert discoveries({"a": log(79), "b": 0, "c": 0, "d": 0}) == ()
    assert discoveries({"a": log(81), "b": log(39), "c": 0, "d": 0}) == ("a",)
    assert discoveries({"a": log(41), "b": log(81), "c": 0, "d": 0}) == ("b", "a")
    assert discoveries({"a": log(27), "b": log(27), "c": log(27), "d": 0}) == ("a", "b", "c")


def test_of_no_slices_none_stands_out():
    assert discoveries({}) == ()


@given(st.lists(st.floats(-5, 12), max_size=20), st.floats(0, 5))
def test_more_evidence_never_takes_a_slice_away(log_es, more):
    named = {str(number): log_e for number, log_e in enumerate(log_es)}
    before = set(discoveries(named))
    assert before <= set(discoveries({name: log_e + more for name, log_e in named.items()}))


def test_an_epoch_of_one_slice_knows_of_no_other_request():
    epoch = Epoch(1, 0, {"new": 500_000, "old": 500_000}, {"new": COUNTS, "old": ArmCounts(80, 80)})
    assert of_slice(epoch, "c=nz").arms == {"new": ArmCounts(60, events={"error_rate": 4}), "old": ArmCounts()}
    assert of_slice(epoch, "c=other").arms["new"] == ArmCounts(40, events={"error_rate": 1})
    assert of_slice(epoch, "c=au").arms["new"] == ArmCounts()


def test_a_slice_whose_units_cannot_be_told_apart_any_more_says_nothing():
    epoch = Epoch(1, 0, {"new": 1_000_000}, {"new": COUNTS}, crowded=("error_rate|c=nz",))
    assert of_slice(epoch, "c=nz").arms["new"] == ArmCounts(60)
    assert of_slice(epoch, "c=other").arms["new"].events == {"error_rate": 1}


def test_the_whole_knows_of_no_slice():
    assert whole(COUNTS) == ArmCounts(100, 90, 100, events={"error_rate": 5})
