"""The conductor: once a second, read the evidence of every rollout, judge it, and publish what that moves.

Every gateway looks, and the one with the lease publishes. Two that publish do no harm: each asks for its move in the
place of the revision that it has seen, and the second is refused.
"""

import asyncio
import logging
from collections.abc import Mapping

from msgspec.structs import replace

from gateway.config.problems import ConfigRefused
from gateway.control.herald import fallback_notices, rollout_notices
from gateway.control.notices import Notice, Notices
from gateway.publishing.change import ChangeRefused, Conduct, Request
from gateway.publishing.prepare import Meaning
from gateway.publishing.publisher import Publisher
from gateway.publishing.watch import Watched, looked, watch, withdrawn
from gateway.state.errors import PublishConflict, StateError
from gateway.state.ledger import Ledger, Offence
from gateway.state.revision import NO_REVISION, Cause
from gateway.state.shelf import Shelf
from strategies.core.state import WAITING, Phase, RolloutState
from strategies.evidence.bounds import LATENCY
from strategies.evidence.epochs import EPOCH_S, LATENCY_METRICS
from strategies.rollout.guardrails import TIMED
from strategies.rollout.words import reason

LOG = logging.getLogger("turnout.control")
LOOK_S = 1.0
LEASE = "conductor"
LEASE_S = 6.0
ITSELF = "turnout"  # the author of what nobody asked for
SAFE = (Phase.ROLLED_BACK, Phase.HELD)  # what is done even while everything is frozen
PAST_S = 3600  # how far back latencies are looked at for what is slow
THRESHOLDS_S = 10.0  # between two attempts to find out what is slow, while too little is known
SETTLED_S = 30.0  # a route that had no past is looked at for so long before that


class Conductor:
    """Leads the rollouts of one state. `me` is this gateway's name among those that share it."""

    def __init__(self, publisher: Publisher, shelf: Shelf, me: str, notices: Notices | None = None) -> None:
        """`notices` go to whoever wants to know; by default to nobody."""
        self.notices = notices or Notices(())
        self._publisher = publisher
        self._shelf = shelf
        self._me = me
        self._watched: dict[str, Watched] = {}
        self._measured_at: dict[str, float] = {}
        self._glanced_at = 0.0
        self._failed: dict[str, str] = {}  # route -> the defect that was told of
        self._trouble = ""

    @property
    def watched(self) -> Mapping[str, Watched]:
        """Every rollout as it was seen last, by route."""
        return self._watched

    async def keep(self) -> None:
        """Until cancelled. While the state is away nothing moves."""
        while True:
            try:
                await self.look()
                self._say("")
            except StateError as error:
                self._say(str(error))
            await asyncio.sleep(LOOK_S)

    async def leave(self) -> None:
        """Let another gateway go on at once."""
        try:
            await asyncio.to_thread(lambda: self._shelf.leases().leave(LEASE, self._me))
        except StateError as error:
            LOG.warning("another gateway will lead the rollouts in %g s: %s", LEASE_S, error)

    async def look(self) -> None:
        """Once through all rollouts. Raises StateError."""
        meaning = self._publisher.meaning
        if meaning.number == NO_REVISION:
            return
        is_leading = await asyncio.to_thread(self._is_leading)
        for name in [*self._watched]:
            if name not in meaning.routes:
                del self._watched[name]
        for name in meaning.routes:
            await self._attend(meaning, name, is_leading=is_leading)
        if is_leading and self.notices.has_receivers:
            for notice in await asyncio.to_thread(self._news):
                self.notices.offer(notice)

    async def _attend(self, meaning: Meaning, name: str, *, is_leading: bool) -> None:
        """Look at one rollout, and lead it. A defect that shows in one must not keep another from going back."""
        try:
            watched = await asyncio.to_thread(self._look_at, meaning, name)
            if watched is not None and is_leading:
                await self._lead(meaning, name, watched)
        except StateError:
            raise
        except Exception as error:
            if self._failed.get(name) != str(error):  # once a second would bury it
                LOG.exception("the rollout of route %s could not be looked at", name)
            self._failed[name] = str(error)
        else:
            self._failed.pop(name, None)

    def _news(self) -> list[Notice]:
        """What nobody has been told of yet. From now on it counts as told."""
        meaning, now = self._publisher.meaning, self._publisher.now()
        found = [*rollout_notices(meaning, self._watched, now)]
        if now - self._glanced_at >= EPOCH_S:
            self._glanced_at = now
            found += fallback_notices(meaning, self._shelf.ledger(), now)
        fresh = self._shelf.told().claim([notice.key for notice in found], now=now) if found else ()
        return [notice for notice in found if notice.key in fresh]

    def _is_leading(self) -> bool:
        return self._shelf.leases().hold(LEASE, self._me, now=self._publisher.now(), for_s=LEASE_S)

    def _look_at(self, meaning: Meaning, name: str) -> Watched | None:
        """Bring what is known of a route up to date."""
        watched = watch(meaning, name, self._watched.get(name))
        if watched is None or meaning.kept[name].is_expired:
            self._watched.pop(name, None)
            return None
        if watched.course.state.phase in WAITING:
            watched = looked(watched, self._shelf.ledger(), self._publisher.now())
        self._watched[name] = watched
        return watched

    async def _lead(self, meaning: Meaning, name: str, watched: Watched) -> None:
        """Publish a move, or thresholds of what is slow where a step has none yet."""
        course = watched.course
        if course.has_moved:
            if meaning.for_all.frozen and course.state.phase not in SAFE:
                self._watched[name] = withdrawn(watched)
                return
            state = await asyncio.to_thread(self._explained, name, watched)
            is_live = await self._publish(meaning, name, state)
            now_so = watch(self._publisher.meaning, name, watched) if is_live else withdrawn(watched)
            self._watched[name] = now_so or withdrawn(watched)
        elif not meaning.for_all.frozen and self._wants_thresholds(name, watched):
            slow_s = await asyncio.to_thread(self._slow_s, name)
            if slow_s:
                said = ", ".join(f"{seconds * 1000:.3g} ms" for seconds in slow_s)
                state = replace(course.state, slow_s=slow_s)
                await self._publish(meaning, name, state, f"from now on slow is more than {said} (p50, p90, p99)")

    def _explained(self, name: str, watched: Watched) -> RolloutState:
        """The state that a look has led to, with the reason, and with what is slow when a step begins."""
        before, course = watched.before, watched.course
        state = course.state
        said = reason(before, state, course.judgement, watched.ramp) + watched.differing
        if state.phase is Phase.ROLLED_BACK:
            first = self._first_offences(watched)
            said += f"; first: {', '.join(each.event_id for each in first)}" if first else ""
        slow_s = self._slow_s(name) if state.step != before.step else ()
        return replace(state, reason=said, slow_s=slow_s or state.slow_s)

    def _first_offences(self, watched: Watched) -> tuple[Offence, ...]:
        """What broke the guardrail. Of latency the slowest calls: what is slower than p99 is so at all quantiles."""
        guardrail = watched.course.judgement.guardrail
        ledger, arm = self._shelf.ledger(), watched.rule.candidate
        for metric in reversed(LATENCY_METRICS) if guardrail == LATENCY else (guardrail,):
            if first := ledger.offending(watched.experiment, arm, metric, limit_n=3):
                return first
        return ()

    async def _publish(self, meaning: Meaning, name: str, state: RolloutState, why: str = "") -> bool:
        """Whether it is live."""
        request = Request(Conduct(name, state), ITSELF, Cause.CONTROL, why or state.reason, meaning.number)
        try:
            await self._publisher.publish(request)
        except PublishConflict:
            return False  # somebody else changed something; what that is is looked at next
        except (ChangeRefused, ConfigRefused) as refused:
            LOG.error("route %s cannot be led: %s", name, refused)  # noqa: TRY400 - the sentence is enough
            return False
        return True

    def _wants_thresholds(self, name: str, watched: Watched) -> bool:
        is_timed = any(bound.metric in TIMED for bound in watched.rule.bounds)
        state, now = watched.course.state, self._publisher.now()
        is_settled = state.baked_s >= SETTLED_S
        if state.slow_s or not is_timed or not is_settled or state.phase not in WAITING:
            return False
        if now - self._measured_at.get(name, 0.0) < THRESHOLDS_S:
            return False
        self._measured_at[name] = now
        return True

    def _slow_s(self, name: str) -> tuple[float, ...]:
        now = self._publisher.now()
        ledger: Ledger = self._shelf.ledger()
        return ledger.latency_quantiles(name, int((now - PAST_S) // EPOCH_S), int(now // EPOCH_S))

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            LOG.error("no rollout moves while the state is away: %s", trouble)
        self._trouble = trouble
