"""Revisions, routes and changes as plain values, the same on the command line and over HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import to_builtins

from gateway.arms import ArmSeen, merge_arms, tell_arm
from gateway.config.traffic import traffic_of
from gateway.publishing.prepare import Meaning
from gateway.publishing.publisher import Published
from gateway.publishing.rollouts import ramp_ppm
from gateway.state.audit import Entry
from gateway.state.members import Member
from gateway.state.revision import Revision
from gateway.state.store import Head
from strategies.core.spec import percent
from strategies.core.state import Phase, RolloutState
from strategies.rollout.machine import PHRASES, possible


def tell_head(head: Head | Revision) -> dict[str, Any]:
    """A revision without its content. `at` is Unix time in seconds."""
    return {
        "revision": head.number,
        "at": head.at,
        "author": head.author,
        "cause": head.cause.value,
        "reason": head.reason,
        "digest": head.digest,
    }


def tell_revision(revision: Revision) -> dict[str, Any]:
    """A revision with its documents, and with what the gateway kept, both as texts."""
    content = revision.content
    return tell_head(revision) | {
        "previous": revision.previous,
        "documents": dict(content.documents),
        "states": dict(content.states),
    }


def tell_published(published: Published) -> dict[str, Any]:
    """What a change came to: the live revision, the one it made if it made one, and what changes for every route."""
    return {
        "live": published.live,
        "published": tell_head(published.revision) if published.revision else None,
        "routes": [difference.plain() for difference in published.differences],
    }


def tell_entry(entry: Entry) -> dict[str, Any]:
    """An entry of the audit log."""
    return {"number": entry.number, "at": entry.at, **to_builtins(entry.deed), "digest": entry.digest}


def tell_status(meaning: Meaning, live: Head | None, present: Sequence[Member], now: float) -> dict[str, Any]:
    """What is live, who serves it, and a sentence on every route. `present` are the gateways that are there `now`."""
    seen = merge_arms(member.arms for member in present)
    return {
        "live": tell_head(live) if live else None,
        "frozen": meaning.for_all.frozen,
        "source": meaning.for_all.source,
        "converged": all(member.revision == meaning.number for member in present),
        "gateways": [
            {
                "gateway": member.gateway,
                "revision": member.revision,
                "trouble": member.trouble,
                "seen_s_ago": round(now - member.seen_at, 1),
            }
            for member in present
        ],
        "routes": [
            {
                "route": name,
                "strategy": route.strategy,
                "sentence": sentence(meaning, name),
                "arms": _tell_arms(meaning, name, seen),
            }
            for name, route in meaning.routes.items()
        ],
    }


def tell_route(meaning: Meaning, name: str, present: Sequence[Member] = ()) -> dict[str, Any]:
    """One route: its document's meaning and where it stands, and how the gateways `present` run its arms."""
    traffic, kept = traffic_of(meaning.routes[name]), meaning.kept[name]
    document = meaning.document(name)
    return {
        "route": name,
        "sentence": sentence(meaning, name),
        "strategy": traffic.strategy,
        "owner": document.owner,
        "hypothesis": document.hypothesis,
        "expires": document.expires.isoformat() if document.expires else None,
        "experiment": f"{name}@{kept.began}",
        **traffic.enrolment(),
        "shares_ppm": dict(traffic.shares_ppm),
        "shadow_ppm": dict(traffic.shadow_ppm),
        "fallback": list(traffic.fallback),
        "models": {arm.arm.name: arm.model.reference for arm in meaning.routes[name].arms},
        "digests": dict(kept.digests),
        "rollout": to_builtins(kept.rollout) if kept.rollout else None,
        "arms": _tell_arms(meaning, name, merge_arms(member.arms for member in present)),
    }


def _tell_arms(meaning: Meaning, name: str, seen: Mapping[tuple[str, str], ArmSeen]) -> list[dict[str, Any]]:
    """Those of a route that somebody runs, in the order of the document."""
    places = [(name, arm.arm.name) for arm in meaning.routes[name].arms]
    return [tell_arm(seen[place]) for place in places if place in seen]


def sentence(meaning: Meaning, name: str) -> str:
    """What a route does, and what comes next."""
    route, kept = meaning.routes[name], meaning.kept[name]
    traffic = traffic_of(route)
    shares = ", ".join(f"{arm} {percent(ppm)}" for arm, ppm in traffic.shares_ppm.items())
    if route.notice:
        return f"{route.notice} ({shares})"
    ramp = ramp_ppm(meaning.document(name))
    if kept.rollout is None or not ramp:
        return f"{route.strategy}: {shares}" + (f"; {traffic.merges}" if traffic.merges else "")
    why = f" ({kept.rollout.reason})" if kept.rollout.reason else ""
    return f"{route.strategy}: {shares}; {_standing(kept.rollout, ramp)}{why}"


def _standing(state: RolloutState, ramp: tuple[int, ...]) -> str:
    phrase = PHRASES[state.phase]
    if state.phase not in (Phase.BAKING, Phase.HELD):
        return f"{phrase}; possible: {possible(state.phase)}"
    at = f"{phrase} at step {state.step + 1} of {len(ramp)}"
    if state.step + 1 < len(ramp):
        return f"{at}; advance gives {percent(ramp[state.step + 1])}"
    return f"{at}; promote gives 100%"
