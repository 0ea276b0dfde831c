"""docs/hop.md is held to the frames and the bounds that the code has."""

import re
from pathlib import Path

import runners.ray
from runners.ray import connection, ejection, frame, greeting, link, peer, settings, tensors

PAGE = (Path(__file__).parents[2] / "docs" / "hop.md").read_text("utf-8")


def test_every_type_of_frame_is_told_with_its_number():
    """Another language can be taught it from the page."""
    told = re.findall(r"^\| ([A-Z]+) \| (\d+) \| (?:gateway|replica) \|", PAGE, re.MULTILINE)
    assert [(kind.name, str(kind.value)) for kind in frame.Type] == told


def test_every_module_is_told():
    """Who looks for a thing finds its file."""
    told = set(re.findall(r"`(\w+)`", PAGE.split("## Frames")[0]))
    folder = Path(runners.ray.__file__).parent
    ours = {"members", "frame", "tensors", "greeting", "connection", "server", "serving", "link", "peer", "endpoint"}
    assert ours | {"ejection", "bundle", "detour"} <= told
    assert all((folder / f"{name}.py").exists() for name in ours)


def test_the_bounds_are_those_of_the_code():
    """A number that changed is told."""
    pace, listen = settings.Pace(), settings.Listen("r", Path())
    told = (
        f"at most {frame.FRAME_BYTES >> 20} MiB, {frame.GREETING_BYTES >> 10} KiB before",
        f"longer than {frame.SHARED_BYTES >> 10} KiB",
        f"({greeting.SECRET_BYTES_LEAST} bytes or more",
        f"`{settings.TLS_NAME}`",
        f"{listen.greeting_s:g} s, and at most {listen.strangers_n} strangers",
        f"after {pace.silent_s:g} s without a byte (pings every {pace.ping_s:g} s)",
        f"after {pace.retry_s:g} s, then twice as long each time up to {pace.retry_most_s:g} s",
        f"{ejection.SLOWER_TIMES:g} times as slow as its peers (and {ejection.SLOWER_S * 1e3:g} ms)",
        f"fails {ejection.FAILED_IN_ROW_N} times",
        f"rests for {ejection.REST_S:g} s, {2 * ejection.REST_S:g} the next time, up to {ejection.REST_MOST_S:g}",
        f"beyond {link.UNSENT_BYTES >> 20} MiB unsent",
        f"leaves {connection.UNWRITTEN_BYTES >> 20} MiB",
        f"Requests of {peer.LARGE_BYTES >> 10} KiB and more",
        f"flag {tensors.WANTED} is set",
    )
    assert [] == [words for words in told if words not in PAGE]
