"""Clicks under deaths: workers and whole gateways are killed while readers click, and every list counts once.

Only `make chaos` runs this: it also plays the golden table again, twenty times as long as the ordinary suite does.
"""

import os
import random
import signal
import threading
from http.client import HTTPException
from math import sqrt
from time import monotonic, sleep

import pytest

from tests.chaos.marks import only_in_chaos
from tests.gateway.feedback.shop import Client, settled, write_shop
from tests.gateway.feedback.test_through_the_gateway import GOLDEN

pytestmark = [
    only_in_chaos,
    pytest.mark.timeout(900),
]
LISTS_N = 20_000
CLICKED_N = 3000
WORKER_DEATHS_N = 10
GATEWAY_DEATHS_N = 5
LIMIT_S = 300
AGAIN = (429, 503, 504)


class Persistent:
    """A reader who sends each click until it is answered, as docs/feedback.md says, to whoever serves by then."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.clicked_n = 0
        self.repeated_n = 0
        self._ends_at = monotonic() + LIMIT_S

    def read(self, lists_n: int) -> None:
        for number in range(lists_n):
            token, (items,) = self._until(lambda: Client(self.port).lists("shop"))
            click = [{"row": 0, "item": items[number % 10]}]
            status, answer = self._until(lambda token=token, click=click: self._click(token, click))
            assert (200, 1) == (status, answer["accepted"] + answer["duplicate"])
            self.clicked_n += 1

    def _click(self, token: str, click: list[dict]) -> tuple[int, dict] | None:
        told = Client(self.port).click(token, click)
        return None if told[0] in AGAIN else told

    def _until(self, do):
        """What it comes to once it comes to anything."""
        while True:
            assert monotonic() < self._ends_at
            try:
                told = do()
            except (OSError, HTTPException, AssertionError):
                told = None
            if told is not None:
                return told
            self.repeated_n += 1
            sleep(0.02)


def counted_n(state) -> int:
    found = settled(state, "shop@1")
    return found.wins + found.losses + found.ties


def test_every_click_counts_once_while_workers_die(gateway_process, tmp_path) -> None:
    config, state = write_shop(tmp_path / "config", ["shop"], "feedback_window: 1h\n"), tmp_path / "state"
    gateway = gateway_process([str(config), "--workers", "2"], state, {})
    readers = [Persistent(gateway.http) for _ in range(3)]
    threads = [threading.Thread(target=reader.read, args=(CLICKED_N // 3,)) for reader in readers]
    for thread in threads:
        thread.start()
    chance, deaths_n = random.Random(1), 0
    while any(thread.is_alive() for thread in threads):
        sleep(chance.uniform(0.5, 2.0))
        if deaths_n < WORKER_DEATHS_N and (workers := gateway.workers()):
            os.kill(chance.choice(workers), signal.SIGKILL)
            deaths_n += 1
    gateway.kill()
    assert deaths_n >= 3
    assert CLICKED_N == sum(reader.clicked_n for reader in readers) == counted_n(state)


def test_every_click_counts_once_while_the_gateway_dies(gateway_process, tmp_path, free_port) -> None:
    """What was told as accepted survives a SIGKILL of all processes at once; what was not is sent again."""
    config, state = write_shop(tmp_path / "config", ["shop"], "feedback_window: 1h\n"), tmp_path / "state"
    arguments = [str(config), "--port", str(free_port)]
    gateway = gateway_process(arguments, state, {})
    reader = Persistent(free_port)
    thread = threading.Thread(target=reader.read, args=(CLICKED_N // 3,))
    thread.start()
    for _ in range(GATEWAY_DEATHS_N):
        sleep(1.0)
        gateway.kill()
        gateway = gateway_process(arguments, state, {})
    thread.join()
    gateway.kill()
    assert CLICKED_N // 3 == reader.clicked_n == counted_n(state)


def test_the_golden_table_holds_over_many_lists(gateway_process, tmp_path) -> None:
    """Four standard errors at twenty thousand lists are 1.4 points at most."""
    config, state = write_shop(tmp_path / "config", sorted(GOLDEN), "feedback_window: 1h\n"), tmp_path / "state"
    gateway = gateway_process([str(config)], state, {})
    client, chance = Client(gateway.http), random.Random(3)
    for route, (reader, _, _) in GOLDEN.items():
        client.read(route, reader, LISTS_N, chance)
    gateway.stop()
    for route, (_, a_wins, b_wins) in GOLDEN.items():
        found = settled(state, f"{route}@1")
        for seen_n, expected in ((found.losses, a_wins), (found.wins, b_wins)):
            error = sqrt(expected * (1 - expected) / LISTS_N)
            assert abs(seen_n / LISTS_N - expected) <= 4 * error, route
