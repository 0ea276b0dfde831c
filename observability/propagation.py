"""Trace context in and out: what a caller's headers say, and what goes onward.

A header that breaks the grammar is as if it were not there, and nothing of it is ever sent on.
Source: W3C Trace Context, level 1: `traceparent` and `tracestate`.
"""

import re

from msgspec import Struct

SAMPLED = 0x01
RANDOM = 0x02  # level 2: the trace id is random; passed on as received
LONGEST_TRACESTATE_BYTES = 512
MOST_TRACESTATE_MEMBERS = 32


class Parent(Struct, frozen=True, gc=False):
    """The caller's span, as its headers name it."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    flags: int
    tracestate: str = ""


class Trace(Struct, frozen=True, gc=False):
    """The ids one request goes by. `sampled` says that its spans are exported from here.

    `span_id` is this gateway's server span; `parent_id` the caller's, "" when the trace begins here.
    """

    trace_id: str
    span_id: str
    sampled: bool
    flags: int
    parent_id: str = ""
    tracestate: str = ""

    def traceparent(self) -> str:
        """The header for whatever is called on behalf of this request."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def read_parent(traceparent: bytes, tracestate: bytes | None) -> Parent | None:
    """The caller's span, or None when the header is not a valid one; a bad `tracestate` alone is left out."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    state = read_tracestate(tracestate) if tracestate else ""
    return Parent(trace_id.decode(), span_id.decode(), int(flags, 16), state)


def read_tracestate(header: bytes) -> str:
    """The header as text if it keeps to the grammar, its bounds and one value per key; otherwise ""."""
    members = [member.strip(b" \t") for member in header.split(b",")]
    keys = [match[1] for member in members if (match := _MEMBER.fullmatch(member))]
    is_valid = (
        len(header) <= LONGEST_TRACESTATE_BYTES
        and len(members) <= MOST_TRACESTATE_MEMBERS
        and len(keys) == len(members) == len(set(keys))
    )
    return b",".join(members).decode() if is_valid else ""


_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[\x21-\x7e]{0,256})?")
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
_KEY = rb"[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_VALUE = rb"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(rb"(%b)=%b" % (_KEY, _VALUE))
