"""What the evidence says of every rollout, as a sentence that opens a status and as numbers behind it."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from gateway.config.traffic import traffic_of
from gateway.publishing.prepare import Meaning
from gateway.publishing.trials import tell_contrast, tell_slice
from gateway.publishing.watch import Epochs, Watched, looked, watch, withdrawn
from strategies.core.spec import percent
from strategies.evidence.contrast import contrasts
from strategies.evidence.rule import Reading
from strategies.rollout.words import e_value, standing


class Watches:
    """Rollouts as somebody sees them who only looks. Usable from any thread; reads what is new since the last look."""

    def __init__(self) -> None:
        self._known: dict[str, Watched] = {}
        self._lock = Lock()

    def look(self, meaning: Meaning, ledger: Epochs, now_s: float) -> Mapping[str, Watched]:
        """Every route's that has a rollout. Raises StateUnavailable."""
        with self._lock:
            found = {}
            for name in meaning.routes:
                watched = watch(meaning, name, self._known.get(name))
                if watched is not None:
                    watched = looked(watched, ledger, now_s)
                    found[name] = withdrawn(watched) if watched.course.has_moved else watched
            self._known = found
            return dict(found)


def add_all_evidence(told: dict[str, Any], meaning: Meaning, watches: Mapping[str, Watched]) -> dict[str, Any]:
    """A status with what is known of every rollout."""
    for line in told["routes"]:
        add_evidence(line, meaning, watches)
    return told


def add_evidence(told: dict[str, Any], meaning: Meaning, watches: Mapping[str, Watched]) -> dict[str, Any]:
    """A route, or a line of a status, that begins with where its rollout stands and ends with why."""
    name = told["route"]
    watched, route = watches.get(name), meaning.routes[name]
    told["judgement"] = None
    if watched is None or route.notice:
        return told
    shares = ", ".join(f"{arm} {percent(ppm)}" for arm, ppm in traffic_of(route).shares_ppm.items())
    told["sentence"] = f"{route.strategy}: {shares}; {standing(watched.course, watched.ramp)}{watched.differing}"
    told["judgement"] = tell_evidence(watched)
    return told


def tell_evidence(watched: Watched) -> dict[str, Any]:
    """The verdict and the readings that it rests on. `log_e` are natural logarithms; `e` is capped at 10^9."""
    course = watched.course
    judgement, state = course.judgement, course.state
    return {
        "experiment": watched.experiment,
        "beside": watched.rule.baseline,
        "verdict": judgement.verdict.value,
        "why": judgement.why,
        "guardrail": judgement.guardrail,
        "epochs": course.evidence.epochs_n,
        "missing": judgement.missing_n,
        "baked_s": state.baked_s,
        "bake_s": watched.ramp.bake_s(state.step),
        "condemns_at_log_e": round(watched.rule.condemns_at, 4),
        "guardrails": [_tell_reading(each) for each in judgement.readings],
        "noise": [tell_contrast(each) for each in contrasts(watched.noise)] if watched.noise else [],
        "slices": [tell_slice(each) for each in watched.slices],
    }


def _tell_reading(reading: Reading) -> dict[str, Any]:
    return {
        "metric": reading.metric,
        "form": reading.form.value,
        "e": float(f"{e_value(reading.log_e):.4g}"),
        "log_e": round(reading.log_e, 4),
        "log_e_safe": round(reading.log_e_safe, 4),
        "candidate": [[count.events_n, count.of_n] for count in reading.candidate],
        "baseline": [[count.events_n, count.of_n] for count in reading.baseline],
        "limit": reading.limit,
        "broken": reading.is_broken,
        "warned": reading.is_warned,
        "safe": reading.is_safe,
    }
