"""What the ledger says of A/B tests: each candidate beside the baseline, and how much more it takes to know."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import ceil, isfinite, log
from threading import Lock
from typing import Any, Protocol

from gateway.config.check import baseline_of
from gateway.config.documents import RouteDoc
from gateway.publishing.prepare import Meaning
from gateway.publishing.slicing import InSlice, Questions, interval_words, nothing_sliced, questions_of
from strategies.evidence.contrast import Contrast, Contrasted, Interval, contrasted, contrasts
from strategies.evidence.epochs import EPOCH_S, Epoch
from strategies.evidence.outlook import requests_missing
from strategies.evidence.rule import Evidence, Judgement, Reading, Rule, Verdict, fold, judge, start
from strategies.rollout.guardrails import bound_of
from strategies.rollout.words import duration, e_value, reading_words

STRATEGY = "ab"
RECENT_N = 30  # epochs by which the pace of requests is told
NEVER = "not enough data, and at these rates there never will be: widen no_worse_than"


class Epochs(Protocol):
    """Where closed epochs are read."""

    def epochs(self, name: str, after: int = 0) -> Sequence[Epoch]:
        """Those of an experiment with a number above `after`, in order."""
        ...


def rules_of(document: RouteDoc) -> tuple[Rule, ...]:
    """One rule for each candidate of an A/B test, each with its part of the one alpha; none for other strategies."""
    strategy = document.strategy
    if strategy.kind != STRATEGY:
        return ()
    baseline = baseline_of(document)
    return tuple(
        Rule(
            candidate=name,
            baseline=baseline,
            bounds=tuple(map(bound_of, strategy.guardrails)),
            alpha=strategy.alpha / len(strategy.shares),
        )
        for name in strategy.shares
    )


class Trial:
    """One experiment as far as it was read."""

    def __init__(self, experiment: str, rules: tuple[Rule, ...], questions: Questions) -> None:
        self.experiment = experiment
        self.rules = rules
        self.questions = questions
        self.epoch = 0
        self.requests_n: dict[str, int] = {}
        self.units_n: dict[str, int] = {}
        self._evidence: list[Evidence] = [start(rule) for rule in rules]
        self._contrasted = [Contrasted(rule.candidate, rule.baseline) for rule in rules]
        self._sliced = nothing_sliced(rules, questions)
        self._shares: Mapping[str, int] = {}
        self._recent: deque[tuple[int, int]] = deque(maxlen=RECENT_N)  # epoch, its requests

    def read(self, epochs: Sequence[Epoch]) -> None:
        """Take in what was closed since."""
        for epoch in epochs:
            self.epoch, self._shares = epoch.number, epoch.shares_ppm or self._shares
            self._recent.append((epoch.number, sum(arm.requests_n for arm in epoch.arms.values())))
            for name, arm in epoch.arms.items():
                self.requests_n[name] = self.requests_n.get(name, 0) + arm.requests_n
                self.units_n[name] = self.units_n.get(name, 0) + arm.units_n
            for place, rule in enumerate(self.rules):
                self._evidence[place] = fold(rule, self._evidence[place], epoch)
                self._contrasted[place] = contrasted(self._contrasted[place], epoch)
        self._sliced = self._sliced.after(epochs)

    def tell(self) -> dict[str, Any]:
        """All of it as plain values. `until` is the Unix time up to which requests are counted."""
        judged = [judge(rule, evidence) for rule, evidence in zip(self.rules, self._evidence, strict=True)]
        slices = self._sliced.look()
        return {
            "experiment": self.experiment,
            "until": float((self.epoch + 1) * EPOCH_S) if self.epoch else 0.0,
            "requests": dict(self.requests_n),
            "units": dict(self.units_n),
            "comparisons": [
                self._compare(rule, judgement, contrasts(found, rule.alpha), slices.get(rule.candidate, []))
                for rule, judgement, found in zip(self.rules, judged, self._contrasted, strict=True)
            ],
        }

    def _compare(
        self, rule: Rule, judgement: Judgement, found: tuple[Contrast, ...], slices: list[InSlice]
    ) -> dict[str, Any]:
        missing_n = self._missing_n(rule, judgement)
        missing_s = missing_n / self._pace() if missing_n and self._pace() else None
        differing = _differing(found) + self._sliced.words(slices)
        return {
            "candidate": rule.candidate,
            "baseline": rule.baseline,
            "verdict": judgement.verdict.value,
            "sentence": self._sentence(rule, judgement, differing, missing_n),
            "missing_requests": missing_n,
            "missing_s": missing_s,
            "srm_e_value": e_value(judgement.srm_log_e),
            "is_srm": judgement.srm_log_e >= -log(rule.srm_alpha),
            "guardrails": [_tell_reading(reading) for reading in judgement.readings],
            "contrasts": [tell_contrast(contrast) for contrast in found],
            "slices": [tell_slice(each) for each in slices],
        }

    def _missing_n(self, rule: Rule, judgement: Judgement) -> int | None:
        """Requests of all arms until the candidate is proven to be no worse, if it is none; None where none help."""
        shares = [self._shares.get(name, 0) for name in (rule.candidate, rule.baseline)]
        if judgement.verdict is Verdict.PROVEN or not all(shares):
            return None
        missing_n = requests_missing(rule, judgement, shares[0] / sum(shares))
        return None if missing_n is None else ceil(missing_n * sum(self._shares.values()) / sum(shares))

    def _pace(self) -> float:
        """Requests in a second, lately."""
        if not self._recent:
            return 0.0
        epochs_n = self._recent[-1][0] - self._recent[0][0] + 1
        return sum(requests_n for _, requests_n in self._recent) / (epochs_n * EPOCH_S)

    def _sentence(self, rule: Rule, judgement: Judgement, differing: str, missing_n: int | None) -> str:
        if not self.epoch:
            return "nothing has been counted yet"
        match judgement.verdict:
            case Verdict.FAIL:
                about = [each for each in judgement.readings if each.metric == judgement.guardrail]
                words = [judgement.why, *map(reading_words, about)]
                return f"{rule.candidate} is worse: {'; '.join(words)}{differing}"
            case Verdict.HALT:
                return f"nothing is decided: {judgement.why}"
            case Verdict.PROVEN:
                guarded = ", ".join(bound.metric for bound in rule.bounds)
                return f"{rule.candidate} is no worse than {rule.baseline} in {guarded}{differing}"
            case Verdict.UNSURE | Verdict.CLEAR:
                warned = f"{judgement.why}; " if judgement.guardrail else ""
                return f"{warned}{self._wait(missing_n)}{differing}"

    def _wait(self, missing_n: int | None) -> str:
        if missing_n is None:
            return NEVER
        pace = self._pace()
        about = f", about {duration(missing_n / pace)}" if pace else ""
        return f"not enough data: {missing_n:,} more requests{about}"


class Trials:
    """Every A/B test of a gateway or a command, read on from where it was read last. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: dict[str, Trial] = {}

    def add(self, told: dict[str, Any], meaning: Meaning, ledger: Callable[[], Epochs]) -> dict[str, Any]:
        """A status with what the ledger says of every route that is an A/B test."""
        with self._lock:
            known, self._known = self._known, {}
            for line in told["routes"]:
                line["evidence"] = None
                rules = rules_of(meaning.document(line["route"])) if line["strategy"] == STRATEGY else ()
                if rules:
                    asked = questions_of(meaning.document(line["route"]))
                    trial = self._trial(known, f"{line['route']}@{meaning.kept[line['route']].began}", rules, asked)
                    trial.read(ledger().epochs(trial.experiment, trial.epoch))
                    line["evidence"] = trial.tell()
                    sentences = [f"{each['candidate']}: {each['sentence']}" for each in line["evidence"]["comparisons"]]
                    line["sentence"] = "; ".join((line["sentence"], *sentences))
        return told

    def _trial(self, known: Mapping[str, Trial], experiment: str, rules: tuple[Rule, ...], asked: Questions) -> Trial:
        found = known.get(experiment)
        if found is None or (found.rules, found.questions) != (rules, asked):
            found = Trial(experiment, rules, asked)
        self._known[experiment] = found
        return found


def _differing(found: tuple[Contrast, ...]) -> str:
    """The metrics in which the arms are surely not alike."""
    words = [f"{each.metric} {interval_words(each)}" for each in found if each.differs and each.ratio]
    return f"; differs in {', '.join(words)}" if words else ""


def _tell_reading(reading: Reading) -> dict[str, Any]:
    return {
        "metric": reading.metric,
        "e_value": e_value(reading.log_e),
        "e_value_safe": e_value(reading.log_e_safe),
        "candidate": [[count.events_n, count.of_n] for count in reading.candidate],
        "baseline": [[count.events_n, count.of_n] for count in reading.baseline],
        "limit": reading.limit,
        "is_broken": reading.is_broken,
        "is_safe": reading.is_safe,
    }


def tell_contrast(contrast: Contrast) -> dict[str, Any]:
    """One metric of two arms as plain values."""
    return {
        "metric": contrast.metric,
        "kind": "rate" if contrast.is_rate else "mean",
        "candidate": contrast.candidate,
        "baseline": contrast.baseline,
        "candidate_n": contrast.candidate_n,
        "baseline_n": contrast.baseline_n,
        "difference": _tell_interval(contrast.difference),
        "ratio": _tell_interval(contrast.ratio),
        "differs": contrast.differs,
    }


def tell_slice(each: InSlice) -> dict[str, Any]:
    """One slice as plain values."""
    told = [tell_contrast(contrast) | {"differs": contrast.metric in each.found} for contrast in each.contrasts]
    return {"slice": each.name, "requests": list(each.requests_n), "contrasts": told}


def _tell_interval(interval: Interval | None) -> dict[str, float | None] | None:
    """An end that nothing refutes is None."""
    if interval is None:
        return None
    ends = {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
    return {name: value if isfinite(value) else None for name, value in ends.items()}
