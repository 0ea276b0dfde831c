"""Requests that go by another's messages: each keeps its own answer, error and deadline."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.core.errors import DeadlineExceeded, ExecutionFailed, InvalidInput, NotReady, Overloaded
from runners.fake import Compute, FakeEndpoint, Hang
from runners.ray.bundle import BundledEndpoint, answer_bundle, frames_of
from runners.ray.frame import FrameError
from runners.ray.tensors import Wire


class Carrier:
    """Carries bundles to an endpoint; `bundles` are those it was given, and it waits for `go` with each."""

    def __init__(self, endpoint):
        self.bundles = []
        self.go = asyncio.Event()
        self.go.set()
        self._endpoint = endpoint

    async def send(self, bundle):
        self.bundles.append(bundle)
        await self.go.wait()
        return await answer_bundle(self._endpoint, Wire(self._endpoint.description.signature), bundle)


@pytest.fixture
async def bundled(hand):
    """Makes an endpoint whose requests are carried to another, and the carrier between them."""
    made = []

    def make(*script, send=None, is_up=lambda: True):
        carrier = Carrier(FakeEndpoint(hand.signature, script or [Compute(hand.sums)]))
        made.append(BundledEndpoint(hand.described(), send or carrier.send, is_up))
        return made[-1], carrier

    yield make
    for endpoint in made:
        await endpoint.close()


async def test_requests_that_wait_go_together(bundled, hand, soon):
    """A message costs a millisecond, so one carries many; nobody gets somebody else's answer."""
    endpoint, carrier = bundled()
    carrier.go.clear()
    calls = [asyncio.create_task(endpoint.infer(hand.ask_for([[n, 0, 0, 0]]), deadline_at=soon())) for n in range(50)]
    await hand.until(lambda: len(carrier.bundles) == 1)
    carrier.go.set()
    answers = await asyncio.gather(*calls)
    assert [[[float(n)]] for n in range(50)] == [answer.outputs[0].array.tolist() for answer in answers]
    assert len(carrier.bundles) <= 2


async def test_a_bad_request_fails_alone(bundled, hand, soon):
    """Its neighbours in the message do not notice."""

    def fussy(request):
        if request.inputs[0].array[0, 0] < 0:
            raise InvalidInput("negative")
        return hand.sums(request)

    endpoint, _ = bundled(Compute(fussy))
    calls = [endpoint.infer(hand.ask_for([[n, 0, 0, 0]]), deadline_at=soon()) for n in (1, -1, 2)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert (InvalidInput, "negative") == (type(outcomes[1]), str(outcomes[1]))
    assert [[1.0], [2.0]] == [outcomes[n].outputs[0].array[0].tolist() for n in (0, 2)]


@pytest.mark.parametrize("reply", [b"", b"\xff" * 30, b"\x10"], ids=["none", "junk", "part"])
async def test_a_reply_that_is_none_fails_those_it_was_for(bundled, hand, soon, reply):
    """And nobody waits for ever."""

    async def send(_):
        return reply

    endpoint, _ = bundled(send=send)
    with pytest.raises(ExecutionFailed):
        await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())


async def test_a_lost_message_fails_those_in_it_and_the_next_one_goes(bundled, hand, soon):
    """Whatever carries it may have troubles of its own."""
    sent = []

    async def send(bundle):
        sent.append(bundle)
        if len(sent) == 1:
            raise ConnectionError("the actor died")
        return await carrier.send(bundle)

    endpoint, carrier = bundled(send=send)
    with pytest.raises(ExecutionFailed, match="the actor died"):
        await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())
    assert (await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())).outputs


async def test_deadlines_are_kept_within_a_message_and_before_it(bundled, hand, soon):
    """Of the one under way, and of those that wait for it."""
    endpoint, carrier = bundled(Hang())
    carrier.go.clear()
    first = asyncio.create_task(endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon(0.05)))
    await hand.until(lambda: carrier.bundles)
    second = endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon(0.02))
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [DeadlineExceeded] * 2 == [type(outcome) for outcome in outcomes]
    with pytest.raises(DeadlineExceeded):
        await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon(-1))


async def test_a_large_request_goes_by_itself(bundled, hand, soon, monkeypatch):
    """A message is bounded by what one request needs."""
    monkeypatch.setattr("runners.ray.bundle.BUNDLE_BYTES", 1000)
    endpoint, carrier = bundled()
    x = np.ones((100, 4), "<f4")
    answers = await asyncio.gather(*[endpoint.infer(hand.ask_for(x), deadline_at=soon()) for _ in range(3)])
    assert [100] * 3 == [len(answer.outputs[0].array) for answer in answers]
    assert 3 == len(carrier.bundles)


async def test_who_waits_is_bounded(bundled, hand, soon, monkeypatch):
    """More are refused untried."""
    monkeypatch.setattr("runners.ray.bundle.WAITING_N", 2)
    endpoint, carrier = bundled()
    carrier.go.clear()
    calls = [asyncio.create_task(endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())) for _ in range(2)]
    await hand.until(lambda: carrier.bundles)
    with pytest.raises(Overloaded):
        await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())
    carrier.go.set()
    await asyncio.gather(*calls)


async def test_nobody_is_asked_when_nobody_is_there(bundled, hand, soon):
    """It fails at once."""
    endpoint, _ = bundled(is_up=lambda: False)
    assert not endpoint.ready()
    with pytest.raises(NotReady):
        await endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon())


async def test_closing_fails_what_is_under_way(bundled, hand, soon):
    """Nobody waits for a model that is gone."""
    endpoint, carrier = bundled()
    carrier.go.clear()
    call = asyncio.create_task(endpoint.infer(hand.ask_for([[1, 2, 3, 4]]), deadline_at=soon()))
    await hand.until(lambda: carrier.bundles)
    await endpoint.close()
    with pytest.raises(NotReady):
        await call


async def test_a_gateway_sees_no_difference(bundled, hand, soon, replica, hop):
    """The agent is a replica like any other, behind which others stand."""
    behind, carrier = bundled()
    endpoint = await hop(await replica(behind))
    calls = [endpoint.infer(hand.ask_for([[n, 0, 0, 0]], ("y",)), deadline_at=soon()) for n in range(100)]
    answers = await asyncio.gather(*calls)
    assert [[[float(n)]] for n in range(100)] == [answer.outputs[0].array.tolist() for answer in answers]
    assert len(carrier.bundles) < 50


@given(st.binary(max_size=200))
def test_any_bytes_are_a_bundle_or_refused(junk):
    """Nothing else comes of them."""
    try:
        frames = list(frames_of(junk))
    except FrameError:
        return
    assert sum(len(each.body) + 4 for each in frames) == len(junk)
