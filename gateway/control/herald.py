"""The herald: finds out what somebody has to be told of. Each thing once, whoever of several gateways tells it."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from gateway.control.notices import Notice, Occasion
from gateway.publishing.evidence import tell_evidence
from gateway.publishing.prepare import Meaning
from gateway.publishing.watch import Watched
from strategies.core.spec import percent
from strategies.core.state import Phase, RolloutState
from strategies.evidence.epochs import FALLBACK_RATE, Epoch
from strategies.rollout.words import standing

FALLBACK_SHARE = 0.5  # of a route's requests in one epoch, from which on its fallback is an outage that nobody notices
FALLBACK_MIN_N = 20
HOUR_S = 3600.0
OCCASIONS = {
    Phase.ROLLED_BACK: Occasion.ROLLBACK,
    Phase.HELD: Occasion.HOLD,
    Phase.AWAITING_APPROVAL: Occasion.APPROVAL,
    Phase.PROMOTED: Occasion.PROMOTION,
    Phase.EXPIRED: Occasion.EXPIRY,
}


class Latest(Protocol):
    """Where closed epochs are read."""

    def closed(self, name: str) -> int: ...
    def epochs(self, name: str, after: int = 0) -> Sequence[Epoch]: ...


def rollout_notices(meaning: Meaning, watches: Mapping[str, Watched], now_s: float) -> Iterator[Notice]:
    """What is so of rollouts now that somebody has to know. Whether they know it is for others to find out."""
    for name, kept in meaning.kept.items():
        watched = watches.get(name)
        experiment = f"{name}@{kept.began}"
        if kept.is_expired:
            document = meaning.document(name)
            sentence = f"{name} expired on {document.expires}: the baseline answers everything"
            action = "move the date and apply, or make an end of it: strategy: {kind: baseline}"
            yield Notice(f"{experiment} expiry {document.expires}", Occasion.EXPIRY, name, sentence, action, now_s)
        elif kept.rollout is not None and kept.rollout.phase in OCCASIONS and watched is not None:
            yield _of_phase(name, experiment, kept.rollout, watched, now_s)
        if watched is not None and watched.course.judgement.guardrail == "srm":
            sentence = f"{name}: {watched.course.judgement.why}; nothing is decided until a new experiment begins"
            action = f"find out who loses requests of one arm, then: turnout restart {name}"
            numbers = tell_evidence(watched)
            yield Notice(f"{experiment} srm", Occasion.SRM, name, sentence, action, now_s, numbers)


def fallback_notices(meaning: Meaning, ledger: Latest, now_s: float) -> Iterator[Notice]:
    """Routes whose fallback answers for half of the requests or more. Told once an hour. Raises StateUnavailable."""
    for name, kept in meaning.kept.items():
        experiment = f"{name}@{kept.began}"
        latest = ledger.closed(experiment)
        arms = [counts for epoch in ledger.epochs(experiment, latest - 1) for counts in epoch.arms.values()]
        requests_n = sum(counts.requests_n for counts in arms)
        fallback_n = sum(counts.events.get(FALLBACK_RATE, 0) for counts in arms)
        if requests_n >= FALLBACK_MIN_N and fallback_n >= FALLBACK_SHARE * requests_n:
            sentence = f"{name}: a fallback answered {fallback_n:,} of {requests_n:,} requests in ten seconds"
            action = f"turnout rollback {name}, if a candidate is at fault; the log says why its arms fail"
            numbers = {"fallback": fallback_n, "requests": requests_n, "epoch": latest}
            key = f"{experiment} fallback {int(now_s // HOUR_S)}"
            yield Notice(key, Occasion.FALLBACK_RATE, name, sentence, action, now_s, numbers)


def _of_phase(name: str, experiment: str, state: RolloutState, watched: Watched, now_s: float) -> Notice:
    occasion = OCCASIONS[state.phase]
    which = sha256(f"{state.step} {state.reason}".encode()).hexdigest()[:12]
    share = percent(watched.ramp.share_after(state.step))
    action = {
        Phase.ROLLED_BACK: f"nothing is urgent: the baseline answers; once it is mended: turnout restart {name}",
        Phase.HELD: f"turnout rollback {name}; or, if you know better, turnout resume {name}",
        Phase.AWAITING_APPROVAL: f"leave it at its share; or let it have {share}: turnout approve {name}",
        Phase.PROMOTED: f"nothing; if you regret it: turnout rollback {name}",
        Phase.EXPIRED: f"nothing: the baseline answers; to go on: turnout restart {name}",
    }[state.phase]
    sentence = f"{name}: {standing(watched.course, watched.ramp)}"
    key = f"{experiment} {occasion} {which}"
    return Notice(key, occasion, name, sentence, action, now_s, tell_evidence(watched))
