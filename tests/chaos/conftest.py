"""A lean HTTP client that keeps many connections busy."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Told:
    """What one client was told."""

    status: int
    request_id: str
    arm: str
    fallback: str


Exchange = tuple[str, str, bytes]  # route, unit, body


async def send_all(port: int, exchanges: Iterable[Exchange], connections: int) -> list[tuple[Exchange, Told]]:
    """Send everything over so many kept connections; answers in the order they came."""
    waiting = iter(exchanges)
    told: list[tuple[Exchange, Told]] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for exchange in waiting:
            told.append((exchange, await _exchange(reader, writer, exchange)))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(work() for _ in range(connections)))
    return told


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange) -> Told:
    route, unit, body = exchange
    head = f"POST /v2/models/{route}/infer HTTP/1.1\r\nhost: x\r\nx-account-id: {unit}\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
    raw = await reader.readuntil(b"\r\n\r\n")
    lines = raw.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    json.loads(await reader.readexactly(int(headers["content-length"])))
    return Told(
        status=int(lines[0].split()[1]),
        request_id=headers["x-request-id"],
        arm=headers.get("x-turnout-arm", ""),
        fallback=headers.get("x-turnout-fallback", ""),
    )


@pytest.fixture(name="send_all")
def _send_all() -> Callable[..., Awaitable[list[tuple[Exchange, Told]]]]:
    return send_all
