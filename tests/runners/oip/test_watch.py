"""Whether a server is believed up."""

import asyncio

import pytest

from runners.core.errors import NotReady
from runners.oip.watch import Pace, Watch

QUICK = Pace(up_s=0.01, down_s=0.001, down_most_s=0.004)
SLOW = Pace(up_s=3600, down_s=0.001, down_most_s=0.004)


class Server:
    def __init__(self):
        self.error = None
        self.asked = []

    async def probe(self, is_up):
        self.asked.append(is_up)
        if self.error:
            raise self.error


@pytest.fixture
def server():
    return Server()


@pytest.fixture
async def watch(server):
    watches = []

    def begin(pace):
        watches.append(Watch("remote:m", server.probe, pace))
        watches[-1].start()
        return watches[-1]

    yield begin
    for each in watches:
        await each.stop()


async def until(claim):
    async with asyncio.timeout(10):
        while not claim():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("error", [NotReady("away"), RuntimeError("a defect")], ids=["away", "defect"])
async def test_a_server_that_goes_is_noticed_and_so_is_its_return(server, watch, error):
    """Whatever was wrong with it, or with us."""
    watched = watch(QUICK)
    server.error = error
    await until(lambda: not watched.is_up)
    assert str(error) == watched.why
    server.error = None
    await until(lambda: watched.is_up)


async def test_a_failed_connection_is_believed_at_once_and_looked_into(server, watch):
    """Nobody after the first waits for a server that is gone."""
    watched = watch(SLOW)
    watched.doubt("refused", is_down=True)
    assert (False, "refused") == (watched.is_up, watched.why)
    await until(lambda: watched.is_up)
    assert [False] == server.asked


async def test_a_doubt_alone_changes_nothing_but_the_next_probe(server, watch):
    """A model may be not ready for one request."""
    watched = watch(SLOW)
    watched.doubt("shed", is_down=False)
    assert watched.is_up
    await until(lambda: server.asked)
    assert (True, [True]) == (watched.is_up, server.asked)


async def test_many_doubts_are_one_probe(server, watch):
    """A thousand failures do not become a thousand questions."""
    watched = watch(Pace(up_s=3600, down_s=0.05, down_most_s=0.05))
    for _ in range(1000):
        watched.doubt("shed", is_down=False)
    await until(lambda: server.asked)
    assert 1 == len(server.asked)


async def test_what_is_no_longer_watched_is_down(watch):
    watched = watch(SLOW)
    await watched.stop()
    assert not watched.is_up
