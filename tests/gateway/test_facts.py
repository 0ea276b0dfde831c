"""What the gateway finds out about a request before deciding."""

import pytest

from gateway.errors import OverrideRefused, UnknownModel
from runners.core.tensor import InferenceRequest
from strategies.core.assignment import point_of, salted
from strategies.core.hashes import HASHES, HashName, text_to_hash


@pytest.fixture
def gather(bind):
    return bind(
        unit={"header": "X-Account-Id"},
        attributes={"region": {"header": "x-region"}, "tier": {"parameter": "tier"}},
    ).gather


def test_the_unit_comes_from_the_header_the_route_names(gather, ask, arrive):
    facts = gather(ask(), arrive(x_account_id="user-1"))

    assert (facts.unit, facts.point) == ("user-1", point_of(salted("digits/0"), b"user-1"))


@pytest.mark.parametrize("hash_name", HashName)
def test_a_unit_is_hashed_as_the_route_says(bind, ask, arrive, hash_name):
    gather = bind(hash=hash_name.value, salt="flag", unit={"header": "x-account-id"}).gather
    text = text_to_hash(hash_name, "flag", 0)

    assert gather(ask(), arrive(x_account_id="user-1")).point == HASHES[hash_name].at(text, b"user-1")


@pytest.mark.parametrize(
    ("parameters", "unit"),
    [
        ({"turnout_unit": "a", "sequence_id": 7}, "a"),
        ({"sequence_id": 7}, "7"),
        ({"sequence_id": 0}, ""),
        ({"sequence_id": "s-1"}, "s-1"),
        ({}, ""),
    ],
)
def test_clients_that_can_send_no_header_use_parameters(gather, ask, arrive, parameters, unit):
    assert gather(ask(**parameters), arrive()).unit == unit


def test_a_request_without_a_unit_stands_for_itself(gather, ask, arrive):
    """Nobody is lumped together because they brought no id."""
    first, second = (gather(ask(), arrive()) for _ in range(2))

    assert first.event_id != second.event_id
    assert first.point != second.point


def test_attributes_are_read_where_the_route_says(gather, ask, arrive):
    assert gather(ask(tier="gold"), arrive(x_region="nz")).attributes == ("nz", "gold")
    assert gather(ask(), arrive()).attributes == ("", "")


def test_forcing_an_arm_needs_the_token(gather, ask, arrive):
    facts = gather(ask(), arrive(x_turnout_arm="new", x_turnout_override_token="secret"))

    assert facts.override == "new"
    for token in ("", "Secret", "secret "):
        with pytest.raises(OverrideRefused):
            gather(ask(), arrive(x_turnout_arm="new", x_turnout_override_token=token))


def test_without_a_token_configured_nobody_may_force_an_arm(compile_changed, ask, arrive):
    gather = compile_changed().gatherer(b"").gather

    with pytest.raises(OverrideRefused):
        gather(ask(turnout_arm="new"), arrive(x_turnout_override_token=""))


def test_an_unknown_arm_is_not_found(gather, ask, arrive):
    with pytest.raises(UnknownModel, match="has no arm 'nobody'"):
        gather(ask(turnout_arm="nobody"), arrive(x_turnout_override_token="secret"))


def test_a_version_pins_its_arm(gather, ask, arrive):
    request = InferenceRequest("digits", ask().inputs, version="v2")

    assert gather(request, arrive()).pinned == "new"


def test_an_unknown_version_is_not_found(gather, ask, arrive):
    request = InferenceRequest("digits", ask().inputs, version="v9")

    with pytest.raises(UnknownModel, match="no version 'v9'"):
        gather(request, arrive())
