"""What gateway and agent say to each other comes through as it was said."""

from pathlib import Path

import msgspec
import pytest

from runners.core.runner import Hosting, ModelRef, ProviderChoice
from runners.ray.members import Address, Member, Membership
from runners.ray.wanted import App, AppSeen, Seen, Wake, Want, line, read_order, read_said

MODEL = ModelRef(
    "file:m.onnx",
    Path("/somewhere"),
    golden=Path("g.json"),
    provider=ProviderChoice("cuda", options={"device_id": "0"}),
    hosting=Hosting(key="turnout-1", num_gpus=0.5),
)


@pytest.mark.parametrize("order", [Want((App(MODEL), App(MODEL)), ("turnout-2",)), Wake("x")])
def test_an_order_is_read_as_it_was_given(order):
    said = line(order)
    assert said.count(b"\n") == 1
    assert read_order(said) == order


def test_a_report_is_read_as_it_was_made():
    seen = Seen(Membership(7, (Member("k", "r", Address("u", "h", 1)),)), (AppSeen("k", "RUNNING", "a\nb"),), "t")
    assert read_said(line(seen)) == seen


@pytest.mark.parametrize("text", [b"", b"{}", b'{"type":"other"}', b"\xff", b"[1]"])
def test_anything_else_is_neither(text):
    with pytest.raises(msgspec.DecodeError):
        read_order(text)
    with pytest.raises(msgspec.DecodeError):
        read_said(text)
