import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.propagation import Trace, read_parent, read_tracestate

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
VALID = f"00-{TRACE}-{SPAN}-01".encode()
GRAMMAR = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def test_a_callers_span_is_read():
    """The header of the specification's own example is understood."""
    parent = read_parent(VALID, b"congo=t61rcWkgMzE")
    assert (TRACE, SPAN, 1, "congo=t61rcWkgMzE") == (parent.trace_id, parent.span_id, parent.flags, parent.tracestate)


def test_later_versions_are_read_as_far_as_they_are_known():
    """A client newer than this gateway keeps its trace."""
    assert TRACE == read_parent(f"cc-{TRACE}-{SPAN}-01-what-is-new".encode(), None).trace_id
    assert TRACE == read_parent(f"cc-{TRACE}-{SPAN}-01".encode(), None).trace_id


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"00",
        f"ff-{TRACE}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-01-more".encode(),
        f"cc-{TRACE}-{SPAN}-01.more".encode(),
        f"00-{TRACE.upper()}-{SPAN}-01".encode(),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE[:-1]}-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-1".encode(),
        f"00-{TRACE}-{SPAN}-0g".encode(),
        f"00_{TRACE}_{SPAN}_01".encode(),
        VALID + b"\n",
        VALID + b"\r\nset-cookie: a=b",
        VALID + b"," + VALID,
        b"\xff" * 55,
        VALID * 1000,
    ],
)
def test_garbage_is_as_if_it_were_not_there(header):
    """What is no trace context is ignored."""
    assert read_parent(header, b"a=b") is None


@given(st.one_of(st.binary(max_size=70), st.from_regex(GRAMMAR)))
def test_no_bytes_at_all_are_trouble(header):
    """Any header either keeps to the grammar or is ignored."""
    assert read_parent(header, header) is None or GRAMMAR.fullmatch(header)


def test_what_goes_onward_is_this_gateways_span():
    """Whoever is called next hangs under our span, in the caller's trace."""
    assert f"00-{TRACE}-{SPAN}-01" == Trace(TRACE, SPAN, sampled=True, flags=1).traceparent()


@pytest.mark.parametrize(
    "header",
    [
        b"a=1",
        b"rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
        b"tenant@vendor=x y z",
        b",".join(b"k%d=v" % n for n in range(32)),
    ],
)
def test_a_valid_tracestate_is_kept(header):
    """Vendors find their entries again."""
    assert header.decode() == read_tracestate(header)


def test_spaces_around_entries_are_left_out():
    """Optional white space means nothing."""
    assert "a=1,b=2" == read_tracestate(b"a=1 , \tb=2")


@pytest.mark.parametrize(
    "header",
    [
        b"a",
        b"A=1",
        b"a=1,a=2",
        b"a=\x00",
        b"a=1\r\nset-cookie: b=2",
        b"a=caf\xc3\xa9",
        b"a=b=c",
        b"=1",
        b",".join(b"k%d=v" % n for n in range(33)),
        b"a=" + b"x" * 511,
    ],
)
def test_a_tracestate_that_breaks_the_rules_is_dropped_alone(header):
    """A bad entry loses the vendors' entries, not the trace."""
    parent = read_parent(VALID, header)
    assert (TRACE, "") == (parent.trace_id, parent.tracestate)
