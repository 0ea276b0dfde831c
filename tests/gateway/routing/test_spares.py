"""A model that comes back within seconds is not opened again, and nothing is kept without bound."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.routing.leases import Lease, Leases
from gateway.routing.spares import Spares
from runners.core.runner import ModelRef
from tests.gateway.conftest import ScriptedEndpoint

DIGEST = f"{1:064x}"


def held(bytes_n: int = 100, **known) -> ScriptedEndpoint:
    endpoint = ScriptedEndpoint(1)
    endpoint.description = replace(endpoint.description, digest=DIGEST, held_bytes=bytes_n, **known)
    return endpoint


class Opener:
    """A runner that notes what it opened."""

    def __init__(self) -> None:
        self.opened: list[ScriptedEndpoint] = []

    async def open(self, _wanted: ModelRef, /) -> ScriptedEndpoint:
        self.opened.append(held())
        return self.opened[-1]

    async def close(self) -> None:
        return


def model(name: str = "a") -> ModelRef:
    return ModelRef(f"file:{name}", Path("/nowhere"))


def test_what_is_kept_is_taken_once():
    spares, endpoint = Spares(), held()
    assert () == spares.keep("a", endpoint)
    assert (None, endpoint, None) == (spares.take("b"), spares.take("a"), spares.take("a"))
    assert {"taken": 1, "expired": 0, "displaced": 0} == spares.counts


def test_nothing_is_kept_for_longer_than_was_said():
    spares, first, second = Spares(keep_s=10.0), held(), held()
    spares.keep("a", first, 100.0)
    spares.keep("b", second, 105.0)
    assert ((), (first,), (second,)) == (spares.overdue(109.0), spares.overdue(110.0), spares.overdue(115.0))
    assert 2 == spares.counts["expired"]


def test_later_ones_displace_earlier_ones_by_number():
    spares, endpoints = Spares(most_n=2), [held() for _ in range(3)]
    assert [(), (), (endpoints[0],)] == [spares.keep("a", each) for each in endpoints]
    assert 1 == spares.counts["displaced"]


def test_later_ones_displace_earlier_ones_by_size():
    spares, endpoints = Spares(most_bytes=250), [held(100), held(100), held(200)]
    assert [(), (), (endpoints[0], endpoints[1])] == [spares.keep("a", each) for each in endpoints]


@pytest.mark.parametrize("other", [held(0), held(300), held(degraded="no GPU")], ids=["elsewhere", "large", "degraded"])
def test_what_is_better_opened_afresh_or_too_large_is_closed_at_once(other):
    """What is elsewhere is of no known size; what is degraded may be whole the next time."""
    assert (other,) == Spares(most_bytes=250).keep("a", other)


def test_what_is_broken_is_neither_kept_nor_taken():
    spares, broken, breaking = Spares(), held(), held()
    broken.script = "not ready"
    assert (broken,) == spares.keep("a", broken)
    spares.keep("a", breaking)
    breaking.script = "not ready"
    assert spares.take("a") is None


async def test_a_model_that_comes_back_is_not_opened_again():
    opener = Opener()
    leases = Leases(lambda _word: opener, Spares())
    for _ in range(3):
        lease = Lease(leases)
        endpoint, is_fresh = await lease.open("embedded", model(), DIGEST)
        assert is_fresh
        await lease.end()
        assert not endpoint.closed
    assert (1, 0) == (len(opener.opened), leases.endpoints_n)


async def test_arms_of_one_table_never_share_a_spare():
    opener = Opener()
    leases = Leases(lambda _word: opener, Spares())
    first = Lease(leases)
    one = [(await first.open("embedded", model(), DIGEST))[0] for _ in range(2)]
    await first.end()
    second = Lease(leases)
    again = [(await second.open("embedded", model(), DIGEST))[0] for _ in range(3)]
    assert {id(each) for each in one} < {id(each) for each in again}
    assert 3 == len({id(each) for each in again})


@pytest.mark.parametrize("digest", ["", f"{2:064x}"], ids=["unknown", "of one file among several"])
async def test_a_model_whose_content_the_key_does_not_tell_is_not_kept(digest):
    """Its files may be others when it comes back."""
    opener = Opener()
    lease = Lease(Leases(lambda _word: opener, Spares()))
    endpoint, _ = await lease.open("embedded", model(), digest)
    await lease.end()
    assert endpoint.closed


async def test_what_nobody_wants_back_is_closed_when_its_time_is_up():
    opener = Opener()
    lease = Lease(Leases(lambda _word: opener, Spares(keep_s=0.02)))
    endpoint, _ = await lease.open("embedded", model(), DIGEST)
    await lease.end()
    assert not endpoint.closed
    async with asyncio.timeout(10):
        while not endpoint.closed:
            await asyncio.sleep(0.005)


async def test_at_the_end_nothing_stays_open():
    opener = Opener()
    leases = Leases(lambda _word: opener, Spares())
    first, last = Lease(leases), Lease(leases)
    await first.open("embedded", model("a"), DIGEST)
    await last.open("embedded", model("b"), DIGEST)
    await first.end()
    await leases.close()
    await last.end()
    assert [True, True] == [endpoint.closed for endpoint in opener.opened]
