"""The intake: every click is answered with what it came to, and what is not kept is told and counted."""

import asyncio
from collections.abc import Sequence
from fractions import Fraction

import pytest

from gateway.execution.outcome import Impression
from gateway.feedback import intake as module
from gateway.feedback.intake import ClickedItem, Intake
from gateway.feedback.token import Origin, seal
from gateway.link import Clicked
from runners.core.errors import NotReady, Overloaded

SECRET = b"k" * 32
ONE, NONE = Fraction(1), Fraction(0)
LIST = Impression(0, ("a", "7"), ("steady", "fresh"), ((ONE, NONE), (NONE, ONE)))


class Keeper:
    """Stands for the control process: answers at once with a script, or not at all."""

    def __init__(self, intake: Intake, results: Sequence[str] | None = None) -> None:
        self.heard: list[Clicked] = []
        self._intake = intake
        self._results = results
        intake.connect(self.hear)

    def hear(self, clicked: Clicked) -> None:
        self.heard.append(clicked)
        if self._results is not None:
            asyncio.get_running_loop().call_soon(self._intake.answer, clicked.number, self._results)


def token(intake: Intake) -> str:
    return seal(intake.keys, Origin("e1", "shop", "shop@1", "", 100.0), (LIST,))


def at(now: float) -> Intake:
    return Intake(SECRET, 60.0, lambda: now)


async def test_each_click_is_told_what_it_came_to() -> None:
    intake = at(101.0)
    keeper = Keeper(intake, ["accepted", "duplicate"])
    clicks = [ClickedItem("a"), ClickedItem("nowhere"), ClickedItem(7)]
    taken = await intake.take(token(intake), clicks)
    assert ("accepted", "unknown_item", "duplicate") == taken.results
    assert [0, 1] == [click.place for click in keeper.heard[0].clicks]
    assert {("shop", "accepted"): 1, ("shop", "unknown_item"): 1, ("shop", "duplicate"): 1} == dict(intake.counted())


async def test_what_is_unknown_or_worthless_never_leaves_the_worker() -> None:
    """Whoever floods the gateway with junk does not reach the state."""
    intake = at(101.0)
    keeper = Keeper(intake, ["accepted"])
    assert ("unknown_item",) == (await intake.take(token(intake), [ClickedItem("x")])).results
    assert ("forged",) * 2 == (await intake.take("junk", [ClickedItem("a")] * 2)).results
    late = at(161.0)
    late_keeper = Keeper(late, ["accepted"])
    assert ("late",) == (await late.take(token(intake), [ClickedItem("a")])).results
    assert [] == keeper.heard + late_keeper.heard
    assert 2 == dict(intake.counted())["", "forged"]


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control process that hangs makes the caller ask again, which is safe."""
    monkeypatch.setattr(module, "ANSWER_LIMIT_S", 0.01)
    intake = at(101.0)
    Keeper(intake)
    with pytest.raises(NotReady, match="send it again"):
        await intake.take(token(intake), [ClickedItem("a")])
    assert {("shop", "dropped"): 1} == dict(intake.counted())
    assert 0 == intake.waiting_n


async def test_a_lost_control_process_is_told_at_once() -> None:
    intake = at(101.0)
    Keeper(intake)
    asking = asyncio.create_task(intake.take(token(intake), [ClickedItem("a")]))
    await asyncio.sleep(0)
    intake.disconnect()
    with pytest.raises(NotReady):
        await asking
    with pytest.raises(NotReady):
        await intake.take(token(intake), [ClickedItem("a")])


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 1)
    intake = at(101.0)
    Keeper(intake)
    asking = asyncio.create_task(intake.take(token(intake), [ClickedItem("a")]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await intake.take(token(intake), [ClickedItem(7)])
    assert {("shop", "dropped"): 1} == dict(intake.counted())
    intake.answer(1, ["accepted"])
    assert ("accepted",) == (await asking).results


async def test_clicks_the_state_could_not_keep_are_dropped_and_told() -> None:
    intake = at(101.0)
    Keeper(intake, [])
    with pytest.raises(NotReady):
        await intake.take(token(intake), [ClickedItem("a")])
    assert {("shop", "dropped"): 1} == dict(intake.counted())
