"""An opened model lives as long as some table needs it, and no longer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.routing.leases import Lease, Leases
from runners.core.errors import LoadRefused
from runners.core.runner import ModelRef
from tests.gateway.conftest import ScriptedEndpoint


def model(name: str) -> ModelRef:
    return ModelRef(f"file:{name}", Path("/nowhere"))


class Opener:
    """A runner that notes what it opened."""

    def __init__(self) -> None:
        self.opened: list[ScriptedEndpoint] = []

    async def open(self, wanted: ModelRef, /) -> ScriptedEndpoint:
        if wanted.reference == "file:bad":
            raise LoadRefused("bad", "is bad")
        self.opened.append(ScriptedEndpoint(len(self.opened)))
        return self.opened[-1]

    async def close(self) -> None:
        return


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def leases(opener) -> Leases:
    return Leases(lambda _word: opener)


async def test_a_model_that_an_earlier_table_has_is_not_opened_again(leases):
    earlier, later = Lease(leases), Lease(leases)
    one, is_fresh = await earlier.open("embedded", model("a"), "d")
    other, is_fresh_again = await later.open("embedded", model("a"), "d")

    assert one is other
    assert (True, False) == (is_fresh, is_fresh_again)


@pytest.mark.parametrize(
    "other", [("remote", model("a"), "d"), ("embedded", model("b"), "d"), ("embedded", model("a"), "e")]
)
async def test_another_runner_model_or_content_is_another_endpoint(leases, other):
    one, _ = await Lease(leases).open("embedded", model("a"), "d")
    assert one is not (await Lease(leases).open(*other))[0]


async def test_arms_of_one_table_do_not_share(leases):
    lease = Lease(leases)
    one, _ = await lease.open("embedded", model("a"), "d")
    assert one is not (await lease.open("embedded", model("a"), "d"))[0]


async def test_the_last_table_closes_it(leases):
    earlier, later = Lease(leases), Lease(leases)
    endpoint, _ = await earlier.open("embedded", model("a"), "d")
    later.share(endpoint)
    await earlier.end()
    assert not endpoint.closed
    await later.end()
    assert endpoint.closed
    assert 0 == leases.endpoints_n


async def test_what_is_dropped_before_the_end_is_closed_once(leases):
    lease = Lease(leases)
    endpoint, _ = await lease.open("embedded", model("a"), "d")
    await lease.drop(endpoint)
    assert endpoint.closed
    await lease.end()
    assert 0 == leases.endpoints_n


async def test_what_cannot_be_opened_leaves_nothing(leases):
    with pytest.raises(LoadRefused):
        await Lease(leases).open("embedded", model("bad"), "d")
    assert 0 == leases.endpoints_n


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=5), max_size=6), st.randoms())
async def test_nothing_is_closed_early_or_kept_long(tables, chance):
    """Whatever tables come and go in whatever order, an endpoint is open exactly while one of them has it."""
    opener = Opener()
    leases = Leases(lambda _word: opener)
    held = []
    for names in tables:
        lease = Lease(leases)
        held.append((lease, [(await lease.open("embedded", model(name), "d"))[0] for name in names]))
    while held:
        lease, _ = held.pop(chance.randrange(len(held)))
        await lease.end()
        wanted = {id(endpoint) for _, endpoints in held for endpoint in endpoints}
        assert wanted == {id(endpoint) for endpoint in opener.opened if not endpoint.closed}
        assert len(wanted) == leases.endpoints_n
