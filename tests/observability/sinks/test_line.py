import json
from hashlib import blake2b

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.event import Identity
from observability.sinks.line import LineEncoder, hash_unit

IDENTITY = Identity(gateway="gate-1", host="host-a", process=4711, code_version="0.1.0")
KEY = bytes(range(32))
HOSTILE = [
    'a\nb\r\n{"event":"request"}',
    "\x1b[31mred\x1b[0m\x07",
    "nul\x00inside",
    "\u2028line\u2029separators\x85",
    "c1 \x9b31m",
    "delete \x7f",
    'quote " and \\ backslash',
    "<img src=x onerror=alert(1)>",
    "lone \udcff and \ud800 surrogates",
    "\U0001f6e4\ufe0f",
    "x" * 100_000,
]


@pytest.fixture
def encoder() -> LineEncoder:
    return LineEncoder(IDENTITY, KEY)


def test_every_line_says_who_wrote_it(encoder, request_event, shadow_event, life_event):
    """Whatever the kind of event, its line names gateway, host, process and code version."""
    expected = {"gateway": "gate-1", "host": "host-a", "process": 4711, "code_version": "0.1.0"}
    for event in (request_event(), shadow_event(), life_event):
        line = json.loads(encoder.line(event))
        assert expected == {name: line[name] for name in expected}


def test_a_line_holds_the_fields_of_its_event(encoder, request_event):
    """What the gateway recorded is what stands in the file, field by field."""
    event = request_event(unit_hash="")
    line = json.loads(encoder.line(event))
    for name in msgspec.structs.asdict(IDENTITY):
        del line[name]
    assert json.loads(msgspec.json.encode(event)) == line


def test_the_unit_stands_there_only_as_a_keyed_hash(encoder, request_event):
    """Nobody reads an account number in the log, nor tests guesses of one without the key."""
    line = encoder.line(request_event(unit_hash="account-42"))
    assert blake2b(b"account-42", key=KEY, digest_size=16).hexdigest() == json.loads(line)["unit_hash"]
    assert b"account-42" not in line


def test_a_shadow_goes_by_the_same_hash_as_its_request(encoder, request_event, shadow_event):
    """The rows of one unit can be joined, requests and shadows alike."""
    request, shadow = (json.loads(encoder.line(event)) for event in (request_event(), shadow_event()))
    assert request["unit_hash"] == shadow["unit_hash"]


def test_no_unit_stays_no_unit(encoder, request_event):
    """A request without a unit has no hash, rather than the hash of nothing."""
    assert "" == json.loads(encoder.line(request_event(unit_hash="")))["unit_hash"]


def test_another_key_gives_another_hash():
    """Two installations cannot match their units against each other."""
    assert hash_unit("account-42", KEY) != hash_unit("account-42", bytes(32))


def test_a_unit_that_was_no_text_is_hashed_as_the_bytes_it_was():
    """Header bytes that are no UTF-8 give the hash of those bytes."""
    raw = b"caf\xe9 \xff"
    unit = raw.decode("utf-8", "surrogateescape")
    assert blake2b(raw, key=KEY, digest_size=16).hexdigest() == hash_unit(unit, KEY)


def test_any_surrogate_can_be_hashed():
    """A surrogate that never stood for a byte is no reason to lose the event."""
    assert 32 == len(hash_unit("\ud800\udc80", KEY))


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_an_id_contains_the_record_stays_one_line(encoder, request_event, text):
    """A client cannot forge a record, split one, or drive the terminal of whoever reads the log."""
    line = encoder.line(request_event(request_id=text, route=text, error=text, attributes={text: text}))
    printed = line.decode()
    assert [printed] == printed.splitlines(keepends=True)
    assert not any(ord(char) < 32 or 126 < ord(char) < 160 for char in printed[:-1])
    assert "request" == json.loads(line)["event"]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was(text):
    """Escaping loses nothing: a reader of JSON gets the very id the client sent."""
    identity = Identity(gateway="g", host=text, process=1, code_version="")
    line = LineEncoder(identity, KEY).line(_life(text))
    assert (text, text) == (json.loads(line)["message"], json.loads(line)["host"])


@given(st.text(st.characters(codec=None)))
def test_no_text_at_all_breaks_a_line(text):
    """Even halves of surrogate pairs, which have no bytes in UTF-8, end up as one line of JSON."""
    line = LineEncoder(IDENTITY, KEY).line(_life(text))
    assert 1 == line.count(b"\n")
    json.loads(line)


def _life(message):
    from observability.event import LifeEvent

    return LifeEvent(at=0.0, kind="started", route="", arm="", message=message)
