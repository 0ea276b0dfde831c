"""In which slices arms differ: all questions at once, with few of the answers wrong. It decides nothing."""

from collections.abc import Mapping, Sequence
from math import isfinite

from msgspec import Struct

from gateway.config.acting import actions_of
from gateway.config.documents import RouteDoc
from gateway.config.slicing import slices_of
from strategies.evidence.contrast import Contrast, Contrasted, contrasted, contrasts, log_e
from strategies.evidence.epochs import ERROR_RATE, FALLBACK_RATE, INVALID_OUTPUT, Epoch
from strategies.evidence.rule import Rule
from strategies.evidence.slices import discoveries, of_slice

METRICS = (ERROR_RATE, FALLBACK_RATE, INVALID_OUTPUT)
NAMED_N = 5  # slices in a sentence
FOUND_WRONG = 0.05  # of what is said of a canary's slices; its alpha is for taking it back


class Questions(Struct, frozen=True):
    """What is asked of every candidate: each metric in each slice. At most `alpha` of the answers are wrong."""

    slices: tuple[str, ...]
    metrics: tuple[str, ...]
    alpha: float


class InSlice(Struct, frozen=True):
    """A candidate in one slice: its contrasts, and the metrics in which it is found to differ."""

    name: str
    requests_n: tuple[int, int]  # candidate's, baseline's, under the present shares
    contrasts: tuple[Contrast, ...]
    found: tuple[str, ...]


def questions_of(document: RouteDoc) -> Questions:
    """Those of a checked A/B test or canary: all that can be asked, whether anything was counted for it or not."""
    strategy = document.strategy
    metrics = (*METRICS, *(action.metric for action in actions_of(document)))
    return Questions(slices_of(document), metrics, strategy.alpha if strategy.kind == "ab" else FOUND_WRONG)


class Sliced(Struct, frozen=True):
    """All candidates of one experiment in all slices, as far as it was read. `parts` are by candidate and slice."""

    questions: Questions
    parts: Mapping[tuple[str, str], Contrasted]

    def after(self, epochs: Sequence[Epoch]) -> "Sliced":
        """With more epochs, in order."""
        parts = dict(self.parts)
        for epoch in epochs if parts else ():
            there = {name: of_slice(epoch, name) for name in self.questions.slices}
            for (candidate, name), before in parts.items():
                parts[candidate, name] = contrasted(before, there[name])
        return Sliced(self.questions, parts)

    def found(self) -> tuple[tuple[str, str, str], ...]:
        """Who differs where in what: candidates, slices and metrics, most evidence first."""
        log_es = {
            (candidate, name, metric): log_e(part.splits.get(metric, ()), 1.0)
            for (candidate, name), part in self.parts.items()
            for metric in self.questions.metrics
        }
        return discoveries(log_es, self.questions.alpha)

    def look(self) -> dict[str, list[InSlice]]:
        """Every candidate's slices."""
        found, asked_n = self.found(), len(self.parts) * len(self.questions.metrics)
        level = self.questions.alpha * max(len(found), 1) / max(asked_n, 1)  # at which just what is found differs
        slices: dict[str, list[InSlice]] = {candidate: [] for candidate, _ in self.parts}
        for (candidate, name), part in self.parts.items():
            requests_n = part.sums[0].requests_n, part.sums[1].requests_n
            metrics = tuple(metric for who, where, metric in found if (who, where) == (candidate, name))
            slices[candidate].append(InSlice(name, requests_n, contrasts(part, level), metrics))
        return slices

    def words(self, slices: list[InSlice]) -> str:
        """Where a candidate differs, with what that is worth; nothing where it does nowhere."""
        words = [
            f"{each.name} in {contrast.metric} {interval_words(contrast)}"
            for each in slices
            for contrast in each.contrasts
            if contrast.metric in each.found
        ]
        if not words:
            return ""
        more = f" and {len(words) - NAMED_N} more" if len(words) > NAMED_N else ""
        bound = f"at most {100 * self.questions.alpha:.3g}% of such findings are wrong on average"
        return f"; differs in slices {', '.join(words[:NAMED_N])}{more} ({bound})"


def nothing_sliced(rules: tuple[Rule, ...], questions: Questions) -> Sliced:
    """Before anything was read."""
    parts = {
        (rule.candidate, name): Contrasted(rule.candidate, rule.baseline) for rule in rules for name in questions.slices
    }
    return Sliced(questions, parts)


def interval_words(contrast: Contrast) -> str:
    """A ratio with its ends; where one arm has no bad events at all, the end that there is."""
    ratio = contrast.ratio
    if ratio is None:
        return ""
    if not isfinite(ratio.high):
        return f"at least {ratio.low:.3g}x"
    if not ratio.low:
        return f"at most {ratio.high:.3g}x"
    return f"{ratio.estimate:.3g}x ({ratio.low:.3g}x to {ratio.high:.3g}x)"
