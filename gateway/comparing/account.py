"""What the shadow calls of a route come to, arm by arm, and how much of it is noise: a fold over shadow events.

A shadow of the baseline's own digest is a twin. What differs between it and the answer served is noise, so what is
told of a candidate is told beside it: on requests that both were asked with, and on which only one of the two differs,
the one is the candidate as often as the twin if all is noise. That is the share test with rho = 1/2, a McNemar test
that holds whenever one looks.
"""

from collections import Counter

from msgspec import Struct

from observability.event import ShadowEvent
from strategies.evidence.share_test import HARM_RATIOS, gained, log_mean

PENDING_N = 100_000  # requests that wait for the shadow call of their other arm
SLOWER = 1.1  # a call is slower when it takes this much longer than the other


class Discordance(Struct, frozen=True):
    """Requests on which one of two arms shows a trait and the other does not."""

    candidate_n: int = 0
    twin_n: int = 0

    @property
    def log_e(self) -> float:
        """Log E against "the candidate shows it no more often than the twin", at all times."""
        return log_mean(gained((self.candidate_n, self.twin_n), 0.5, HARM_RATIOS, 1.0))


class Seen(Struct, frozen=True):
    """What is kept of a compared call until the request's other calls are known."""

    arm: str
    differs: bool
    flips: bool
    duration_ms: float


class ArmAccount:
    """One arm called in the shadow, since it has had the model it has now. Only counts: no list grows."""

    def __init__(self, arm: str, digest: str) -> None:
        self.arm = arm
        self.digest = digest
        self.is_twin = False
        self.aside_n = 0  # a twin's calls beside answers of another model, which say nothing of noise
        self.dropped: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.invalid: Counter[str] = Counter()
        self.uncompared_n = 0
        self.compared_n = 0
        self.differ_n = 0
        self.labels_n = 0
        self.flips_n = 0
        self.lists_n = 0
        self.max_abs = 0.0
        self.max_rel = 0.0
        self.slower_n = 0
        self._orders = [0.0, 0.0, 0.0]

    @property
    def orders(self) -> tuple[float, float, float]:
        """Means of tau, rank-biased overlap and overlap over all lists, 1 without any."""
        if not self.lists_n:
            return 1.0, 1.0, 1.0
        tau, rbo, overlap = (total / self.lists_n for total in self._orders)
        return tau, rbo, overlap

    def add(self, event: ShadowEvent) -> None:
        match event.outcome:
            case "dropped":
                self.dropped[event.dropped] += event.count
            case "failed":
                self.failed[event.call.cause if event.call else ""] += 1
            case "uncompared":
                self.uncompared_n += 1
            case _:
                self._add_compared(event)

    def _add_compared(self, event: ShadowEvent) -> None:
        if self.is_twin and self.digest != event.answered_digest:
            self.aside_n += 1
            return
        self.compared_n += 1
        self.differ_n += event.outcome == "mismatch"
        if event.invalid:
            self.invalid[event.invalid] += 1
        self.labels_n += event.labels
        self.flips_n += event.flips
        self.max_abs, self.max_rel = max(self.max_abs, event.max_abs), max(self.max_rel, event.max_rel)
        self.slower_n += event.call is not None and event.call.duration_ms > SLOWER * event.answered_ms
        self.lists_n += event.lists
        for place, mean in enumerate((event.tau, event.rbo, event.overlap)):
            self._orders[place] += event.lists * mean


class ShadowAccount:
    """All arms of one route, and every candidate beside every twin."""

    def __init__(self) -> None:
        self.arms: dict[str, ArmAccount] = {}
        self._pending: dict[str, list[Seen]] = {}
        self._pairs: dict[tuple[str, str, str], Discordance] = {}
        self._paired: Counter[tuple[str, str]] = Counter()

    def add(self, event: ShadowEvent) -> None:
        digest = event.call.digest if event.call else ""
        known = self.arms.get(event.arm)
        if known is None or (digest and known.digest and digest != known.digest):
            known = self._begin(event.arm, digest)
        known.digest = known.digest or digest
        is_compared = event.outcome in ("match", "mismatch")
        if is_compared and digest and digest == event.answered_digest and not known.is_twin:
            known = self._begin_twin(known)
        known.add(event)
        if is_compared and not (known.is_twin and digest != event.answered_digest):
            self._pair(event)

    def paired_n(self, candidate: str, twin: str) -> int:
        """Requests on which both were compared."""
        return self._paired[candidate, twin]

    def beside(self, candidate: str, twin: str, trait: str) -> Discordance:
        """Where only one of the two `differs`, `flips` a label, or is `slower` than the other."""
        return self._pairs.get((candidate, twin, trait), Discordance())

    def twins(self) -> tuple[str, ...]:
        return tuple(name for name, account in self.arms.items() if account.is_twin)

    def _begin(self, arm: str, digest: str) -> ArmAccount:
        """An arm's account from nothing, at first or because its model is another: nothing of before is about this."""
        self._pairs = {key: found for key, found in self._pairs.items() if arm not in key[:2]}
        self._paired = Counter({key: n for key, n in self._paired.items() if arm not in key})
        self.arms[arm] = ArmAccount(arm, digest)
        return self.arms[arm]

    def _begin_twin(self, known: ArmAccount) -> ArmAccount:
        """What was counted before it was known to be one was beside answers of another model."""
        made = self._begin(known.arm, known.digest)
        made.is_twin, made.aside_n = True, known.compared_n
        made.dropped, made.failed, made.uncompared_n = known.dropped, known.failed, known.uncompared_n
        return made

    def _pair(self, event: ShadowEvent) -> None:
        duration_ms = event.call.duration_ms if event.call else 0.0
        seen = Seen(event.arm, event.outcome == "mismatch", event.flips > 0, duration_ms)
        others = self._pending.setdefault(event.event_id, [])
        for other in others:
            for one, two in ((seen, other), (other, seen)):
                if self.arms[two.arm].is_twin and not self.arms[one.arm].is_twin:
                    self._compare(one, two)
        others.append(seen)
        if len(self._pending) > PENDING_N:
            self._pending.pop(next(iter(self._pending)))

    def _compare(self, candidate: Seen, twin: Seen) -> None:
        self._paired[candidate.arm, twin.arm] += 1
        for trait, (ours, theirs) in _traits(candidate, twin).items():
            if ours != theirs:
                key = (candidate.arm, twin.arm, trait)
                before = self._pairs.get(key, Discordance())
                self._pairs[key] = Discordance(before.candidate_n + ours, before.twin_n + theirs)


def _traits(candidate: Seen, twin: Seen) -> dict[str, tuple[bool, bool]]:
    return {
        "differs": (candidate.differs, twin.differs),
        "flips": (candidate.flips, twin.flips),
        "slower": (
            candidate.duration_ms > SLOWER * twin.duration_ms,
            twin.duration_ms > SLOWER * candidate.duration_ms,
        ),
    }
