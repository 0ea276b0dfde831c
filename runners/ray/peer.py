"""One replica as a gateway knows it: two connections while it lives, attempts to connect while it does not."""

import asyncio
import logging
import random
import ssl
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from runners.core.tensor import InferenceRequest
from runners.ray.ejection import Pulse
from runners.ray.greeting import Refused, Secret, Welcome
from runners.ray.link import HUNG_UP, Asked, Link
from runners.ray.members import Address, Member, State
from runners.ray.settings import Pace, Tls

LOG = logging.getLogger("turnout.hop")
LARGE_BYTES = 64 << 10  # a request from here on has a connection with others like it, so that no small one waits behind
_UNLISTED_TRIES_N = 5
_STEADY_S = 5.0  # a connection that lasted so long was a good one: the next attempt comes at once


class Peer:
    """Connects from `start` until it is given up. `admit` looks at a welcome and says what is wrong with it, "" if
    nothing; `changed` is called whenever it becomes live or ceases to be.
    """

    def __init__(
        self,
        member: Member,
        reach: "Reach",
        admit: Callable[[Welcome], str],
        changed: Callable[[], None],
    ) -> None:
        self.member = member
        self.is_listed = True
        self.is_over = False
        self.pulse = Pulse()
        self.why = "not connected yet"
        self.lost_n = 0  # connections
        self.provider = self.degraded = ""  # as it said when it was greeted last
        self._reach = reach
        self._admit = admit
        self._changed = changed
        self._small: Link | None = None
        self._large: Link | None = None
        self._has_ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_live(self) -> bool:
        """Whether it may be sent requests."""
        small, large = self._small, self._large
        if small is None or large is None or self.member.state is not State.READY:
            return False
        return not (small.why or large.why or small.is_leaving or large.is_leaving)

    @property
    def pending_n(self) -> int:
        small, large = self._small, self._large
        return (len(small.pending) if small else 0) + (len(large.pending) if large else 0)

    @property
    def load(self) -> tuple[int, int]:
        """Calls of all gateways under way there, and those of them that wait for the model; as it said last."""
        return max([(link.open_n, link.waiting_n) for link in self._links()], default=(0, 0))

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def ask(self, request: InferenceRequest, deadline_at: float) -> Asked:
        """Only while it is live. Raises Overloaded."""
        bytes_n = 0
        for tensor in request.inputs:
            bytes_n += tensor.array.nbytes
        link = self._small if bytes_n < LARGE_BYTES else self._large
        assert link is not None
        return link.ask(request, deadline_at)

    def expire(self, now: float) -> int:
        return sum([link.expire(now) for link in self._links()])

    def earliest(self) -> float:
        """The first deadline of all calls under way, infinity if there are none."""
        return min([asked.deadline_at for link in self._links() for asked in link.pending.values()], default=inf)

    def fail(self, why: str) -> None:
        for link in self._links():
            link.fail(why)

    def tick(self, now: float, *, was_awake: bool) -> None:
        """Ping, and give up a replica that has been silent; not if it was we who slept."""
        for link in self._links():
            if not was_awake:
                link.heard_at = now
            if now - link.heard_at > self._reach.pace.silent_s:
                link.lose(f"silent for {now - link.heard_at:.2f} s")
            elif not link.pending and (link.is_leaving or self.member.state is State.DRAINING):
                link.lose("it is leaving")
            else:
                link.ping()

    def learn(self, member: Member) -> None:
        """What the newest membership says of it."""
        self.is_listed = True
        self.member = member
        if member.state is State.GONE:
            self._hang_up("it is gone")
        self._changed()

    async def stop(self) -> None:
        self.is_over = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._hang_up("the model was closed")

    def _links(self) -> list[Link]:
        return [link for link in (self._small, self._large) if link is not None and not link.why]

    def _hang_up(self, why: str) -> None:
        for link in self._links():
            link.lose(why)

    async def _run(self) -> None:
        pace = self._reach.pace
        failed_n = 0
        while self._is_wanted(failed_n):
            began_at = monotonic()
            if self.member.state is State.READY:
                await self._live()
                failed_n = 0 if monotonic() - began_at > _STEADY_S else failed_n + 1
            elif not self.is_listed:
                failed_n += 1
            delay_s = min(pace.retry_s * 2 ** min(failed_n, 16), pace.retry_most_s)
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311 - so that gateways do not march
        self.is_over = True
        self._changed()

    def _is_wanted(self, failed_n: int) -> bool:
        """One that nobody lists any more is tried a few times: a list may come from one who has just begun to look."""
        return self.member.state is not State.GONE and (self.is_listed or failed_n < _UNLISTED_TRIES_N)

    async def _live(self) -> None:
        """Connect twice, and wait until either connection ends."""
        self._has_ended.clear()
        try:
            self._small = await self._connected()
            self._large = await self._connected()
        except (Refused, OSError, TimeoutError, ValueError) as error:
            self._fail(self._reach.words(error))
        else:
            self.why = ""
            self._changed()
            await self._has_ended.wait()
            self.lost_n += 1
        finally:
            why = next((link.why for link in (self._small, self._large) if link is not None and link.why), self.why)
            self._hang_up(why or "the other connection ended")
            self._small = self._large = None
            self.why = why
            self._changed()

    def _fail(self, why: str) -> None:
        if why != self.why:
            LOG.warning("replica %s cannot be reached: %s", self.member.replica, why)
        self.why = why

    async def _connected(self) -> Link:
        """A connection whose replica is the one we mean. Raises Refused, OSError, TimeoutError."""
        link = Link(self._reach.secret, self.pulse.see, self._link_changed)
        try:
            async with asyncio.timeout(self._reach.pace.greeting_s):
                await self._reach.dial(self.member.address, link)
                welcome = await link.welcomed
        except BaseException as error:
            link.lose(str(error) or "no greeting in time")
            with suppress(Refused, asyncio.CancelledError):
                link.welcomed.exception()
            raise
        why = self._admit(welcome)
        if welcome.replica != self.member.replica:
            why = f"replica {welcome.replica} listens there"
        if why:
            link.lose(why)
            raise Refused(why)
        self.provider, self.degraded = welcome.description.provider, welcome.description.degraded
        return link

    def _link_changed(self) -> None:
        if any(link is not None and link.why for link in (self._small, self._large)):
            self._has_ended.set()
        self._changed()


class Reach:
    """How replicas are connected to: the secret, the pace, and TLS where it is wanted."""

    def __init__(self, secret: Secret, pace: Pace, tls: Tls | None, context: ssl.SSLContext | None) -> None:
        self.secret = secret
        self.pace = pace
        self._tls = tls
        self._context = context

    async def dial(self, address: Address, link: Link) -> None:
        """Raises OSError. A socket file of that name on this machine is tried first, unless TLS is wanted."""
        loop: Any = asyncio.get_running_loop()
        is_plain = self._context is None or not address.host
        if address.unix and is_plain and Path(address.unix).exists():  # noqa: ASYNC240
            try:
                await loop.create_unix_connection(lambda: link, address.unix)
            except OSError:
                if not address.host:
                    raise
            else:
                return
        if not address.host:
            raise FileNotFoundError(f"there is no socket {address.unix}")
        name = self._tls.name if self._tls else None
        await loop.create_connection(lambda: link, address.host, address.port, ssl=self._context, server_hostname=name)

    def words(self, error: Exception) -> str:
        """Why a replica was not reached, and what mends it where the two sides differ about TLS."""
        said, tls = str(error) or type(error).__name__, self._tls
        if isinstance(error, ssl.SSLCertVerificationError) and tls is not None:
            return f"its certificate is refused: {error.verify_message}; cure: one for {tls.name}, signed by ca_file"
        if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
            return "it speaks without TLS; cure: give its node a certificate, or take ray: {tls: ...} away"
        if isinstance(error, TimeoutError) and not str(error):
            return "no greeting in time" + ("" if tls else "; one that speaks TLS gives none without ray: {tls: ...}")
        if isinstance(error, Refused) and said == HUNG_UP and tls is not None and tls.cert is None:
            return f"{said}; cure: cert_file and key_file, if it asks for a certificate"
        return said
