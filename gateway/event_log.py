"""Opening the log of wide events: every process of a gateway writes segments of its own, under the gateway's name."""

import os
import re
import socket
from importlib.metadata import version
from pathlib import Path

from gateway.handover import Launch
from observability.event import Identity
from observability.sinks.file import DEFAULT_LIMITS, SegmentFiles, SegmentLimits
from observability.sinks.key import read_or_create_key
from observability.sinks.line import LineEncoder
from observability.sinks.log import DEFAULT_PACE, Destination, EventLog, Pace
from observability.sinks.stdout import StandardOutput


def open_event_log(launch: Launch) -> tuple[Identity, EventLog]:
    """The log, and who writes it. Raises OSError or ValueError when the state directory cannot be used."""
    host = socket.gethostname()
    identity = Identity(_gateway_name(host), host, os.getpid(), version("turnout"))
    encoder = LineEncoder(identity, read_or_create_key(launch.state / "unit.key"))
    pace = Pace(bound=DEFAULT_PACE.bound // launch.workers_n)
    return identity, EventLog(_destination(launch, identity.gateway), encoder, pace)


def _gateway_name(host: str) -> str:
    """The host's name as the name of a directory."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", host).lstrip(".-") or "gateway"


def _destination(launch: Launch, gateway: str) -> Destination:
    """Segments shrink as workers grow in number: each keeps one open, and all together keep to one limit."""
    if launch.events == "-":
        return StandardOutput(turn=launch.state / "stdout.lock")
    segment_bytes = DEFAULT_LIMITS.segment_bytes // launch.workers_n
    return SegmentFiles(Path(launch.events), gateway, SegmentLimits(segment_bytes, DEFAULT_LIMITS.total_bytes))
