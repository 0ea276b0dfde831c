"""Dropped shadow calls are told together, and none is forgotten."""

import asyncio

from gateway.execution import drops as module
from gateway.execution.drops import Drops
from observability.event import ShadowEvent


def dropped(event_id: str, arm: str = "new", reason: str = "queue") -> ShadowEvent:
    return ShadowEvent(0.0, event_id, "", "", "", "", "digits", 1, "", "old", arm, "dropped", reason, -1.0, None, 1)


def drop(drops: Drops, event: ShadowEvent, route: str = "digits") -> None:
    if not drops.count(route, event.arm, event.dropped):
        drops.hold(route, event)


async def test_calls_that_differ_in_the_request_alone_are_told_by_the_first_of_them():
    """A flood takes no more of the log than a drop a second."""
    told: list[ShadowEvent] = []
    drops = Drops(told.append)
    for number in range(1000):
        drop(drops, dropped(f"e{number}"))
    drop(drops, dropped("other arm", arm="newer"))
    drop(drops, dropped("other reason", reason="bytes"))
    drop(drops, dropped("other route"), route="letters")
    assert told == []

    drops.tell()
    assert [event.event_id for event in told] == ["e0", "other arm", "other reason", "other route"]
    assert [event.count for event in told] == [1000, 1, 1, 1]


async def test_nobody_has_to_ask_for_what_is_held(monkeypatch):
    """The last drop before the night is in the log within a second."""
    monkeypatch.setattr(module, "TOLD_EVERY_S", 0.01)
    told: asyncio.Queue[ShadowEvent] = asyncio.Queue()
    drops = Drops(told.put_nowait)
    for event_id in ("first", "second"):  # the second once the first has been told
        drop(drops, dropped(event_id))
        assert (await told.get()).event_id == event_id


async def test_what_is_told_is_not_told_again():
    told: list[ShadowEvent] = []
    drops = Drops(told.append)
    drop(drops, dropped("e"))
    drops.tell()
    drops.tell()
    assert len(told) == 1
