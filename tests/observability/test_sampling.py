from random import Random

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from observability.sampling import IDS, Sampler, read_sampler


def sampler(name="", arg=""):
    return read_sampler({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": arg})


def test_one_request_in_a_hundred_is_traced_by_default():
    """Without any setting tracing costs next to nothing, and a caller's decision stands."""
    assert Sampler(bound=round(0.01 * IDS), parent_based=True) == read_sampler({})


@pytest.mark.parametrize(
    ("name", "arg", "bound", "parent_based"),
    [
        ("always_on", "", IDS, False),
        ("always_off", "", 0, False),
        ("traceidratio", "0.25", IDS // 4, False),
        ("parentbased_always_on", "", IDS, True),
        ("parentbased_always_off", "", 0, True),
        ("parentbased_traceidratio", "0.5", IDS // 2, True),
        (" ParentBased_TraceIdRatio ", " 1 ", IDS, True),
        ("traceidratio", "0", 0, False),
    ],
)
def test_the_standard_names_are_understood(name, arg, bound, parent_based):
    """OTEL_TRACES_SAMPLER means here what it means elsewhere."""
    assert Sampler(bound, parent_based) == sampler(name, arg)


@pytest.mark.parametrize("arg", ["lots", "-0.1", "1.1", "nan"])
def test_a_ratio_that_is_none_is_said_and_replaced(caplog, arg):
    """A typing error is told, and does not become full tracing."""
    assert round(0.01 * IDS) == sampler("traceidratio", arg).bound
    assert f"OTEL_TRACES_SAMPLER_ARG={arg}" in caplog.text


def test_an_unknown_sampler_is_said_and_replaced(caplog):
    """A sampler from another product is told, and the default used."""
    assert read_sampler({}) == sampler("xray")
    assert "OTEL_TRACES_SAMPLER=xray" in caplog.text


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.3, 1.0])
def test_the_ratio_chooses_the_traces_that_the_sdk_would_choose(ratio):
    """Gateway and clients with the same ratio keep the same traces whole."""
    ours, theirs = sampler("traceidratio", str(ratio)), TraceIdRatioBased(ratio)
    random = Random(7)
    ids = [random.getrandbits(128) for _ in range(2000)]
    expected = [theirs.should_sample(None, trace_id, "x").decision.is_sampled() for trace_id in ids]
    assert expected == [ours.keeps(f"{trace_id:032x}", parent_is_sampled=False) for trace_id in ids]


@pytest.mark.parametrize("decided", [True, False])
def test_a_parent_based_sampler_follows_the_caller(decided):
    """A trace is whole or not there at all."""
    assert decided is sampler("parentbased_traceidratio", "0.5").keeps("f" * 32, parent_is_sampled=decided)
