"""One replica of Ray's own, asked over the hop and by Ray's handle."""

import asyncio

import pytest

from benchmarks.handle import GAINS, HANDLES, LOOP, ROWS, SOCKET, Host, left_of_loop
from benchmarks.hop import Cell


def cells(socket_s: float, loop_s: float) -> list[Cell]:
    ways = {"here": 1.0, SOCKET: socket_s, HANDLES[1]: 2.0, LOOP: loop_s}
    lone = Cell(GAINS, SOCKET, 1, 3.0, 0.0, 0.0)
    return [lone, *(Cell(GAINS, way, ROWS, calls_s, 0.0, 0.0) for way, calls_s in ways.items())]


def test_what_is_left_of_a_loop_is_told_of_each_round():
    """A round in which the machine was slow was slow for the loop as well."""
    assert [0.5, 0.9] == left_of_loop([cells(900.0, 1000.0), cells(50.0, 100.0)])


def test_the_process_that_has_ray_is_asked_in_lines():
    """This process has none, as a gateway's workers have none."""
    words, answered = asyncio.run(exchange("cat"))
    assert words == answered


def test_that_it_has_ended_is_said():
    """Nobody waits for somebody who is gone."""
    with pytest.raises(RuntimeError, match="has ended"):
        asyncio.run(exchange("true"))


async def exchange(program: str) -> tuple[object, object]:
    process = await asyncio.create_subprocess_exec(program, stdin=-1, stdout=-1)
    words = {"model": GAINS, "what": "pid"}
    try:
        return words, await Host(process).ask(**words)
    finally:
        process.stdin.close()
        await process.wait()
