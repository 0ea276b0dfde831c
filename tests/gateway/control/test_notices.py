"""Whoever asked to be told is told: signed, in order, again when they were away, and never at the cost of others."""

import asyncio
import hmac
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from gateway.control.notices import QUEUE_N, Notice, Notices, Occasion, Receiver, send

SAID = ("digits", "digits: it is back", "nothing", 1.5)
ROLLBACK = Notice("digits@1 rollback", Occasion.ROLLBACK, *SAID, {"verdict": "fail"})


class Heard:
    """A receiver's side of it: what came, and what is answered to the next ones."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        heard = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                heard.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(heard.statuses.pop(0) if heard.statuses else 200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.receiver = Receiver(f"http://127.0.0.1:{self.server.server_port}/hook?team=risk", b"secret")


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard()
    thread = Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def until(is_so) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.01)


async def told(notices: Notices, is_so) -> None:
    """Let notices go out until something is so."""
    keeping = asyncio.create_task(notices.keep())
    await until(is_so)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_a_receiver_can_tell_who_has_sent_it(heard):
    """The body under the shared secret, by HMAC-SHA-256, as anybody can compute it."""
    send(heard.receiver, ROLLBACK)
    ((path, headers, body),) = heard.requests
    assert "/hook?team=risk" == path
    assert "sha256=" + hmac.new(b"secret", body, "sha256").hexdigest() == headers["x-turnout-signature"]
    assert "digits@1 rollback" == headers["x-turnout-notice"]
    assert {
        "key": "digits@1 rollback",
        "occasion": "rollback",
        "route": "digits",
        "sentence": "digits: it is back",
        "action": "nothing",
        "at": 1.5,
        "numbers": {"verdict": "fail"},
    } == json.loads(body)


async def test_who_was_away_is_told_again(heard):
    heard.statuses = [500, 503, 301]
    notices = Notices([heard.receiver], pauses_s=(0.0, 0.0, 0.0))
    notices.offer(ROLLBACK)
    await told(notices, lambda: notices.counts["sent"])
    assert (4, {"sent": 1}) == (len(heard.requests), dict(notices.counts))
    assert 1 == len({body for _, _, body in heard.requests})


async def test_who_never_answers_is_given_up_and_counted():
    def fails(_receiver: Receiver, _notice: Notice) -> None:
        raise OSError("nobody is there")

    notices = Notices([Receiver("http://127.0.0.1:1/", b"")], fails, pauses_s=(0.0, 0.0))
    notices.offer(ROLLBACK)
    await told(notices, lambda: notices.counts["given_up"])
    assert {"given_up": 1} == dict(notices.counts)


async def test_each_is_told_what_it_asked_for_and_waits_for_no_other():
    """One that hangs holds up nobody else."""
    sent: list[tuple[str, Occasion]] = []
    is_over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def post(receiver: Receiver, notice: Notice) -> None:
        if receiver.url == "hangs":
            asyncio.run_coroutine_threadsafe(is_over.wait(), loop).result(60)
        sent.append((receiver.url, notice.occasion))

    picky = Receiver("srm", b"", frozenset({Occasion.SRM}))
    notices = Notices([Receiver("hangs", b""), Receiver("all", b""), picky], post)
    for occasion in (Occasion.ROLLBACK, Occasion.SRM):
        notices.offer(Notice("k", occasion, "r", "s", "a", 0.0))
    keeping = asyncio.create_task(notices.keep())
    await until(lambda: len(sent) == 3)
    assert {("all", Occasion.ROLLBACK), ("all", Occasion.SRM), ("srm", Occasion.SRM)} == set(sent)
    is_over.set()
    await until(lambda: len(sent) == 5)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


def test_of_too_many_the_oldest_are_dropped_and_counted():
    notices = Notices([Receiver("x", b"")], lambda _receiver, _notice: None)
    for number in range(QUEUE_N + 3):
        notices.offer(Notice(str(number), Occasion.HOLD, "r", "s", "a", 0.0))
    assert {"dropped": 3} == dict(notices.counts)
