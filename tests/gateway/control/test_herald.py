"""Somebody is told what rollouts do: once, with the sentence, the numbers and the safe thing to do."""

from datetime import UTC, date, datetime

from msgspec.structs import replace

from gateway.control.conductor import Conductor
from gateway.control.herald import fallback_notices
from gateway.control.notices import Notice, Notices, Occasion, Receiver
from gateway.publishing.change import Apply, Expire, Operate
from strategies.evidence.epochs import FALLBACK_RATE, ArmCounts, Epoch
from strategies.evidence.units import Mismatch
from strategies.rollout.machine import Verb
from tests.gateway.conftest import documents
from tests.gateway.control.test_conductor import QUICK, Site, site  # noqa: F401 - a fixture


class Heard(Notices):
    """What was offered, in the place of those who send it."""

    def __init__(self) -> None:
        super().__init__([Receiver("x", b"")], lambda _receiver, _notice: None)
        self.offered: list[Notice] = []

    def offer(self, notice: Notice) -> None:
        self.offered.append(notice)


def listen(site: Site) -> Heard:  # noqa: F811 - the fixture
    heard = Heard()
    site.conductor = Conductor(site.publisher, site.shelf, "a", heard)
    return heard


async def test_a_rollback_is_told_once_whoever_tells_it(site):  # noqa: F811
    """Not again by the next look, by a gateway that is started again, or by another one."""
    heard = listen(site)
    for _ in range(3):
        await site.pass_epoch(errors_n=60)
    for name in ("a", "a", "b"):
        site.now_s += 10
        await Conductor(site.publisher, site.shelf, name, heard).look()
    (notice,) = heard.offered
    assert (Occasion.ROLLBACK, "digits") == (notice.occasion, notice.route)
    assert notice.sentence.startswith("digits: rolled back (error_rate is proven worse than its bound; error_rate E = ")
    assert "the baseline answers; once it is mended: turnout restart digits" in notice.action
    assert ("fail", "error_rate") == (notice.numbers["verdict"], notice.numbers["guardrails"][0]["metric"])


async def test_each_hold_is_told_and_a_restarted_rollout_can_be_taken_back_again(site):  # noqa: F811
    heard = listen(site)
    await site.ask(Operate("digits", Verb.HOLD, "lunch"))
    await site.conductor.look()
    await site.ask(Operate("digits", Verb.RESUME))
    await site.ask(Operate("digits", Verb.HOLD, "night"))
    await site.conductor.look()
    for _ in range(2):
        await site.ask(Operate("digits", Verb.ROLLBACK, "enough"))
        await site.conductor.look()
        await site.ask(Operate("digits", Verb.RESTART))
    assert ["hold", "hold", "rollback", "rollback"] == [each.occasion for each in heard.offered]
    assert "turnout rollback digits; or, if you know better, turnout resume digits" == heard.offered[0].action


async def test_who_has_to_approve_is_told_what_of(site):  # noqa: F811
    heard = listen(site)
    await site.ask(Apply(documents(strategy=QUICK | {"approve_above": "2%"}), restart=frozenset({"digits"})))
    for _ in range(3):
        await site.pass_epoch()
    (notice,) = heard.offered
    assert Occasion.APPROVAL is notice.occasion
    assert "somebody other than ann has to say: approve" in notice.sentence
    assert "leave it at its share; or let it have 10%: turnout approve digits" == notice.action


async def test_an_experiment_that_is_over_is_told(site):  # noqa: F811
    heard = listen(site)
    await site.ask(Apply(documents(strategy=QUICK, expires=date(2027, 1, 31))))
    site.now_s = datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    await site.ask(Expire())
    await site.conductor.look()
    (notice,) = heard.offered
    assert (Occasion.EXPIRY, "digits expired on 2027-01-31: the baseline answers everything") == (
        notice.occasion,
        notice.sentence,
    )


async def test_arms_that_do_not_get_their_units_are_told_of(site):  # noqa: F811
    heard = listen(site)
    await site.pass_epoch()
    watched = site.conductor._watched["digits"]
    evidence = replace(watched.course.evidence, mismatch=replace(watched.course.evidence.mismatch, highest=50.0))
    site.conductor._watched["digits"] = replace(watched, course=replace(watched.course, evidence=evidence))
    await site.pass_epoch()
    (notice,) = heard.offered
    assert Occasion.SRM is notice.occasion
    assert "the arms do not get the units that their shares promise" in notice.sentence
    assert isinstance(evidence.mismatch, Mismatch)


async def test_a_fallback_that_answers_for_everybody_is_no_silent_outage(site):  # noqa: F811
    """Told once an hour while it lasts, and not for a few requests."""
    counts = ArmCounts(100, 100, 100, events={FALLBACK_RATE: 60})

    class Ledger:
        def closed(self, _name: str) -> int:
            return 7

        def epochs(self, _name: str, after: int = 0) -> list[Epoch]:
            return [Epoch(number=7, step=0, shares_ppm={}, arms={"old": counts})] if after == 6 else []

    (notice,) = fallback_notices(site.publisher.meaning, Ledger(), site.now_s)
    assert "digits: a fallback answered 60 of 100 requests in ten seconds" == notice.sentence
    (later,) = fallback_notices(site.publisher.meaning, Ledger(), site.now_s + 3600)
    assert later.key != notice.key
    counts = ArmCounts(100, 100, 100, events={FALLBACK_RATE: 40})
    assert [] == list(fallback_notices(site.publisher.meaning, Ledger(), site.now_s))
