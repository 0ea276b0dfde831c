"""The desk where clicks come together: batches, bounds, a state that is away, and one secret for all."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control import clicks as module
from gateway.control.clicks import KEY_FILE, ClickDesk, feedback_secret
from gateway.link import Click, Clicked, Kept
from gateway.state.errors import StateUnavailable
from gateway.state.shelf import Shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path / "state")
    yield shelf
    shelf.close()


class Away(Shelf):
    """A state that cannot be reached."""

    def engine(self):
        raise StateUnavailable("nobody answers")


def click(event: str, place: int = 0, at: float = 1e12) -> Click:
    return Click("shop@1", event, 0, place, "", at, ("steady", "fresh"), (0, 1_000_000))


async def answers(desk: ClickDesk, *messages: Clicked) -> list[Kept]:
    """What the desk says to messages that come at once."""
    said: asyncio.Queue[Kept] = asyncio.Queue()
    for message in messages:
        desk.take(message, said.put_nowait)
    keeping = asyncio.create_task(desk.keep())
    try:
        async with asyncio.timeout(30):
            return [await said.get() for _ in messages]
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def test_everybody_is_told_of_their_own_clicks(shelf: Shelf) -> None:
    """Clicks of several workers are stored together, and each hears of its own."""
    said = await answers(
        ClickDesk(shelf, 60.0),
        Clicked(7, [click("a"), click("b")]),
        Clicked(3, [click("a")]),
        Clicked(4, [click("a", 1)]),
    )
    assert [
        Kept(7, ["accepted", "accepted"]),
        Kept(3, ["duplicate"]),
        Kept(4, ["accepted"]),
    ] == said


async def test_a_state_that_is_away_is_told(tmp_path: Path) -> None:
    assert [Kept(1, [])] == await answers(ClickDesk(Away(tmp_path), 60.0), Clicked(1, [click("a")]))


class Broken(Shelf):
    """A state that fails in a way nobody thought of, once."""

    failed_n = 0

    def clicks(self):
        self.failed_n += 1
        if self.failed_n == 1:
            raise RuntimeError("a defect")
        return super().clicks()


async def test_a_defect_costs_the_clicks_that_met_it_alone(tmp_path: Path) -> None:
    shelf = Broken(tmp_path)
    desk = ClickDesk(shelf, 60.0)
    said: asyncio.Queue[Kept] = asyncio.Queue()
    keeping = asyncio.create_task(desk.keep())
    for number in (1, 2):
        desk.take(Clicked(number, [click("a")]), said.put_nowait)
        async with asyncio.timeout(30):
            assert Kept(number, ["accepted"] * (number - 1)) == await said.get()
    keeping.cancel()
    shelf.close()


async def test_what_waits_for_the_state_is_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT", 2)
    desk = ClickDesk(shelf, 60.0)
    said = await answers(desk, Clicked(1, [click("a"), click("b")]), Clicked(2, [click("c")]))
    assert [Kept(2, []), Kept(1, ["accepted", "accepted"])] == said
    assert [Kept(3, ["accepted"])] == await answers(desk, Clicked(3, [click("c")]))


async def test_lists_are_settled_while_the_gateway_serves(shelf: Shelf) -> None:
    desk = ClickDesk(shelf, 60.0)
    await answers(desk, Clicked(1, [click("a", at=1.0)]))
    settling = asyncio.create_task(desk.settle())
    async with asyncio.timeout(30):
        while not shelf.clicks().standing("shop@1").tallies:
            await asyncio.sleep(0.01)
    settling.cancel()
    assert 0 == shelf.clicks().standing("shop@1").open_n


def test_all_gateways_of_a_state_sign_with_one_secret(shelf: Shelf, tmp_path: Path) -> None:
    """And each keeps it for when the state is away."""
    here, there = tmp_path / "here", tmp_path / "there"
    secret = feedback_secret(shelf, here)
    assert secret == feedback_secret(shelf, there)
    assert secret == (there / KEY_FILE).read_bytes()
    assert 0o600 == (there / KEY_FILE).stat().st_mode & 0o777
    assert secret == feedback_secret(Away(tmp_path), there)


def test_a_gateway_without_a_state_signs_with_a_key_of_its_own(tmp_path: Path) -> None:
    own = feedback_secret(Away(tmp_path), tmp_path / "own")
    assert own == feedback_secret(Away(tmp_path), tmp_path / "own")
    assert 32 == len(own)
