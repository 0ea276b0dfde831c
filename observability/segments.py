"""Reading events back from the files they were written to, also while somebody writes."""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from observability.event import ShadowEvent

_SHADOW = b'{"event":"shadow",'


def shadow_events(directory: Path, route: str) -> Iterator[ShadowEvent]:
    """A route's shadow events in DIRECTORY/GATEWAY/SEQ.jsonl, gateway by gateway, each in the order it wrote them.

    A segment is read up to its last whole line; one that was deleted meanwhile is passed over. Raises OSError when the
    directory cannot be read, ValueError naming the line that is no event.
    """
    decoder = msgspec.json.Decoder(ShadowEvent)
    for path in _segments(directory):
        for number, line in enumerate(_whole_lines(path), start=1):
            if line.startswith(_SHADOW):
                try:
                    event = decoder.decode(line)
                except msgspec.MsgspecError as error:
                    raise ValueError(f"{path}:{number}: {error}") from error
                if event.route == route:
                    yield event


def _segments(directory: Path) -> list[Path]:
    gateways = sorted(each for each in directory.iterdir() if each.is_dir())
    return [path for gateway in gateways for path in sorted(gateway.glob("*.jsonl"))]


def _whole_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except FileNotFoundError:
        return
