"""What the control process and its workers say to each other: small framed messages over a pair of sockets.

A worker is a process that serves. Orders go down, reports come up. A frame is its length, four bytes, big-endian, and a
message in MessagePack. Neither side waits for the other but where it says so, and either may end at any moment.
"""

import asyncio
import socket
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from gateway.increments import Counts
from observability.merge import Snapshot
from runners.ray.members import Membership
from runners.ray.readings import PeerReading

LENGTH = 4
FRAME_LIMIT = 1 << 30  # bytes; what a configuration compiles to takes some kilobytes a route


class Start(Struct, frozen=True, tag="start"):
    """The first order. `launch` is packed by gateway/handover.py; the descriptors are of the worker's own sockets.

    `marks_fd` is of pages in which the worker says what it runs, see runners/core/marks.py.
    """

    launch: bytes
    slot: int
    http_fd: int
    grpc_fd: int
    marks_fd: int


class Ask(Struct, frozen=True, tag="ask"):
    """Take a snapshot of the metrics and tell it under this number."""

    number: int


class Warm(Struct, frozen=True, tag="warm"):
    """Open what this revision needs. `routes` is packed by gateway/handover.py. One waits at most: the last."""

    number: int
    routes: bytes


class Swap(Struct, frozen=True, tag="swap"):
    """Serve the revision that was warmed."""

    number: int


class Discard(Struct, frozen=True, tag="discard"):
    """Close what was warmed: it will not be live."""

    number: int


class Stop(Struct, frozen=True, tag="stop"):
    """Finish what is under way and end. Saying it twice changes nothing."""


class Ready(Struct, frozen=True, tag="ready"):
    """The worker answers requests. `quarantined` are routes that it cannot serve, with the reason."""

    revision: int
    served: list[str]
    quarantined: dict[str, str]


class Failed(Struct, frozen=True, tag="failed"):
    """The worker cannot start, and ends."""

    reason: str


class Warmed(Struct, frozen=True, tag="warmed"):
    """The answer to `Warm`. `refused` are the arms that could not be opened, with the reason; then nothing waits."""

    number: int
    refused: dict[str, str]


class Swapped(Struct, frozen=True, tag="swapped"):
    """The answer to `Swap`: from now on requests are routed by this revision."""

    number: int


class Leaving(Struct, frozen=True, tag="leaving"):
    """The worker has begun to stop, whoever asked it to."""


class Click(Struct, frozen=True, array_like=True, gc=False):
    """A verified click on one place of one merged list, which is row `row` of event `event_id`.

    `rankers` are the arms whose lists were merged, the baseline first, and `credits` what each of them gets, in
    millionths; none where the place belongs to nobody. `unit` is a keyed digest, "" when the request brought no unit.
    `shown_at` is Unix time in seconds.
    """

    experiment: str
    event_id: str
    row: int
    place: int
    unit: str
    shown_at: float
    rankers: tuple[str, ...]
    credits: tuple[int, ...]


class Clicked(Struct, frozen=True, tag="clicked"):
    """Clicks to be kept, under a number that the answer repeats. A worker has a bounded number of clicks under way."""

    number: int
    clicks: list[Click]


class Kept(Struct, frozen=True, tag="kept"):
    """The answer to `Clicked`: what each click came to, in the same order; none when nothing could be kept."""

    number: int
    results: list[str]


class Told(Struct, frozen=True, tag="told"):
    """The answer to `Ask`. `readings` are of the replicas that this worker asks, by the name they are hosted under."""

    number: int
    snapshot: Snapshot
    readings: dict[str, list[PeerReading]] = {}


class Counted(Struct, frozen=True, tag="counted"):
    """What was counted since `seq - 1` was taken. The next one is sent when this one has been, or waits.

    `is_last` says that no request will be counted any more.
    """

    seq: int
    counts: Counts
    is_last: bool = False


class Taken(Struct, frozen=True, tag="taken"):
    """The answer to `Counted`: it is in the ledger."""

    seq: int


class Hosted(Struct, frozen=True, tag="hosted"):
    """Which replicas of arms there are elsewhere, as far as anybody knows."""

    membership: Membership


class Missed(Struct, frozen=True, tag="missed"):
    """A request found no replica of what is hosted under this name; somebody else answered it."""

    name: str


Order = Start | Ask | Warm | Swap | Discard | Stop | Kept | Taken | Hosted
Report = Ready | Failed | Warmed | Swapped | Leaving | Told | Clicked | Counted | Missed
Heard = TypeVar("Heard")


class Link(Generic[Heard]):
    """One end. `Heard` is what the other end says."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, decoder: msgspec.msgpack.Decoder[Heard]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = decoder
        self._encoder = msgspec.msgpack.Encoder()

    def send(self, message: Order | Report) -> None:
        """Hand a message over without waiting; to an end that has gone it goes nowhere.

        What a stuck reader does not take is kept here, so whoever asks again and again must bound it.
        """
        if not self._writer.is_closing():
            content = self._encoder.encode(message)
            self._writer.write(len(content).to_bytes(LENGTH) + content)

    async def receive(self) -> Heard | None:
        """The next message, None once the other end has gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH))
            if length > FRAME_LIMIT:
                return None
            return self._decoder.decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def flush(self) -> None:
        """Wait until the other end has taken what was sent, or has gone."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    def close(self) -> None:
        self._writer.close()


async def open_control_end(pair: socket.socket) -> Link[Report]:
    """The control process's end of a worker's pair."""
    return Link(*await asyncio.open_unix_connection(sock=pair), msgspec.msgpack.Decoder(Report))


async def open_worker_end(pair: socket.socket) -> Link[Order]:
    """The worker's end."""
    return Link(*await asyncio.open_unix_connection(sock=pair), msgspec.msgpack.Decoder(Order))
