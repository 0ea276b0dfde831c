"""An open load over HTTP: requests leave when they are due, whatever became of those before, and waiting counts.

    python benchmarks/paced.py MODEL BODY        reads lines "PORT RATE SECONDS", answers each with a line of JSON:
                                                 requests, failures, percentiles in ms

One process loads all servers that are compared, so that what it does itself is done to each of them.

A latency runs from the moment a request was due to its answer, so a server that stalls is charged for everybody who
came meanwhile. Requests are due at even intervals; a timer looks every half a millisecond which of them are.
"""

import asyncio
import json
import sys
from collections import deque
from pathlib import Path

import uvloop

CONNECTIONS_N = 64
TICK_S = 0.0005
LAST_WORDS_S = 5.0  # for answers that are still owed when time is up


class Caller(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._due_at = 0.0
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, due_at: float) -> None:
        self._due_at = due_at
        self._transport.write(self._crowd.request)  # type: ignore[attr-defined]

    def leave(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        self._seen = b""
        self._crowd.answered(self, self._due_at, is_good=head.startswith(b"HTTP/1.1 200"))

    def connection_lost(self, _error: Exception | None) -> None:
        self._crowd.failed_n += 1


class Crowd:
    """All callers: who is free, what is due, how long it took."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.failed_n = 0
        self.times_s: list[float] = []
        self._loop = asyncio.get_running_loop()
        self._free: list[Caller] = []
        self._overdue: deque[float] = deque()

    async def connect(self, port: int) -> None:
        for _ in range(CONNECTIONS_N):
            _, caller = await self._loop.create_connection(lambda: Caller(self), "127.0.0.1", port)
            self._free.append(caller)

    async def call(self, rate: float, seconds: float) -> None:
        interval_s = 1 / rate
        due_at = self._loop.time()
        ends_at = due_at + seconds
        sent_n = 0
        while due_at < ends_at:
            now = self._loop.time()
            while due_at <= now and due_at < ends_at:
                self._send(due_at)
                due_at += interval_s
                sent_n += 1
            await asyncio.sleep(TICK_S)
        gives_up_at = self._loop.time() + LAST_WORDS_S
        while len(self.times_s) < sent_n and self._loop.time() < gives_up_at:
            await asyncio.sleep(TICK_S)
        self.failed_n += sent_n - len(self.times_s)

    def answered(self, caller: Caller, due_at: float, *, is_good: bool) -> None:
        self.times_s.append(self._loop.time() - due_at)
        self.failed_n += not is_good
        if self._overdue:
            caller.send(self._overdue.popleft())
        else:
            self._free.append(caller)

    def leave(self) -> None:
        for caller in self._free:
            caller.leave()

    def _send(self, due_at: float) -> None:
        if self._free:
            self._free.pop().send(due_at)
        else:
            self._overdue.append(due_at)


def percentiles(crowd: Crowd) -> dict[str, float]:
    times_s = sorted(crowd.times_s)
    return {f"p{rank}_ms": times_s[int(len(times_s) * rank / 100)] * 1e3 for rank in (50, 99)}


async def main() -> None:
    model, body = sys.argv[1:]
    content = Path(body).read_bytes()
    head = f"POST /v2/models/{model}/infer HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n"
    request = head.encode() + b"content-length: %d\r\n\r\n" % len(content) + content
    while line := await asyncio.to_thread(sys.stdin.readline):
        port, rate, seconds = line.split()
        crowd = Crowd(request)
        await crowd.connect(int(port))
        await crowd.call(float(rate), float(seconds))
        said = {"requests_n": len(crowd.times_s), "failed_n": crowd.failed_n, **percentiles(crowd)}
        crowd.leave()
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
