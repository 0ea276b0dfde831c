"""What is said of an A/B test: numbers, a sentence, and how much more it takes to know."""

from collections.abc import Sequence
from random import Random

import pytest

from gateway.config.contents import Contents
from gateway.config.problems import ConfigRefused
from gateway.publishing.change import Apply
from gateway.publishing.prepare import nothing_yet, prepare
from gateway.publishing.slicing import nothing_sliced, questions_of
from gateway.publishing.trials import NEVER, Trials, rules_of
from strategies.evidence.epochs import ERROR_RATE, INVALID_OUTPUT, ArmCounts, Epoch, Moments
from tests.gateway.conftest import TODAY

ROUTE = """\
turnout: v1
route: digits
arms:
  old: {model: "file:old.onnx", role: baseline}
  new: {model: "file:new.onnx", role: candidate}
  newer: {model: "file:newer.onnx", role: candidate}
attributes: {country: {header: x-country}}
strategy: %s
"""
AB = "{kind: ab, shares: {new: 50%}, guardrails: [{metric: error_rate, no_worse_than: 2x}]}"
SLICED = AB.replace("{kind: ab,", "{kind: ab, slices: {country: [nz, au]},")
SHARES = {"new": 500_000, "old": 500_000}


class Kept:
    """A ledger that holds these epochs and notes from where it was read."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        self.kept = list(epochs)
        self.asked: list[int] = []

    def epochs(self, name: str, after: int = 0) -> list[Epoch]:
        assert name == "digits@1"
        self.asked.append(after)
        return [epoch for epoch in self.kept if epoch.number > after]


@pytest.fixture
def meaning(tmp_path):
    def build(strategy: str = AB):
        change = Apply({"routes/digits.yaml": ROUTE % strategy})
        return prepare(nothing_yet(tmp_path), change, today=TODAY, contents=Contents()).meaning

    return build


def counts(requests_n: int, bad_n: int, **more: int) -> ArmCounts:
    return ArmCounts(requests_n, requests_n, requests_n, events={ERROR_RATE: bad_n}, **more)


def epochs(count: int, new: ArmCounts, old: ArmCounts, first: int = 100) -> list[Epoch]:
    return [Epoch(first + number, 0, SHARES, {"new": new, "old": old}) for number in range(count)]


def tell(meaning, kept: Kept, trials: Trials | None = None):
    told = {"routes": [{"route": "digits", "strategy": meaning.routes["digits"].strategy, "sentence": "ab"}]}
    (line,) = (trials or Trials()).add(told, meaning, lambda: kept)["routes"]
    return line


def test_before_anything_is_counted_it_says_so(meaning):
    line = tell(meaning(), Kept([]))
    assert line["sentence"] == "ab; new: nothing has been counted yet"
    assert line["evidence"]["comparisons"][0]["verdict"] == "unsure"


def test_too_little_says_how_much_is_missing_and_how_long_that_takes(meaning):
    """Twenty requests a second."""
    line = tell(meaning(), Kept(epochs(5, counts(100, 1), counts(100, 1))))
    (found,) = line["evidence"]["comparisons"]

    assert found["missing_s"] == pytest.approx(found["missing_requests"] / 20)
    assert f"not enough data: {found['missing_requests']:,} more requests, about " in line["sentence"]


def test_enough_says_that_it_is_no_worse(meaning):
    line = tell(meaning(), Kept(epochs(200, counts(100, 1), counts(100, 1))))
    assert line["sentence"] == "ab; new: new is no worse than old in error_rate"
    assert line["evidence"]["comparisons"][0]["missing_requests"] is None


def test_harm_is_named_with_its_numbers(meaning):
    line = tell(meaning(), Kept(epochs(50, counts(100, 6), counts(100, 2))))
    (found,) = line["evidence"]["comparisons"]
    (contrast,) = found["contrasts"]

    assert found["verdict"] == "fail"
    assert "new is worse: error_rate is proven worse than its bound; error_rate E = " in line["sentence"]
    assert "300 of 5,000 against 100 of 5,000; differs in error_rate 3x (" in line["sentence"]
    assert contrast["ratio"]["low"] > 1
    assert contrast["difference"]["estimate"] == pytest.approx(0.04)


def test_units_that_are_not_shared_out_as_promised_halt_every_decision(meaning):
    odd = [Epoch(n, 0, SHARES, {"new": counts(100, 9), "old": counts(200, 2)}) for n in range(1, 50)]
    (found,) = tell(meaning(), Kept(odd))["evidence"]["comparisons"]

    assert (found["verdict"], found["is_srm"]) == ("halt", True)
    assert found["sentence"].startswith("nothing is decided: the arms do not get the units")


def test_what_can_never_be_known_is_not_promised(meaning):
    strict = "{kind: ab, shares: {new: 50%}, guardrails: [{metric: error_rate, no_worse_than: 1%}]}"
    line = tell(meaning(strict), Kept(epochs(10, counts(100, 1), counts(100, 1))))
    assert NEVER in line["sentence"]


def test_each_candidate_stands_beside_the_baseline_with_its_part_of_alpha(meaning):
    both = meaning("{kind: ab, shares: {new: 20%, newer: 20%}, alpha: 0.1}")
    rules = rules_of(both.document("digits"))

    assert [(rule.candidate, rule.baseline, rule.alpha) for rule in rules] == [
        ("new", "old", 0.05),
        ("newer", "old", 0.05),
    ]
    assert [bound.metric for bound in rules[0].bounds] == [ERROR_RATE, INVALID_OUTPUT, "run_errors"]


def test_measured_values_are_told_with_both_means(meaning):
    new, old = (ArmCounts(100, 100, 100, values={"latency_s": Moments(100, s, s * s / 90)}) for s in (6.0, 5.0))
    (found,) = tell(meaning(), Kept(epochs(20, new, old)))["evidence"]["comparisons"]
    (contrast,) = [each for each in found["contrasts"] if each["metric"] == "latency_s"]
    assert (contrast["kind"], contrast["candidate"], contrast["baseline"]) == ("mean", 0.06, 0.05)


def in_slices(requests_n: int, bad_n: dict[str, int]) -> ArmCounts:
    """So many requests of every slice, and bad events by slice."""
    events = {ERROR_RATE: sum(bad_n.values())}
    for value, n in bad_n.items():
        events |= {f"requests|country={value}": requests_n, f"{ERROR_RATE}|country={value}": n}
    return ArmCounts(requests_n * len(bad_n), requests_n * len(bad_n), requests_n * len(bad_n), events=events)


def test_slices_in_which_the_arms_differ_are_named_with_what_that_is_worth(meaning):
    """Harm in one country of three, which the whole does not show."""
    new, old = in_slices(100, {"nz": 6, "au": 1, "other": 2}), in_slices(100, {"nz": 2, "au": 3, "other": 4})
    line = tell(meaning(SLICED), Kept(epochs(50, new, old)))
    (found,) = line["evidence"]["comparisons"]
    told = {each["slice"]: each for each in found["slices"]}

    assert not found["contrasts"][0]["differs"]
    assert list(told) == ["country=nz", "country=au", "country=other"]
    assert told["country=nz"]["requests"] == [5000, 5000]
    assert told["country=nz"]["contrasts"][0]["ratio"]["low"] > 1 > told["country=au"]["contrasts"][0]["ratio"]["high"]
    assert "; differs in slices country=nz in error_rate 3x (" in line["sentence"]
    assert line["sentence"].endswith(" (at most 5% of such findings are wrong on average)")


def test_what_differs_by_its_interval_is_just_what_is_found(meaning):
    """However many carry one another."""
    for n in range(2, 40):
        new, old = in_slices(100, {"nz": n, "au": 30, "other": 5}), in_slices(100, {"nz": 10, "au": 10, "other": 5})
        (found,) = tell(meaning(SLICED), Kept(epochs(1, new, old)))["evidence"]["comparisons"]
        for each in found["slices"]:
            (contrast,) = each["contrasts"]
            low, high = contrast["ratio"]["low"], contrast["ratio"]["high"]
            assert contrast["differs"] is not (low <= 1 <= high)


def test_of_equal_arms_looked_at_all_the_time_few_are_ever_found_to_differ_in_a_slice(meaning):
    """A hundred experiments, each looked at forty times. Where one slice is nearly twice as bad, most find it."""
    document, chance = meaning(SLICED).document("digits"), Random(7)

    def is_ever_found(share: float) -> bool:
        sliced = nothing_sliced(rules_of(document), questions_of(document))
        for number in range(40):
            new_n = {value: sum(chance.random() < 0.5 for _ in range(10)) for value in ("au", "other")}
            new_n["nz"] = sum(chance.random() < share for _ in range(10))
            old_n = {value: 10 - n for value, n in new_n.items()}
            sliced = sliced.after(epochs(1, in_slices(100, new_n), in_slices(100, old_n), first=100 + number))
            if sliced.found():
                return True
        return False

    assert sum(is_ever_found(0.5) for _ in range(100)) <= 5
    assert sum(is_ever_found(0.65) for _ in range(20)) >= 15


def test_without_slices_none_are_told(meaning):
    (found,) = tell(meaning(), Kept(epochs(5, counts(100, 1), counts(100, 1))))["evidence"]["comparisons"]
    assert found["slices"] == []


def test_what_was_read_is_not_read_again(meaning):
    live, kept, trials = meaning(), Kept(epochs(5, counts(100, 1), counts(100, 1))), Trials()
    tell(live, kept, trials)
    kept.kept += epochs(1, counts(100, 1), counts(100, 1), first=105)
    line = tell(live, kept, trials)

    assert kept.asked == [0, 104]
    assert line["evidence"]["requests"] == {"new": 600, "old": 600}
    assert line["evidence"]["until"] == 1060.0


def test_a_route_that_is_no_test_has_no_evidence(meaning):
    line = tell(meaning("{kind: baseline}"), Kept([]))
    assert (line["evidence"], line["sentence"]) == (None, "ab")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("{kind: ab, shares: {new: 50%}, guardrails: [{metric: latency}]}", "an A/B test has none"),
        ("{kind: ab, shares: {new: 50%}, guardrails: [{metric: luck}]}", "no metric is called 'luck'"),
        ("{kind: ab, shares: {new: 50%}, alpha: 0.9}", "0.9 is out of range"),
    ],
)
def test_guardrails_that_a_test_cannot_keep_are_refused(meaning, strategy, said):
    with pytest.raises(ConfigRefused, match=said):
        meaning(strategy)
