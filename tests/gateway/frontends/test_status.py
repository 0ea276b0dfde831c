"""The one table of codes."""

import logging

import pytest

import gateway.errors
from gateway.errors import GatewayError, Malformed, MethodNotAllowed
from gateway.frontends.status import (
    CANCELLED,
    INTERNAL,
    OK,
    STATUSES,
    TEXT_LIMIT,
    GrpcCode,
    printable,
    refusal_of,
)
from runners.core.errors import Overloaded, RunnerError


def leaves(tree: type) -> list[type]:
    return [leaf for kind in tree.__subclasses__() for leaf in (leaves(kind) or [kind])]


def test_every_error_has_a_place_in_the_table() -> None:
    """No error can reach a client without a status somebody chose for it."""
    codes = {kind.code for tree in (GatewayError, RunnerError) for kind in leaves(tree)}
    assert codes | {OK, CANCELLED, INTERNAL} == set(STATUSES)


def test_both_trees_are_looked_at_whole() -> None:
    """An error class that is added to either room is asked for in the table."""
    assert {"Malformed", "Draining"} <= {kind.__name__ for kind in leaves(GatewayError)} <= set(vars(gateway.errors))
    assert {"InvalidInput", "Overloaded"} <= {kind.__name__ for kind in leaves(RunnerError)}
    assert {kind.code for kind in leaves(RunnerError)} <= set(STATUSES)


def test_overload_is_never_unavailable() -> None:
    """A client that tries again when it hears UNAVAILABLE cannot make an overload worse."""
    assert GrpcCode.RESOURCE_EXHAUSTED == STATUSES["overload"].grpc
    unavailable = {code for code, status in STATUSES.items() if status.grpc is GrpcCode.UNAVAILABLE}
    assert {"not_ready", "draining"} == unavailable


@pytest.mark.parametrize("code", STATUSES)
def test_retry_is_suggested_where_it_can_help(code: str) -> None:
    """429 and 503 say when to come again, nothing else does."""
    status = STATUSES[code]
    assert (status.http in (429, 503)) == (status.retry_after_s > 0)


def test_an_error_is_told_by_its_code_and_text() -> None:
    """What went wrong reaches the caller in words."""
    refusal = refusal_of(Overloaded("the queue of 64 is full"))
    assert ("overload", 429, "the queue of 64 is full") == (refusal.code, refusal.status.http, refusal.text)


def test_a_defect_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """A caller learns nothing about the inside of the gateway; its operator does."""
    with caplog.at_level(logging.ERROR):
        refusal = refusal_of(KeyError("secret path"))
    assert (INTERNAL, 500, "internal error") == (refusal.code, refusal.status.http, refusal.text)
    assert "secret path" in caplog.text


@pytest.mark.parametrize("junk", ["a\r\nset-cookie: b", "a\x00b", "a\u202eb", "a\ud800b", "a\u2028b"])
def test_text_that_is_told_is_one_printable_line(junk: str) -> None:
    """Nothing a caller sends can come back as a line of its own."""
    told = refusal_of(Malformed(junk)).text
    assert told.isprintable()
    assert told.startswith("a?")


def test_text_that_is_told_is_bounded() -> None:
    """A long name does not come back at its full length."""
    assert TEXT_LIMIT == len(printable("x" * 100_000))


def test_a_wrong_verb_says_which_are_right() -> None:
    """Whoever used the wrong verb reads the right ones."""
    assert "this path takes GET, HEAD" == refusal_of(MethodNotAllowed(("GET", "HEAD"))).text


def test_an_error_that_was_told_keeps_nothing_alive() -> None:
    """A refused request's body leaves memory at once: what was raised leads back to the frames that hold it."""
    with pytest.raises(Overloaded) as raised:
        raise Overloaded("the queue is full")
    refusal_of(raised.value)
    assert raised.value.__traceback__ is None
