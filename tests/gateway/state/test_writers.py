"""Gateways that share a state, in each kind of database, asked for changes at the same time."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from gateway.publishing.change import Apply, Request
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.state.errors import PublishConflict
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf

ROUTE = """\
turnout: v1
route: digits
arms: {old: {model: "file:old.onnx", role: baseline}}
strategy: {kind: baseline}
timeout: %dms
"""
WRITERS_N, WINS_N = 8, 5


def apply(timeout_ms: int, author: str, expects: int) -> Request:
    return Request(Apply({"routes/digits.yaml": ROUTE % timeout_ms}), author, Cause.APPLY, expects=expects)


@pytest.fixture
def publishers(place: URL, tmp_path: Path):
    """Two, each with a shelf of its own over the one state."""
    url = "" if place.drivername == "sqlite" else place.render_as_string(hide_password=False)
    shelves = [Shelf(tmp_path, url), Shelf(tmp_path, url)]
    yield [Publisher(shelf, tmp_path, Rehearsal(is_opening=False)) for shelf in shelves]
    for shelf in shelves:
        shelf.close()


async def test_one_wins_each_number_and_the_others_are_told_who(publishers) -> None:
    """Nobody's change is lost and nobody's is overwritten: who came second decides anew."""
    winners: dict[int, str] = {}
    lost: list[tuple[int, str]] = []

    async def write(number: int) -> None:
        publisher, author, wins_n = publishers[number % 2], f"writer-{number}", 0
        while wins_n < WINS_N:
            await publisher.follow()
            expects = publisher.meaning.number
            try:
                published = await publisher.publish(apply(1000 + 10 * number + wins_n, author, expects))
            except PublishConflict as conflict:
                lost.append((conflict.live, conflict.author))
            else:
                assert (published.live, published.live in winners) == (expects + 1, False)
                winners[published.live] = author
                wins_n += 1

    await asyncio.gather(*map(write, range(WRITERS_N)))
    assert list(range(1, WRITERS_N * WINS_N + 1)) == sorted(winners)
    assert lost
    assert {True} == {winners[live] == author for live, author in lost}
    for publisher in publishers:
        await publisher.follow()
    assert publishers[0].meaning.content == publishers[1].meaning.content
    assert {max(winners)} == {publisher.meaning.number for publisher in publishers}


def test_many_may_be_first_to_open_a_state(tmp_path: Path) -> None:
    """Gateways that start together on a new state all find it: none takes it for one that is away."""
    for number in range(10):
        shelves = [Shelf(tmp_path / str(number)) for _ in range(4)]
        with ThreadPoolExecutor(len(shelves)) as pool:
            assert [0] * len(shelves) == list(pool.map(lambda shelf: shelf.store().live_number(), shelves))
        for shelf in shelves:
            shelf.close()
