"""One change at a time, whole or not at all, and everybody is told who did what."""

import asyncio

import pytest

from gateway.config.problems import ConfigRefused
from gateway.publishing.change import Apply, ChangeRefused, Freeze, Operate, Request, Undo
from gateway.publishing.publisher import Publisher
from gateway.state.errors import PublishConflict, StateUnavailable, UnknownRevision
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from strategies.rollout.machine import Verb
from tests.gateway.conftest import documents, ramp

FIRST = Apply(documents())
NOW = 1_795_651_200.0  # 2026-11-26 00:00 UTC


class ScriptedFleet:
    """Takes everything, or refuses what it is told to."""

    def __init__(self) -> None:
        self.refuses: dict[str, str] = {}
        self.done: list[tuple[str, int]] = []

    async def warm(self, meaning):
        self.done.append(("warm", meaning.number))
        return self.refuses

    def discard(self, number):
        self.done.append(("discard", number))

    async def swap(self, meaning):
        self.done.append(("swap", meaning.number))


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shelf(tmp_path):
    kept = Shelf(tmp_path / "state")
    yield kept
    kept.close()


@pytest.fixture
def fleet() -> ScriptedFleet:
    return ScriptedFleet()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def publisher(shelf, root, fleet, clock, told) -> Publisher:
    return Publisher(shelf, root, fleet, tell=lambda kind, _message, number: told.append((kind, number)), clock=clock)


def ask(change, reason: str = "", **more) -> Request:
    cause = Cause.OPERATE if isinstance(change, Operate) else Cause.APPLY
    return Request(change, "ann", cause, reason, **more)


async def test_a_change_is_warm_then_stored_then_live(publisher, shelf, fleet, told):
    published = await publisher.publish(ask(FIRST, "to begin"))
    assert [("warm", 1), ("swap", 1)] == fleet.done
    assert ("ann", Cause.APPLY, "to begin") == (
        published.revision.author,
        published.revision.cause,
        published.revision.reason,
    )
    assert published.revision == shelf.store().live() == shelf.remembered()
    assert [("revision_published", 1)] == told


async def test_a_dry_run_changes_nothing(publisher, shelf, fleet):
    await publisher.publish(ask(FIRST))
    fleet.done.clear()
    published = await publisher.publish(ask(Operate("digits", Verb.ADVANCE)), is_dry=True)
    assert 80_000 == published.differences[0].moves[0].ppm
    assert ([], 1, None) == (fleet.done, shelf.store().live_number(), published.revision)


async def test_the_same_again_is_no_revision(publisher, shelf):
    await publisher.publish(ask(FIRST))
    assert (await publisher.publish(ask(FIRST))).revision is None
    assert 1 == shelf.store().live_number()


async def test_a_failed_warm_up_changes_nothing(publisher, shelf, fleet):
    await publisher.publish(ask(FIRST))
    fleet.refuses = {"route 'digits', arm 'new'": "no such file"}
    with pytest.raises(ChangeRefused, match="route 'digits', arm 'new': no such file"):
        await publisher.publish(ask(Operate("digits", Verb.ADVANCE)))
    assert (1, 1) == (shelf.store().live_number(), publisher.meaning.number)


async def test_what_is_refused_is_written_down(publisher, shelf, told):
    await publisher.publish(ask(FIRST))
    with pytest.raises(ConfigRefused):
        await publisher.publish(ask(Apply(documents(fallback=["nobody"]))))
    entry = shelf.audit().entries()[0]
    assert ("ann", "apply", "refused") == (entry.deed.author, entry.deed.action, entry.deed.outcome)
    assert "no arm is called 'nobody'" in entry.deed.detail
    assert ("change_refused", 1) == told[-1]
    assert "" == shelf.audit().verify()


async def test_whoever_expects_another_revision_is_told_who_came_first(publisher):
    await publisher.publish(ask(FIRST))
    with pytest.raises(PublishConflict, match="ann has published revision 1"):
        await publisher.publish(ask(Operate("digits", Verb.ADVANCE), expects=0))


async def test_of_two_gateways_one_wins_and_the_other_follows(shelf, root, clock):
    """Both read revision 1, both warm a second; the store takes one of them."""
    one, other = (Publisher(shelf, root, ScriptedFleet(), clock=clock) for _ in range(2))
    await one.publish(ask(FIRST))
    await other.follow()
    wishes = [
        one.publish(ask(Operate("digits", Verb.ADVANCE), expects=1)),
        other.publish(ask(Operate("digits", Verb.HOLD), expects=1)),
    ]
    came = await asyncio.gather(*wishes, return_exceptions=True)
    assert 1 == sum(isinstance(each, PublishConflict) for each in came)
    await asyncio.gather(one.follow(), other.follow())
    assert 2 == one.meaning.number == other.meaning.number == shelf.store().live_number()
    assert one.meaning.kept == other.meaning.kept


async def test_losing_a_race_closes_what_was_opened(shelf, root, clock):
    fleet = ScriptedFleet()
    slow, quick = Publisher(shelf, root, fleet, clock=clock), Publisher(shelf, root, ScriptedFleet(), clock=clock)
    await slow.publish(ask(FIRST))
    await quick.follow()

    async def overtaken(meaning):
        await quick.publish(ask(Operate("digits", Verb.HOLD)))
        return {}

    fleet.warm = overtaken
    with pytest.raises(PublishConflict):
        await slow.publish(ask(Operate("digits", Verb.ADVANCE)))
    assert ("discard", 2) == fleet.done[-1]


async def test_undo_goes_back_to_the_documents_before_and_again_is_redo(publisher, shelf):
    await publisher.publish(ask(FIRST))
    await publisher.publish(ask(Apply(documents(timeout="2s"))))
    await publisher.publish(ask(Operate("digits", Verb.HOLD)))
    await publisher.publish(ask(Undo()))
    assert documents() == dict(shelf.store().live().content.documents)
    await publisher.publish(ask(Undo()))
    assert documents(timeout="2s") == dict(shelf.store().live().content.documents)
    assert "held" == publisher.meaning.kept["digits"].rollout.phase


async def test_undo_to_a_revision_takes_its_documents(publisher, shelf):
    for timeout in ("1s", "2s", "3s"):
        await publisher.publish(ask(Apply(documents(timeout=timeout))))
    await publisher.publish(ask(Undo(to_revision=1)))
    assert (4, documents(timeout="1s")) == (shelf.store().live_number(), dict(shelf.store().live().content.documents))


@pytest.mark.parametrize(("change", "text"), [(Undo(), "nothing came before"), (Undo(7), "there is no revision 7")])
async def test_undo_to_nothing_is_refused(publisher, change, text):
    await publisher.publish(ask(FIRST))
    with pytest.raises(UnknownRevision, match=text):
        await publisher.publish(ask(change))


async def test_a_gateway_that_cannot_follow_keeps_its_table_and_says_so(shelf, root, clock):
    fleet = ScriptedFleet()
    leader, follower = Publisher(shelf, root, ScriptedFleet(), clock=clock), Publisher(shelf, root, fleet, clock=clock)
    await leader.publish(ask(FIRST))
    await follower.follow()
    fleet.refuses = {"route 'digits', arm 'new'": "no such file"}
    await leader.publish(ask(Operate("digits", Verb.ADVANCE)))
    assert not await follower.follow()
    assert (1, "route 'digits', arm 'new': no such file") == (follower.meaning.number, follower.trouble)


async def test_a_gateway_that_could_not_follow_can_still_be_told_to_undo(shelf, root, clock):
    """The operator who broke it stands before it, and wants out."""
    fleet = ScriptedFleet()
    leader, follower = Publisher(shelf, root, ScriptedFleet(), clock=clock), Publisher(shelf, root, fleet, clock=clock)
    await leader.publish(ask(FIRST))
    await follower.follow()
    fleet.refuses = {"arm": "broken"}
    await leader.publish(ask(Apply(documents(timeout="2s"))))
    await follower.follow()
    fleet.refuses = {}
    await follower.publish(ask(Undo()))
    assert (3, "") == (follower.meaning.number, follower.trouble)


async def test_what_could_not_be_followed_is_tried_again_later(shelf, root, clock):
    fleet = ScriptedFleet()
    leader, follower = Publisher(shelf, root, ScriptedFleet(), clock=clock), Publisher(shelf, root, fleet, clock=clock)
    fleet.refuses = {"arm": "the file has not arrived"}
    await leader.publish(ask(FIRST))
    await follower.follow()
    fleet.refuses = {}
    assert not await follower.follow()
    clock.now += 11
    assert await follower.follow()


async def test_frozen_is_told_with_the_reason(publisher):
    await publisher.publish(ask(FIRST))
    await publisher.publish(ask(Freeze("it is Christmas")))
    with pytest.raises(ChangeRefused, match="it is Christmas"):
        await publisher.publish(ask(Operate("digits", Verb.ADVANCE)))


async def test_the_story_is_in_the_history(publisher, shelf):
    await publisher.publish(ask(FIRST))
    await publisher.publish(ask(Operate("digits", Verb.ADVANCE), "no harm seen"))
    assert "advance digits: no harm seen" == shelf.store().history(limit_n=1)[0].reason


async def test_nothing_changes_while_the_store_is_away(publisher, shelf, fleet, monkeypatch):
    await publisher.publish(ask(FIRST))

    def away(*_):
        raise StateUnavailable("away")

    monkeypatch.setattr(shelf, "store", away)
    with pytest.raises(StateUnavailable):
        await publisher.publish(ask(Operate("digits", Verb.ADVANCE)))
    assert 1 == publisher.meaning.number


async def test_a_ramp_goes_up_to_the_end_and_back(publisher):
    await publisher.publish(ask(Apply(documents(strategy=ramp("1%", "50%")))))
    for verb in (Verb.ADVANCE, Verb.PROMOTE, Verb.ROLLBACK, Verb.RESTART):
        await publisher.publish(ask(Operate("digits", verb)))
    kept = publisher.meaning.kept["digits"]
    assert (5, 0, 5) == (publisher.meaning.number, kept.rollout.step, kept.began)
