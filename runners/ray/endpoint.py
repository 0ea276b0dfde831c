"""The gateway's side of the hop: an endpoint whose model is held by replicas elsewhere, of which it is told.

It lives on the gateway's event loop, imports no ray, and outlives it: the replicas it knows are asked until they hang
up, fall silent or are said to be gone.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from time import monotonic

from runners.core.checks import InputCheck
from runners.core.errors import DeadlineExceeded, LoadRefused, NotReady
from runners.core.runner import Description
from runners.core.tensor import InferenceRequest, InferenceResponse
from runners.ray.ejection import to_rest
from runners.ray.greeting import Secret, Welcome
from runners.ray.link import Asked, ReplicaLost
from runners.ray.members import Membership, State
from runners.ray.peer import Peer, Reach
from runners.ray.readings import LIVE, LOST, RESTING, PeerReading
from runners.ray.settings import Dial, client_context

LOG = logging.getLogger("turnout.hop")
SWEEP_S = 0.005  # deadlines that lie closer together are looked at together
_JUDGED_S = 1.0  # between two looks for replicas that are worse than others
_ASLEEP_S = 0.5  # a tick that is so late says that it was this process that slept
_NEVER = float("inf")


class EndpointCounts:
    """What one endpoint has seen: requests sent, those sent once more, those lost with a replica for good, those whose
    deadline came first; replicas that were told to rest.
    """

    __slots__ = ("ejected_n", "expired_n", "lost_n", "retried_n", "sent_n")

    def __init__(self) -> None:
        self.sent_n = self.retried_n = self.lost_n = self.expired_n = self.ejected_n = 0


class HopEndpoint:
    """An arm that replicas answer for. Created on the event loop whose callers it answers; nothing works before
    `update`, and `description` only after `greeted` unless it is known beforehand.
    """

    def __init__(self, arm_key: str, dial: Dial, description: Description | None = None) -> None:
        """Blocks on the disk. Raises LoadRefused for a secret or TLS files that cannot be used."""
        self.counts = EndpointCounts()
        self.missed: Callable[[], None] = _nobody  # called whenever a request finds no replica
        self._arm_key = arm_key
        self._dial = dial
        context = client_context(dial.tls) if dial.tls else None
        self._reach = Reach(Secret(dial.secret), dial.pace, dial.tls, context)
        self._peers: dict[str, Peer] = {}
        self._live: tuple[Peer, ...] = ()
        self._seq = -1
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        self._has_live = asyncio.Event()
        self._description = description
        self._check_input = InputCheck(description.signature) if description else None
        self._sweep_at = _NEVER
        self._sweeping: asyncio.TimerHandle | None = None
        self._ticked_at = self._judged_at = monotonic()
        self._ticking = self._loop.call_later(dial.pace.ping_s, self._tick)
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def description(self) -> Description:
        """Raises NotReady before any replica has said what it is."""
        if self._description is None:
            raise NotReady("no replica has said yet what model it holds")
        return self._description

    def ready(self) -> bool:
        return bool(self._live)

    def update(self, membership: Membership) -> None:
        """Learn who there is. A replica that is not named any more stays until its connection ends."""
        if membership.seq <= self._seq or self._is_closed:
            return
        self._seq = membership.seq
        for peer in self._peers.values():
            peer.is_listed = False
        for member in membership.of(self._arm_key):
            known = self._peers.get(member.replica)
            if known is not None and not known.is_over:
                known.learn(member)
            elif member.state is not State.GONE:
                self._peers[member.replica] = fresh = Peer(member, self._reach, self._admit, self._settle)
                fresh.start()
        self._settle()

    async def greeted(self, limit_s: float) -> None:
        """Return once a replica is live. Raises LoadRefused, with what each replica said, when none is in time."""
        try:
            async with asyncio.timeout(limit_s):
                await self._has_live.wait()
        except TimeoutError:
            said = "; ".join(f"{name}: {peer.why}" for name, peer in self._peers.items()) or "none is known"
            raise LoadRefused(self._arm_key, f"no replica was ready within {limit_s:g} s: {said}") from None

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        """Raises also ReplicaLost, when the replica was lost and a second one as well, or there was none."""
        if self._is_closed or self._check_input is None:
            raise NotReady("the model is closed" if self._is_closed else "no replica has been reached yet")
        self._check_input(request)
        if deadline_at <= monotonic():
            raise DeadlineExceeded("the deadline had passed before a replica was called")
        asked = self._ask(request, deadline_at)
        self.counts.sent_n += 1
        try:
            return await asked.future
        except ReplicaLost:
            return await self._ask_again(request, deadline_at)
        except asyncio.CancelledError:
            asked.leave()
            raise

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._ticking.cancel()
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._live = ()
        for peer in self._peers.values():
            peer.fail("the model was closed")
        await asyncio.gather(*[peer.stop() for peer in self._peers.values()])

    @property
    def pending_n(self) -> int:
        """Calls under way at all replicas, as far as this endpoint has made them."""
        return sum([peer.pending_n for peer in list(self._peers.values())])

    def readings(self) -> list[PeerReading]:
        now = monotonic()
        return [_reading(peer, now) for peer in self._peers.values()]

    async def _ask_again(self, request: InferenceRequest, deadline_at: float) -> InferenceResponse:
        """Once, of another replica: what killed two would kill a third."""
        if not self._dial.repeatable or not self._live or deadline_at <= monotonic():
            self.counts.lost_n += 1
            raise ReplicaLost("the replica was lost while the request was under way")
        self.counts.retried_n += 1
        asked = self._ask(request, deadline_at)
        try:
            return await asked.future
        except ReplicaLost:
            self.counts.lost_n += 1
            raise
        except asyncio.CancelledError:
            asked.leave()
            raise

    def _ask(self, request: InferenceRequest, deadline_at: float) -> Asked:
        if deadline_at < self._sweep_at:
            self._sweep_by(deadline_at)
        return self._choose().ask(request, deadline_at)

    def _choose(self) -> Peer:
        """The one with fewer calls under way, of two drawn at random."""
        live = self._live
        if len(live) == 1:
            return live[0]
        if not live:
            self.missed()
            raise NotReady("no replica is live")
        first = int(random.random() * len(live))  # noqa: S311
        second = int(random.random() * (len(live) - 1))  # noqa: S311
        one, other = live[first], live[second + (second >= first)]
        return one if one.pending_n <= other.pending_n else other

    def _admit(self, welcome: Welcome) -> str:
        """All replicas of an arm hold the same model; the first one tells which that is."""
        found = welcome.description
        if self._description is None:
            self._description = found
            self._check_input = InputCheck(found.signature)
        known = self._description
        if (found.digest, found.signature) != (known.digest, known.signature):
            return f"it holds model {found.digest[:12]}, the others {known.digest[:12]}"
        return ""

    def _settle(self) -> None:
        """Who may be sent requests has changed, or may have."""
        for name in [name for name, peer in self._peers.items() if peer.is_over]:
            del self._peers[name]
        now = monotonic()
        live = self._live_peers()
        self._live = () if self._is_closed else tuple([p for p in live if p.pulse.rests_until <= now] or live)
        if self._live:
            self._has_live.set()
        else:
            self._has_live.clear()

    def _live_peers(self) -> list[Peer]:
        """All that may be asked; a detour only where it is all there is."""
        live = [peer for peer in self._peers.values() if peer.is_live]
        return [peer for peer in live if not peer.member.is_detour] or live

    def _tick(self) -> None:
        now = monotonic()
        ping_s = self._dial.pace.ping_s
        was_awake = now - self._ticked_at < ping_s + min(_ASLEEP_S, self._dial.pace.silent_s / 2)
        self._ticked_at = now
        for peer in tuple(self._peers.values()):
            peer.tick(now, was_awake=was_awake)
        if now - self._judged_at >= _JUDGED_S:
            self._judged_at = now
            self._judge(self._live_peers(), now)
        self._ticking = self._loop.call_later(ping_s, self._tick)

    def _judge(self, live: Sequence[Peer], now: float) -> None:
        worse = to_rest([peer.pulse for peer in live], now)
        for peer in live:
            if peer.pulse in worse:
                mean_ms = peer.pulse.mean_s * 1e3
                peer.pulse.rest(now)
                self.counts.ejected_n += 1
                rest_s = peer.pulse.rests_until - now
                LOG.warning("replica %s (%.1f ms a call) rests for %.0f s", peer.member.replica, mean_ms, rest_s)
        self._settle()

    def _sweep_by(self, deadline_at: float) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweep_at = deadline_at
        self._sweeping = self._loop.call_later(deadline_at - monotonic(), self._sweep)

    def _sweep(self) -> None:
        now = monotonic()
        self._sweep_at = _NEVER
        self._sweeping = None
        for peer in self._peers.values():
            self.counts.expired_n += peer.expire(now)
        earliest = min([peer.earliest() for peer in self._peers.values()], default=_NEVER)
        if earliest < _NEVER:
            self._sweep_by(max(earliest, now + SWEEP_S))


def _nobody() -> None:
    """Nobody is told."""


def _reading(peer: Peer, now: float) -> PeerReading:
    member, pulse = peer.member, peer.pulse
    state = member.state.value
    if member.state is State.READY:
        state = LOST if not peer.is_live else RESTING if pulse.rests_until > now else LIVE
    open_n, waiting_n = peer.load
    return PeerReading(
        *(member.replica, member.node, state, peer.why, peer.pending_n, pulse.mean_s, peer.lost_n),
        provider=peer.provider,
        degraded=peer.degraded,
        open_n=open_n,
        waiting_n=waiting_n,
        rested_n=pulse.rested_n,
    )
