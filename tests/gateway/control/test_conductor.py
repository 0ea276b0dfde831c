"""The loop that leads rollouts, over a ledger with a script and a fleet that serves whatever it is given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.conductor import LEASE_S, Conductor
from gateway.publishing.change import Apply, Freeze, Operate, Request
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.state.errors import StateUnavailable
from gateway.state.ledger import Offence
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from strategies.core.state import Phase
from strategies.evidence.epochs import EPOCH_S, ERROR_RATE, ArmCounts, Epoch
from strategies.rollout.machine import Verb
from tests.gateway.conftest import documents, ramp

START_S = 1_800_000_000.0
SHARES = (20_000, 100_000, 500_000)
QUICK = ramp("2%", "10%", "50%") | {"guardrails": [{"metric": "error_rate"}], "n_min": 50}
QUICK["ramp"] = [step | {"bake": "20s"} for step in QUICK["ramp"]]


class ScriptedLedger:
    """What was counted, as a test has it."""

    def __init__(self) -> None:
        self.counted: list[Epoch] = []
        self.slow_s: tuple[float, ...] = ()
        self.offences: dict[str, list[Offence]] = {}

    def epochs(self, _name: str, after: int = 0) -> list[Epoch]:
        return [epoch for epoch in self.counted if epoch.number > after]

    def closed(self, _name: str) -> int:
        return max((epoch.number for epoch in self.counted), default=0)

    def offending(self, _name: str, _arm: str, metric: str, *, limit_n: int) -> list[Offence]:
        return (
            self.offences.get(metric, [])
            if self.offences
            else [Offence(f"event-{number}", START_S) for number in range(limit_n)]
        )

    def latency_quantiles(self, *_: object) -> tuple[float, ...]:
        return self.slow_s


class ScriptedShelf(Shelf):
    def __init__(self, folder: Path, ledger: ScriptedLedger) -> None:
        super().__init__(folder)
        self._ledger = ledger
        self.is_away = False

    def ledger(self):
        return self._ledger

    def engine(self):
        if self.is_away:
            raise StateUnavailable("it is away")
        return super().engine()


class Site:
    """One state, and gateways that lead its rollouts."""

    def __init__(self, root: Path) -> None:
        self.now_s = START_S
        self.ledger = ScriptedLedger()
        self.shelf = ScriptedShelf(root / "state", self.ledger)
        self.publisher = Publisher(self.shelf, root, Rehearsal(is_opening=False), clock=lambda: self.now_s)
        self.conductor = Conductor(self.publisher, self.shelf, "a")

    async def ask(self, change: object, author: str = "ann") -> None:
        await self.publisher.publish(Request(change, author, Cause.OPERATE))

    async def pass_epoch(
        self, *, errors_n: int = 0, requests_n: int = 100, metric: str = ERROR_RATE, lead: Conductor | None = None
    ) -> None:
        """Ten seconds of requests, and a look at them."""
        step = self.rollout.step
        old_n = requests_n * (1_000_000 - SHARES[step]) // SHARES[step]
        self.ledger.counted.append(
            Epoch(
                number=int(self.now_s // EPOCH_S),
                step=step,
                shares_ppm={"new": SHARES[step], "old": 1_000_000 - SHARES[step]},
                arms={
                    "new": ArmCounts(requests_n, requests_n, requests_n, events={metric: errors_n}),
                    "old": ArmCounts(old_n, old_n, old_n),
                },
            )
        )
        self.now_s += EPOCH_S
        await (lead or self.conductor).look()

    @property
    def rollout(self):
        return self.publisher.meaning.kept["digits"].rollout


@pytest.fixture
async def site(root: Path) -> Iterator[Site]:
    made = Site(root)
    await made.ask(Apply(documents(strategy=QUICK)))
    yield made
    made.shelf.close()


async def test_a_sound_candidate_is_led_to_the_end(site):
    """Twenty seconds at each share, then proof, and every move is a revision by the gateway itself."""
    for _ in range(20):
        await site.pass_epoch()
        if site.rollout.phase is Phase.PROMOTED:
            break
    assert Phase.PROMOTED is site.rollout.phase
    heads = site.shelf.store().history()
    assert ["control"] * 3 == [head.cause for head in heads[:3]]
    assert "turnout" == heads[0].author
    assert "no worse than its guardrails allow; error_rate E = 1, 0 of 900 against 0 of 12,100" == heads[0].reason


async def test_a_failing_candidate_is_taken_back_with_all_that_tells_why(site):
    await site.pass_epoch(errors_n=60)  # one is enough
    assert Phase.ROLLED_BACK is site.rollout.phase
    reason = site.shelf.store().history()[0].reason
    assert reason.startswith("error_rate is proven worse than its bound; error_rate E = ")
    assert "60 of 100 against 0 of 4,900; first: event-0, event-1, event-2" in reason


async def test_a_slow_candidate_is_taken_back_and_its_slowest_calls_are_named(root):
    """Each call is slower than half of what there was; one was slower than nearly all."""
    site = Site(root)
    await site.ask(Apply(documents(strategy=QUICK | {"guardrails": [{"metric": "latency"}]})))
    site.ledger.offences = {"latency_p50": [Offence("slow", START_S)], "latency_p99": [Offence("slowest", START_S)]}
    for _ in range(6):
        await site.pass_epoch(errors_n=90, metric="latency_p50")
    assert Phase.ROLLED_BACK is site.rollout.phase
    assert site.rollout.reason.endswith("; first: slowest")
    site.shelf.close()


async def test_a_restart_in_the_middle_goes_on_with_the_same_evidence(site):
    """Killed and started again: the same step and the same E values, and what has baked has baked."""
    await site.pass_epoch()
    await site.pass_epoch()
    await site.pass_epoch(errors_n=2)
    before = site.conductor.watched["digits"].course
    again = Conductor(site.publisher, site.shelf, "a")
    await again.look()
    after = again.watched["digits"].course

    assert (before.evidence, before.judgement) == (after.evidence, after.judgement)
    assert (1, before.state.baked_s) == (after.state.step, after.state.baked_s)


async def test_two_that_lead_at_once_make_each_move_once(site):
    """However it came to that: both look at the same epochs, and the second is too late."""
    other = Conductor(site.publisher, site.shelf, "b")
    other._is_leading = lambda: True  # as if it did not know of the lease
    for _ in range(2):
        await site.pass_epoch()
        await other.look()
    assert 1 == site.rollout.step
    assert 2 == site.shelf.store().live_number()


async def test_only_who_has_the_lease_leads_and_another_goes_on_when_it_is_gone(site):
    await site.conductor.look()
    other = Conductor(site.publisher, site.shelf, "b")
    for _ in range(2):
        await site.pass_epoch(lead=other)
    assert 1 == site.rollout.step  # the first one's lease was over after six seconds
    assert EPOCH_S > LEASE_S
    assert not site.conductor._is_leading()


async def test_while_the_state_is_away_nothing_moves_and_afterwards_it_does(site):
    await site.pass_epoch()
    site.shelf.is_away = True
    with pytest.raises(StateUnavailable):
        await site.pass_epoch(errors_n=90)
    assert (Phase.BAKING, 0) == (site.rollout.phase, site.rollout.step)
    site.shelf.is_away = False
    await site.pass_epoch(errors_n=90)
    await site.pass_epoch(errors_n=90)
    assert Phase.ROLLED_BACK is site.rollout.phase


async def test_frozen_nothing_climbs_and_harm_is_still_taken_back(site):
    await site.ask(Freeze("Christmas"))
    for _ in range(4):
        await site.pass_epoch()
    assert (Phase.BAKING, 0) == (site.rollout.phase, site.rollout.step)
    refusals = [entry for entry in site.shelf.audit().entries() if entry.deed.outcome == "refused"]
    assert [] == refusals  # it is not even asked for, once a second
    for _ in range(4):
        await site.pass_epoch(errors_n=95)
    assert Phase.ROLLED_BACK is site.rollout.phase


async def test_a_freeze_that_ends_lets_go_on_what_has_waited(site):
    await site.ask(Freeze("Christmas"))
    for _ in range(3):
        await site.pass_epoch()
    await site.ask(Freeze(""))
    site.now_s += 1
    await site.conductor.look()
    assert 1 == site.rollout.step


async def test_nobody_leads_what_a_person_holds_but_harm_takes_it_back(site):
    await site.ask(Operate("digits", Verb.HOLD))
    for _ in range(4):
        await site.pass_epoch()
    assert (Phase.HELD, 0) == (site.rollout.phase, site.rollout.step)
    for _ in range(4):
        await site.pass_epoch(errors_n=95)
    assert Phase.ROLLED_BACK is site.rollout.phase


async def test_what_is_slow_is_frozen_when_it_is_known_and_again_at_each_step(site):
    await site.ask(Apply(documents(strategy=ramp("2%", "10%") | {"guardrails": [{"metric": "latency"}]})))
    site.ledger.slow_s = (0.01, 0.02, 0.05)
    for _ in range(2):
        await site.pass_epoch()
    assert () == site.rollout.slow_s  # the route has no past, and twenty seconds are none
    await site.pass_epoch()
    assert ((0.01, 0.02, 0.05), 0) == (site.rollout.slow_s, site.rollout.step)
    assert "from now on slow is more than 10 ms, 20 ms, 50 ms (p50, p90, p99)" == site.shelf.store().history()[0].reason


async def test_a_restarted_rollout_begins_with_no_evidence(site):
    for _ in range(3):
        await site.pass_epoch(errors_n=60)
    await site.ask(Operate("digits", Verb.RESTART))
    site.ledger.counted.clear()  # of the new experiment nothing is counted
    await site.conductor.look()
    course = site.conductor.watched["digits"].course
    assert (0, 0.0, Phase.BAKING) == (course.evidence.epochs_n, course.state.baked_s, course.state.phase)


async def test_a_defect_delays_what_it_touches_and_ends_nothing(site, monkeypatch, caplog):
    """Whoever leads rollouts goes on leading: a candidate that harms is taken back at the next look."""
    offending = site.ledger.offending

    def breaks(*_: object, **__: object) -> list[Offence]:
        raise ValueError("a defect")

    monkeypatch.setattr(site.ledger, "offending", breaks)
    await site.pass_epoch(errors_n=60)
    await site.conductor.look()
    assert Phase.ROLLED_BACK is not site.rollout.phase
    assert 1 == caplog.text.count("the rollout of route digits could not be looked at")
    monkeypatch.setattr(site.ledger, "offending", offending)
    await site.conductor.look()
    assert Phase.ROLLED_BACK is site.rollout.phase


async def test_silence_ends_patience_and_time_that_nobody_watched_does_not(site):
    """No request comes. For an hour no gateway runs; after that it takes what was left of the two minutes."""
    await site.ask(Apply(documents(strategy=QUICK | {"patience": "2m"})))
    for _ in range(100):
        site.now_s += 1
        await site.conductor.look()
    site.now_s += 3600
    again = Conductor(site.publisher, site.shelf, "a")
    waited_s = 0
    while site.rollout.phase is Phase.BAKING:
        site.now_s += 1
        waited_s += 1
        await again.look()
    assert Phase.HELD is site.rollout.phase
    assert 90 <= waited_s <= 120
