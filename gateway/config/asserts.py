"""The operator's own facts about a route: a closed language of five sentences, held against what was compiled. Pure."""

import operator
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from gateway.config.documents import RouteDoc
from gateway.config.traffic import Traffic
from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import Problem, percent, share_ppm

SENTENCES = (
    "share of ARM <= 10%",
    "calls <= 1.5x",
    "fallback ends in ARM",
    "arm ARM is reached",
    "owner is set",
)
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt, "=": operator.eq,
}  # fmt: skip
_SHARE = re.compile(r"share of (\S+) (<=|>=|<|>|=) (\S+)")
_CALLS = re.compile(r"calls (<=|>=|<|>|=) (\d{1,3}(?:\.\d{1,6})?)x")
_END = re.compile(r"fallback ends in (\S+)")
_REACHED = re.compile(r"arm (\S+) is reached")
_SET = re.compile(r"(owner|hypothesis|expires) is set")


def assert_problems(document: RouteDoc, traffic: Traffic) -> Iterator[Problem]:
    """Every assert that does not hold or is none, each with what holds instead."""
    for place, sentence in enumerate(document.asserts):
        path = ("asserts", place)
        try:
            found = _contradiction(" ".join(sentence.split()), document, traffic)
        except ValueError as error:
            yield Problem(path, f"'{sentence}' is no assert: {error}", f"write one like: {'; '.join(SENTENCES)}")
        else:
            if found:
                yield Problem(path, f"'{sentence}' does not hold: {found}", "mend the route, or the assert")


def _contradiction(sentence: str, document: RouteDoc, traffic: Traffic) -> str:
    """What holds instead of the sentence, "" where it holds; raises ValueError for what is no sentence."""
    if match := _SHARE.fullmatch(sentence):
        arm, sign, bound = match.groups()
        share = traffic.share_of(_known(arm, document))
        return "" if _COMPARE[sign](share, share_ppm(bound)) else f"it has {percent(share)}"
    if match := _CALLS.fullmatch(sentence):
        sign, times = match.groups()
        bound_ppm = int(Decimal(times) * WHOLE_PPM)
        return "" if _COMPARE[sign](traffic.calls_ppm, bound_ppm) else f"it is {traffic.calls_ppm / WHOLE_PPM:.7g}x"
    if match := _END.fullmatch(sentence):
        last = traffic.fallback[-1]
        return "" if last == _known(match[1], document, *traffic.fallback) else f"it ends in {last}"
    if match := _REACHED.fullmatch(sentence):
        return "it gets no request" if _known(match[1], document) in traffic.unreached else ""
    if match := _SET.fullmatch(sentence):
        return "it is missing" if getattr(document, match[1]) is None else ""
    raise ValueError("there is no such sentence")


def _known(arm: str, document: RouteDoc, *also: str) -> str:
    if arm not in document.arms and arm not in also:
        raise ValueError(f"no arm is called '{arm}'")
    return arm
