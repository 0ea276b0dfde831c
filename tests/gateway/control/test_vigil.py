"""Nobody has to tell a gateway twice: what changes elsewhere, or with time, it finds by itself."""

import asyncio
from contextlib import asynccontextmanager
from datetime import date

import pytest

from gateway.control import vigil as vigil_module
from gateway.control.boot import Offer, boot
from gateway.control.vigil import ITSELF, Vigil
from gateway.publishing.change import Apply, Freeze, Operate, Request
from gateway.publishing.publisher import Publisher
from gateway.publishing.rehearsal import Rehearsal
from gateway.state.errors import StateUnavailable
from gateway.state.members import Member
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from strategies.rollout.machine import Verb
from tests.gateway.conftest import documents

NOW = 1_795_651_200.0  # 2026-11-26 00:00 UTC
DAY_S = 86_400.0


class Site:
    """A gateway's control process without processes, over a directory."""

    def __init__(self, root, state) -> None:
        self.root = root
        self.now = NOW
        self.shelf = Shelf(state)
        self.publisher = Publisher(self.shelf, root, Rehearsal(is_opening=False), clock=lambda: self.now)

    def write(self, texts) -> None:
        (self.root / "routes").mkdir(exist_ok=True)
        for path, text in texts.items():
            (self.root / path).write_text(text)

    @asynccontextmanager
    async def kept(self, texts, *, cluster=None, is_watching: bool = False):
        self.write(texts)
        offer = Offer(str(self.root), "ann", texts, self.root)
        await boot(self.publisher, self.shelf, offer, "here:1")
        vigil = Vigil(self.publisher, self.shelf, offer, "here:1", cluster, is_watching=is_watching)
        task = asyncio.create_task(vigil.keep())
        yield vigil
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def until(self, number: int) -> None:
        async with asyncio.timeout(20):
            while self.publisher.meaning.number < number:
                await asyncio.sleep(0.01)


@pytest.fixture
def site(root, tmp_path, monkeypatch):
    monkeypatch.setattr(vigil_module, "LOOK_S", 0.01)
    monkeypatch.setattr(vigil_module, "BREATH_S", 0.0)
    made = Site(root, tmp_path / "state")
    yield made
    made.shelf.close()


async def test_what_another_gateway_publishes_is_followed(site, tmp_path):
    async with site.kept(documents()):
        other = Publisher(Shelf(tmp_path / "state"), site.root, Rehearsal(is_opening=False), clock=lambda: NOW)
        await other.publish(Request(Operate("digits", Verb.ADVANCE), "bob", Cause.OPERATE))
        await site.until(2)


async def test_a_change_in_a_watched_directory_is_taken(site):
    async with site.kept(documents(), is_watching=True):
        site.write(documents(timeout="2s"))
        await site.until(2)
    assert ("ann", Cause.WATCH) == (site.shelf.store().live().author, site.shelf.store().live().cause)


async def test_a_directory_that_is_a_link_is_followed(site, tmp_path):
    """As a ConfigMap is mounted: routes/ is a link by way of ..data, which is replaced in one step."""
    for name, timeout in (("one", "1s"), ("two", "2s")):
        (tmp_path / name).mkdir()
        for path, text in documents(timeout=timeout).items():
            (tmp_path / name / path.partition("/")[2]).write_text(text)
    (site.root / "..data").symlink_to(tmp_path / "one")
    (site.root / "routes").symlink_to("..data")
    async with site.kept(documents(timeout="1s"), is_watching=True):
        (site.root / "..next").symlink_to(tmp_path / "two")
        (site.root / "..next").rename(site.root / "..data")
        await site.until(2)


async def test_a_bad_edit_in_a_watched_directory_changes_nothing_and_the_next_good_one_does(site, caplog):
    async with site.kept(documents(), is_watching=True):
        site.write(documents(fallback=["nobody"]))
        async with asyncio.timeout(20):
            while "no arm is called 'nobody'" not in caplog.text:
                await asyncio.sleep(0.01)
        assert 1 == site.publisher.meaning.number
        site.write(documents(timeout="2s"))
        await site.until(2)


async def test_a_watched_directory_that_goes_back_is_only_told(site, caplog):
    async with site.kept(documents(), is_watching=True):
        site.write(documents(timeout="2s"))
        await site.until(2)
        site.write(documents())
        async with asyncio.timeout(20):
            while "went back to what was live before" not in caplog.text:
                await asyncio.sleep(0.01)
    assert 2 == site.publisher.meaning.number


async def test_a_hangup_takes_the_directory_whatever_was_before(site):
    async with site.kept(documents()) as vigil:
        for number, timeout in ((2, "2s"), (3, "1s")):
            site.write(documents(timeout=timeout))
            await vigil.take(Cause.SIGNAL)
            assert number == site.publisher.meaning.number


async def test_an_experiment_ends_by_itself_and_says_so(site):
    async with site.kept(documents(expires=date(2026, 11, 27))):
        site.now += DAY_S
        await site.until(2)
    live = site.shelf.store().live()
    assert (ITSELF, Cause.CONTROL, "expired: digits") == (live.author, live.cause, live.reason)
    assert {"old"} == {plan.serve[0].name for plan in site.publisher.meaning.routes["digits"].plans}


async def test_a_heartbeat_tells_the_others_until_the_end(site):
    async with site.kept(documents()) as vigil:
        async with asyncio.timeout(20):
            while not site.shelf.members().present(site.now):
                await asyncio.sleep(0.01)
        assert ("here:1", 1, "") == tuple(
            site.shelf.members().all()[0].__getattribute__(f) for f in ("gateway", "revision", "trouble")
        )
        await vigil.leave()
        assert () == site.shelf.members().all()


async def test_a_state_that_goes_away_and_comes_back_is_told_twice(site, monkeypatch, caplog):
    caplog.set_level("INFO")
    async with site.kept(documents()):
        store = site.shelf.store

        def away():
            raise StateUnavailable("disk gone")

        monkeypatch.setattr(site.shelf, "store", away)
        async with asyncio.timeout(20):
            while "the state is away: disk gone" not in caplog.text:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(site.shelf, "store", store)
        async with asyncio.timeout(20):
            while "the state is back" not in caplog.text:
                await asyncio.sleep(0.01)
    assert 1 == site.publisher.meaning.number


async def test_nothing_expires_while_frozen(site):
    async with site.kept(documents(expires=date(2026, 11, 27))):
        await site.publisher.publish(Request(Freeze("no"), "bob", Cause.OPERATE))
        site.now += DAY_S
        await asyncio.sleep(0.1)
        assert 2 == site.publisher.meaning.number
        assert not site.publisher.meaning.kept["digits"].is_expired
        await site.publisher.publish(Request(Freeze(""), "bob", Cause.OPERATE))
        assert site.publisher.meaning.kept["digits"].is_expired


def test_an_offer_is_a_request(root):
    offer = Offer("/etc/turnout", "ann", documents(), root, {"digits": 2})
    assert Apply(documents(), source="/etc/turnout", steps={"digits": 2}) == offer.request(Cause.START).change


class Needs:
    """What a cluster is asked and told."""

    def __init__(self, *wanted) -> None:
        self.wanted = frozenset(wanted)
        self.spared: tuple[str, ...] = ()

    def spare(self, names) -> None:
        self.spared = tuple(names)


async def test_what_other_gateways_need_on_the_cluster_is_spared(site):
    """Each tells what it needs, and whoever is gone without a word is believed for a day."""
    site.shelf.members().beat(Member("there:1", 1, "", NOW - 3600, ("turnout-2",)))
    needs = Needs("turnout-1")
    async with site.kept(documents(), cluster=needs), asyncio.timeout(20):
        while needs.spared != ("turnout-2",):
            await asyncio.sleep(0.01)
    told = {each.gateway: each.hosted for each in site.shelf.members().all()}
    assert told == {"here:1": ("turnout-1",), "there:1": ("turnout-2",)}


async def test_many_changes_at_once_are_told_of_together(site, monkeypatch):
    """A gateway that is changed all the time has other things to do than to say so."""
    monkeypatch.setattr(vigil_module, "BREATH_S", 60.0)
    looks, follow = [], site.publisher.follow

    async def counted():
        looks.append(site.publisher.meaning.number)
        return await follow()

    monkeypatch.setattr(site.publisher, "follow", counted)
    async with site.kept(documents()):
        looks.clear()  # that of the start
        for seconds in (2, 3, 4):
            await site.publisher.publish(Request(Apply(documents(timeout=f"{seconds}s")), "ann", Cause.APPLY))
        await asyncio.sleep(0.05)
        assert (1, 4) == (len(looks), site.publisher.meaning.number)
