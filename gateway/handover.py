"""What the control process hands over to its workers: settings with the command line's say, and compiled routes.

Documents stay behind, and so do those who parse them: a worker never imports pydantic.
"""

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.config.compiled import CompiledRoute
from gateway.execution.shadows import ShadowBounds
from gateway.frontends.limits import Limits
from runners.ray.members import NOBODY, Membership
from runners.ray.settings import Dial

if TYPE_CHECKING:
    from gateway.frontends.tls import TlsFiles


class Launch(Struct, frozen=True):
    """What a gateway is started with. Bounds are those of all its workers together.

    `routes` are those of `revision`, 0 while it is not known yet. `events` is a directory, or "-" for standard output;
    `state` holds keys that outlive the gateway. Without `tls` both ports are plain.
    """

    state: Path
    events: str
    revision: int = 0
    routes: tuple[CompiledRoute, ...] = ()
    host: str = "127.0.0.1"
    limits: Limits = Limits()
    shadows: ShadowBounds = ShadowBounds()
    drain_s: float = 30.0
    override_token: bytes = b""
    feedback_secret: bytes = b""  # shared by all gateways of a state, see control/clicks.py
    feedback_window_s: float = 1800.0
    tls: "TlsFiles | None" = None
    admin_host: str = "127.0.0.1"
    admin_names: tuple[str, ...] = ()
    workers_n: int = 1
    dial: Dial | None = None  # how replicas on a Ray cluster are reached, None without one
    membership: Membership = NOBODY


def divide(total: int, slot: int, workers_n: int, *, least: int = 0) -> int:
    """The part of a bound that one worker has. All parts sum to `total`, unless `least` asks for more."""
    whole, rest = divmod(total, workers_n)
    return max(least, whole + (slot < rest))


def shadows_of(bounds: ShadowBounds, slot: int, workers_n: int) -> ShadowBounds:
    """One worker's part of the shadow pool."""
    return ShadowBounds(
        divide(bounds.calls, slot, workers_n, least=1),
        divide(bounds.queue, slot, workers_n),
        divide(bounds.bytes, slot, workers_n, least=1),
        bounds.per_second / workers_n,
    )


def pack(launch: Launch) -> bytes:
    """The launch as bytes for a process of this same version."""
    return _pack(launch)


def unpack(packed: bytes) -> Launch:
    """What was packed. Only ever given what the control process wrote to its own child."""
    launch = pickle.loads(packed)  # noqa: S301 - see above
    assert isinstance(launch, Launch)
    return launch


def pack_routes(routes: Sequence[CompiledRoute]) -> bytes:
    """Compiled routes as bytes for a process of this same version."""
    return _pack(tuple(routes))


def unpack_routes(packed: bytes) -> tuple[CompiledRoute, ...]:
    """What was packed. Only ever given what the control process wrote to its own child."""
    routes = pickle.loads(packed)  # noqa: S301 - see above
    assert isinstance(routes, tuple)
    return routes


def _pack(value: object) -> bytes:
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {MappingProxyType: _unfrozen}
    pickler.dump(value)
    return buffer.getvalue()


def _unfrozen(view: MappingProxyType[Any, Any]) -> tuple[Callable[..., Any], tuple[dict[Any, Any]]]:
    """A read-only view of a dictionary, which pickle does not know, as one of a copy."""
    return _frozen, (dict(view),)


def _frozen(words: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    """By a name of ours: the type's own name leads pickle nowhere."""
    return MappingProxyType(words)
