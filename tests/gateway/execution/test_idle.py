"""Idle moments come when nobody waits, and not before."""

import asyncio

import pytest

from gateway.execution.idle import TURNS_N, Idle

ENOUGH_N = 20  # turns of the loop in which an idle moment would have been found


@pytest.fixture
def woken() -> list[None]:
    return []


@pytest.fixture
def idle(woken) -> Idle:
    return Idle(lambda: woken.append(None))


async def turn(count: int = ENOUGH_N) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_an_idle_loop_wakes_whoever_asked_once(idle, woken):
    idle.want()
    idle.want()
    await turn()

    assert len(woken) == 1


async def test_nobody_is_woken_who_did_not_ask(idle, woken):
    idle.begin()
    idle.end()
    await turn()

    assert woken == []


async def test_an_idle_moment_is_not_the_moment_an_answer_is_ready(idle, woken):
    """The loop looks at its sockets first: somebody may have asked meanwhile."""
    idle.begin()
    idle.want()
    idle.end()
    await turn(TURNS_N - 1)

    assert woken == []


async def test_nothing_starts_while_a_request_is_under_way(idle, woken):
    idle.begin()
    idle.begin()
    idle.want()
    idle.end()
    await turn()
    assert woken == []

    idle.end()
    await turn()
    assert len(woken) == 1


async def test_a_loop_with_a_request_in_every_turn_is_never_idle(idle, woken):
    """A request that is answered within its own turn is never seen under way, yet the loop is busy."""
    idle.want()
    for _ in range(ENOUGH_N):
        idle.begin()
        idle.end()
        await asyncio.sleep(0)
    assert woken == []

    await turn()
    assert len(woken) == 1


async def test_a_request_that_comes_while_looking_is_waited_for(idle, woken):
    idle.want()
    await turn(1)
    idle.begin()
    await turn()
    assert woken == []

    idle.end()
    await turn()
    assert len(woken) == 1
