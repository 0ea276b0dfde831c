"""Events are read back from where they were written."""

import pytest

from observability.event import Identity
from observability.segments import shadow_events
from observability.sinks.file import SegmentFiles, SegmentLimits
from observability.sinks.line import LineEncoder

ENCODER = LineEncoder(Identity("gate", "host", 1, "0"), bytes(range(32)))


@pytest.fixture
def write(tmp_path):
    def writing(gateway: str, *events: object) -> None:
        files = SegmentFiles(tmp_path, gateway, SegmentLimits(600, 100_000))
        for event in events:
            files.write(ENCODER.line(event))
        files.close()

    return writing


def test_a_routes_shadow_events_come_back_from_every_gateway_and_segment(write, tmp_path, request_event, shadow_event):
    write("one", *(shadow_event(event_id=f"a{n}") for n in range(3)), request_event(), shadow_event(route="other"))
    write("two", shadow_event(event_id="b", served='{"y":"\u2028"}'))
    found = list(shadow_events(tmp_path, "fraud"))

    assert [event.event_id for event in found] == ["a0", "a1", "a2", "b"]
    assert found[-1].served == '{"y":"\u2028"}'
    assert len(list((tmp_path / "one").iterdir())) > 1


def test_a_line_that_is_being_written_is_left_for_later(write, tmp_path, shadow_event):
    write("one", shadow_event())
    with next((tmp_path / "one").iterdir()).open("ab") as file:
        file.write(ENCODER.line(shadow_event(event_id="torn"))[:-9])

    assert len(list(shadow_events(tmp_path, "fraud"))) == 1


def test_a_line_that_is_no_event_is_named(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "00000001.jsonl").write_text('{"event":"shadow","at":"noon"}\n')

    with pytest.raises(ValueError, match=r"00000001\.jsonl:1"):
        list(shadow_events(tmp_path, "fraud"))
