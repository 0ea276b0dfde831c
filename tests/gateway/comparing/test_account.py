"""What shadow calls come to, and how much of it is noise."""

import random

import pytest

from gateway.comparing import account as module
from gateway.comparing.account import Discordance, ShadowAccount
from gateway.comparing.telling import tell_account
from observability.event import Call, ShadowEvent

SERVED, OTHER = "aa" * 32, "bb" * 32


def shadow(number: int, arm: str, *, digest: str = OTHER, **changes: object) -> ShadowEvent:
    call = Call(arm, "1", digest, "cpu", "shadow", "ok", "", 1.0, float(changes.pop("ms", 2.0)))
    facts = {
        "at": 1790000000.0 + number,
        "event_id": f"e{number}",
        "request_id": f"r{number}",
        "trace_id": "",
        "unit_hash": "",
        "unit_kind": "",
        "route": "fraud",
        "revision": 1,
        "experiment": "fraud@1",
        "answered_arm": "old",
        "arm": arm,
        "outcome": "match",
        "dropped": "",
        "agreement": 1.0,
        "call": call,
        "rows": 1,
        "answered_digest": SERVED,
        "answered_ms": 2.0,
    }
    return ShadowEvent(**{**facts, **changes})


def fill(events) -> ShadowAccount:
    account = ShadowAccount()
    for event in events:
        account.add(event)
    return account


def pairs(candidate_share: float, twin_share: float, count: int = 2_000, seed: int = 7):
    """A candidate and a twin that are asked the same, and differ so often, each by itself."""
    chance = random.Random(seed)
    for number in range(count):
        for arm, digest, share in (("new", OTHER, candidate_share), ("twin", SERVED, twin_share)):
            differs = chance.random() < share
            yield shadow(number, arm, digest=digest, outcome="mismatch" if differs else "match")


def test_every_call_is_counted_once_under_what_became_of_it():
    events = [
        shadow(1, "new"),
        shadow(2, "new", outcome="mismatch", labels=4, flips=1, max_abs=0.5, max_rel=0.1),
        shadow(3, "new", outcome="mismatch", invalid="nan", max_abs=0.25),
        shadow(4, "new", outcome="failed"),
        shadow(5, "new", outcome="dropped", dropped="queue", call=None, count=7),
        shadow(6, "new", outcome="uncompared", ms=9.0),
        shadow(7, "new", ms=9.0, lists=2, tau=0.5, rbo=0.75, overlap=1.0),
        shadow(8, "new", lists=1, tau=-1.0, rbo=0.0, overlap=0.25),
    ]
    arm = fill(events).arms["new"]

    assert (arm.compared_n, arm.differ_n, arm.uncompared_n) == (5, 2, 1)
    assert (dict(arm.failed), dict(arm.dropped), dict(arm.invalid)) == ({"": 1}, {"queue": 7}, {"nan": 1})
    assert (arm.labels_n, arm.flips_n, arm.slower_n) == (4, 1, 1)
    assert (arm.max_abs, arm.max_rel, arm.orders) == (0.5, 0.1, (0.0, 0.5, 0.75))


def test_a_shadow_with_the_model_that_answers_is_a_twin():
    account = fill([shadow(1, "new"), shadow(1, "twin", digest=SERVED), shadow(2, "blank", digest="")])
    assert account.twins() == ("twin",)


def test_only_requests_on_which_one_of_both_differs_say_anything():
    """Whatever order they are told in."""
    events = [
        *(shadow(n, "new", outcome="mismatch", flips=1) for n in (1, 2, 3)),
        shadow(4, "new"),
        shadow(1, "twin", digest=SERVED, outcome="mismatch"),
        *(shadow(n, "twin", digest=SERVED) for n in (2, 3)),
        shadow(4, "twin", digest=SERVED, outcome="mismatch"),
        shadow(5, "new", outcome="mismatch"),  # the twin was not asked
    ]
    for order in (events, events[::-1]):
        account = fill(order)
        assert account.beside("new", "twin", "differs") == Discordance(2, 1)
        assert account.beside("new", "twin", "flips") == Discordance(3, 0)
        assert account.paired_n("new", "twin") == 4


@pytest.mark.parametrize(("wins", "log_e"), [(1, 0.363403), (2, 0.756584), (5, 2.094312)])
def test_discordant_requests_are_judged_by_the_share_test_at_one_half(wins, log_e):
    """Published values."""
    assert Discordance(wins, 0).log_e == pytest.approx(log_e, abs=1e-6)


def test_noise_that_both_share_convicts_nobody_and_a_difference_beyond_it_does():
    equal, worse = fill(pairs(0.1, 0.1)), fill(pairs(0.2, 0.1))
    (candidate, _), (convicted, twin) = tell_account(equal), tell_account(worse)

    assert candidate["beside"]["twin"]["differs"]["is_sure"] is False
    assert "nothing of that is proven to be more than noise" in candidate["sentence"]
    assert convicted["beside"]["twin"]["differs"]["is_sure"] is True
    assert "more often than twin, on 2,000 requests, it differs" in convicted["sentence"]
    assert "noise floor" in twin["sentence"]


def test_noise_is_called_a_difference_once_in_a_hundred_looks_at_most():
    """At the end of each of 400 runs that are looked at after every request, at alpha = 1 %."""
    alarms = 0
    for seed in range(400):
        chance, found, highest = random.Random(seed), Discordance(), 0.0
        for _ in range(300):
            won = chance.random() < 0.5
            found = Discordance(found.candidate_n + won, found.twin_n + (not won))
            highest = max(highest, found.log_e)
        alarms += highest >= 4.605170185988091
    assert alarms <= 400 * 0.01 + 3 * (400 * 0.01 * 0.99) ** 0.5


def test_a_new_model_begins_anew():
    events = [*pairs(0.5, 0.0, 50), shadow(60, "new", digest="cc" * 32)]
    account = fill(events)

    assert account.arms["new"].compared_n == 1
    assert account.beside("new", "twin", "differs") == Discordance()
    assert account.arms["twin"].compared_n == 50


def test_requests_that_wait_for_their_other_shadow_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "PENDING_N", 10)
    account = fill(shadow(number, "new", outcome="mismatch") for number in range(50))
    account.add(shadow(0, "twin", digest=SERVED))
    account.add(shadow(49, "twin", digest=SERVED))

    assert account.paired_n("new", "twin") == 1
    assert len(account._pending) <= 11


def test_where_two_models_answer_a_twin_tells_noise_of_its_own_alone():
    """Beside the candidate's answers of an A/B test it differs as often as the candidate does, and that is no noise."""
    events = []
    for number in range(40):
        by_candidate = number % 2 == 0
        answered, outcome = (OTHER, "mismatch") if by_candidate else (SERVED, "match")
        events.append(shadow(number, "twin", digest=SERVED, answered_digest=answered, outcome=outcome))
        events.append(shadow(number, "third", digest="cc" * 32, answered_digest=answered, outcome="mismatch"))
    account = fill(events)

    twin = account.arms["twin"]
    assert (twin.is_twin, twin.compared_n, twin.differ_n, twin.aside_n) == (True, 20, 0, 20)
    assert account.paired_n("third", "twin") == 20
    assert account.beside("third", "twin", "differs") == Discordance(20, 0)
