"""Several rankers' lists in one answer, or the baseline's with the reason, in time."""

import asyncio
from time import monotonic

import numpy as np
import pytest
from msgspec.structs import replace

from gateway.execution.merging import execute_merged
from gateway.execution.outcome import CallRole
from gateway.execution.ranking import PLACES_LIMIT, TEXT_LIMIT
from runners.core.errors import ExecutionFailed, InvalidInput, NotReady, Overloaded
from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.fake import Answer, Fail, FakeEndpoint, Hang, Wait
from strategies.interleaving.coins import HashedCoins
from strategies.interleaving.probabilistic import probabilistic
from strategies.interleaving.team_draft import team_draft

SIGNATURE = Signature(
    (TensorSpec("q", "FP32", (-1,)),),
    (TensorSpec("ids", "BYTES", (-1, -1)), TensorSpec("price", "FP32", (-1, -1)), TensorSpec("took", "FP32", (-1,))),
)
OLD, NEW = ("a", "b", "c", "d"), ("d", "c", "e", "a")
RANKED = {"kind": "interleave", "partners": ["new"], "ids": "ids", "aligned": ["price"], "k": 3}


def texts(*rows: tuple[str, ...]) -> Tensor:
    array = np.empty((len(rows), len(rows[0])), object)
    for at, row in enumerate(rows):
        array[at, :] = [item.encode() for item in row]
    return Tensor("ids", "BYTES", array)


def said(number: float, *rows: tuple[str, ...]) -> Answer:
    """An answer with lists, whose prices say who answered: 100 and the item's letter, 200 and the letter."""
    prices = [[number * 100 + ord(item[0]) for item in row] for row in rows]
    took = Tensor("took", "FP32", np.full(len(rows), number, np.float32))
    return Answer((texts(*rows), Tensor("price", "FP32", np.array(prices, np.float32)), took))


@pytest.fixture
def endpoints():
    scripts = {"old": said(1, OLD), "new": said(2, NEW), "dumb": said(3, ("x", "y", "z", "w"))}
    return {name: FakeEndpoint(SIGNATURE, [script]) for name, script in scripts.items()}


@pytest.fixture
def routed(bind, route_request):
    """A request of some rows, decided by a strategy."""

    def made(strategy=RANKED, rows: int = 1, outputs: tuple[str, ...] = (), budget_s: float = 5.0, **changes):
        request = InferenceRequest("digits", (Tensor("q", "FP32", np.zeros(rows, np.float32)),), outputs)
        found = route_request(bind(strategy=strategy, **changes), budget_s=budget_s)
        return replace(found, request=request)

    return made


async def done(routed):
    return await execute_merged(routed, routed.decision.plan.merge)


def lists_of(outcome) -> list[list[str]]:
    tensor = next(tensor for tensor in outcome.answer.outputs if tensor.name == "ids")
    return [[item.decode() for item in row] for row in tensor.array.tolist()]


def output(outcome, name: str):
    return next(tensor.array for tensor in outcome.answer.outputs if tensor.name == name)


def is_the_baselines(outcome, reason: str) -> bool:
    return (lists_of(outcome), outcome.not_interleaved, outcome.impressions) == ([list(OLD)], reason, ())


async def test_a_list_is_dealt_as_the_method_deals_it(routed):
    """Anybody who knows both lists, the salt and the event id gets the same list and the same teams."""
    for _ in range(20):
        request = routed()
        outcome = await done(request)
        merged = team_draft((OLD[:3], NEW[:3]), 3, HashedCoins("digits/0", request.facts.event_id, 0))
        (shown,) = outcome.impressions
        assert (shown.items, shown.shares, shown.lists) == (merged.items, merged.shares, (OLD[:3], NEW[:3]))
        assert shown.rankers == ("old", "new")
        assert lists_of(outcome)[0][:3] == list(merged.items)


async def test_the_answer_keeps_the_baselines_form(routed, endpoints):
    """As many items as the baseline gave, below the dealt places its own order, and nothing of another datatype."""
    outcome = await done(routed())
    (shown,), (items,) = outcome.impressions, lists_of(outcome)

    assert items == [*shown.items, *(item for item in OLD if item not in shown.items)][:4]
    forms = [(tensor.name, tensor.datatype, tensor.array.dtype, tensor.shape) for tensor in outcome.answer.outputs]
    script = said(1, OLD).outputs
    assert forms == [(tensor.name, tensor.datatype, tensor.array.dtype, tensor.shape) for tensor in script]


async def test_what_is_said_of_an_item_moves_with_it(routed):
    """An item that the partner drafted shows the partner's price; what is no list's stays the baseline's."""
    outcome = await done(routed())
    (shown,), (items,), (prices,) = outcome.impressions, lists_of(outcome), output(outcome, "price").tolist()

    whose = [2 if share and share[1] else 1 for share in shown.shares] + [1]
    assert prices == [100 * ranker + ord(item) for ranker, item in zip(whose, items, strict=True)]
    assert output(outcome, "took").tolist() == [1.0]


async def test_the_baseline_answers_and_its_partner_is_seen(routed):
    outcome = await done(routed())

    assert (outcome.answered.arm.name, outcome.fallback_cause, outcome.not_interleaved) == ("old", "", "")
    assert [(seen.bound.arm.name, seen.role, seen.cause) for seen in outcome.observations] == [
        ("old", CallRole.SERVE, ""),
        ("new", CallRole.PARTNER, ""),
    ]


async def test_a_shadow_is_compared_to_what_the_baseline_said_by_itself(routed):
    outcome = (await done(routed())).unmerged

    assert lists_of(outcome) == [list(OLD)]
    assert [seen.role for seen in outcome.observations] == [CallRole.SERVE]


async def test_every_row_has_coins_of_its_own(routed, endpoints):
    rows = 40
    for name, ranked in (("old", OLD), ("new", NEW)):
        endpoints[name] = FakeEndpoint(SIGNATURE, [said(1, *[ranked] * rows)])
    request = routed(rows=rows)
    outcome = await done(request)

    expected = [
        team_draft((OLD[:3], NEW[:3]), 3, HashedCoins("digits/0", request.facts.event_id, row)) for row in range(rows)
    ]
    assert [shown.items for shown in outcome.impressions] == [merged.items for merged in expected]
    assert [shown.row for shown in outcome.impressions] == list(range(rows))
    assert [tuple(row[:3]) for row in lists_of(outcome)] == [merged.items for merged in expected]


@pytest.mark.parametrize("seed", range(5))
async def test_three_rankers_and_another_method(routed, endpoints, seed):
    """A click is shared by how likely each ranker was to put the item there."""
    endpoints["newer"] = FakeEndpoint(SIGNATURE, [said(4, ("c", "a", "b", "e"))])
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        **{name: {"model": f"file:{name}.onnx", "role": "candidate"} for name in ("new", "newer")},
    }
    strategy = RANKED | {"partners": ["new", "newer"], "method": "probabilistic"}
    request = routed(strategy, arms=arms, fallback=["old"])
    (shown,) = (await done(request)).impressions

    lists = (OLD[:3], NEW[:3], ("c", "a", "b"))
    merged = probabilistic(lists, 3, HashedCoins("digits/0", request.facts.event_id, 0))
    assert (shown.items, shown.shares, shown.lists) == (merged.items, merged.shares, lists)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (Fail(ExecutionFailed("x")), "error"),
        (Fail(NotReady("x")), "not_ready"),
        (Fail(Overloaded("x")), "overload"),
        (Fail(InvalidInput("x")), "invalid_input"),
        (said(2, ("d", "c", "d", "a")), "invalid_output"),  # an item twice
        (said(2, NEW[:3]), "invalid_output"),  # a shorter list
        (said(2, NEW, NEW), "invalid_output"),  # another number of rows
        (Answer(said(2, NEW).outputs[:1]), "invalid_output"),  # nothing said of the items
    ],
)
async def test_a_partner_that_fails_leaves_the_baselines_list(routed, endpoints, act, reason):
    """The answer is what it would be without the partner, the reason is in the event, and the partner's call failed."""
    endpoints["new"] = FakeEndpoint(SIGNATURE, [act])
    outcome = await done(routed())

    assert is_the_baselines(outcome, reason)
    assert [seen.cause for seen in outcome.observations] == ["", reason]


async def test_a_late_partner_is_not_waited_for(routed, endpoints):
    """A tenth of the time is left when the baseline's list goes out."""
    endpoints["new"] = FakeEndpoint(SIGNATURE, [Hang()])
    request = routed(budget_s=1.0)
    outcome = await done(request)

    assert is_the_baselines(outcome, "timeout")
    assert monotonic() < request.deadline_at
    assert outcome.observations[1].cause == "timeout"


async def test_a_partner_that_keeps_no_deadline_is_let_go(routed, endpoints):
    class Stubborn(FakeEndpoint):
        async def infer(self, request, /, *, deadline_at):
            return await asyncio.Event().wait()

    endpoints["new"] = Stubborn(SIGNATURE, [Hang()])
    request = routed(budget_s=0.5)

    assert is_the_baselines(await done(request), "timeout")
    assert monotonic() < request.deadline_at + 5  # it has no end of its own


async def test_nobody_waits_for_a_partner_when_another_has_failed(routed, endpoints):
    """The list would not be merged any more, however good the other is."""
    endpoints["newer"] = FakeEndpoint(SIGNATURE, [Hang()])
    endpoints["new"] = FakeEndpoint(SIGNATURE, [Fail(ExecutionFailed("x"))])
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        **{name: {"model": f"file:{name}.onnx", "role": "candidate"} for name in ("new", "newer")},
    }
    request = routed(RANKED | {"partners": ["new", "newer"]}, budget_s=300.0, arms=arms, fallback=["old"])
    outcome = await asyncio.wait_for(done(request), 60)

    assert is_the_baselines(outcome, "error")
    assert [(seen.bound.arm.name, seen.cause) for seen in outcome.observations] == [("old", ""), ("new", "error")]


async def test_a_partner_that_cancels_itself_is_a_partner_that_failed(routed, endpoints):
    """The request of the client is not cancelled with it."""

    class Gone(FakeEndpoint):
        async def infer(self, request, /, *, deadline_at):
            raise asyncio.CancelledError

    endpoints["new"] = Gone(SIGNATURE, [Hang()])

    assert (await done(routed())).not_interleaved == "timeout"


async def test_a_list_shorter_than_k_is_dealt_to_its_end(routed, endpoints):
    """What is told of it is what was shown: no more places than the baseline's list has."""
    outcome = await done(routed(RANKED | {"k": 10}))
    (shown,), (items,) = outcome.impressions, lists_of(outcome)

    assert (list(shown.items), len(shown.shares), shown.lists) == (items, 4, (OLD, NEW))


async def test_where_there_is_nothing_to_rank_nothing_is_merged(routed, endpoints):
    for name in ("old", "new"):
        empty = Tensor("ids", "BYTES", np.empty((1, 0), object)), Tensor("price", "FP32", np.empty((1, 0), np.float32))
        endpoints[name] = FakeEndpoint(SIGNATURE, [Answer((*empty, Tensor("took", "FP32", np.ones(1, np.float32))))])

    assert (await done(routed())).not_interleaved == "empty"


async def test_a_partner_slow_on_a_tenth_of_the_requests_costs_those_alone(routed, endpoints):
    """Nine of ten answers are merged, every one is there by its deadline, and what is left out says why."""
    endpoints["new"] = FakeEndpoint(SIGNATURE, [Hang() if n % 10 == 3 else said(2, NEW) for n in range(20)])
    request = routed()
    reasons = []
    for n in range(20):  # only who hangs is waited for; a machine that stands still for a second fails nobody else
        outcome = await done(replace(request, deadline_at=monotonic() + (2.0 if n % 10 == 3 else 60.0)))
        assert lists_of(outcome) == [list(OLD)] or outcome.impressions
        reasons.append(outcome.not_interleaved)

    assert reasons == ["timeout" if n % 10 == 3 else "" for n in range(20)]


async def test_a_partner_is_late_also_where_timers_are_early(routed, endpoints, monkeypatch):
    """An event loop may wake a moment before it was told to; nothing was ever merged with who had not answered."""
    wait = asyncio.wait

    async def wake_early(waited, *, timeout=None, **how):
        return await wait(waited, timeout=timeout and timeout * 0.9, **how)

    monkeypatch.setattr(asyncio, "wait", wake_early)
    endpoints["new"] = FakeEndpoint(SIGNATURE, [Wait(asyncio.Event(), said(2, NEW))])
    endpoints["new"]._wait = lambda until, deadline_at: until.wait()  # it is told of no deadline
    outcome = await done(replace(routed(), deadline_at=monotonic() + 0.5))

    assert (outcome.not_interleaved, outcome.impressions, lists_of(outcome)) == ("timeout", (), [list(OLD)])


async def test_when_the_baseline_fails_its_fallback_answers_and_nothing_counts(routed, endpoints):
    endpoints["old"] = FakeEndpoint(SIGNATURE, [Fail(ExecutionFailed("x"))])
    outcome = await done(routed())

    assert lists_of(outcome) == [["x", "y", "z", "w"]]
    assert (outcome.answered.arm.name, outcome.fallback_cause) == ("dumb", "error")
    assert (outcome.not_interleaved, outcome.impressions) == ("baseline", ())


async def test_when_nobody_answers_the_error_does(routed, endpoints):
    for name in ("old", "dumb"):
        endpoints[name] = FakeEndpoint(SIGNATURE, [Fail(ExecutionFailed(name))])
    outcome = await done(routed())

    assert isinstance(outcome.answer, ExecutionFailed)
    assert (outcome.answered, outcome.not_interleaved, outcome.impressions) == (None, "baseline", ())


async def test_a_failed_baseline_does_not_wait_for_partners(routed, endpoints):
    endpoints["old"] = FakeEndpoint(SIGNATURE, [Fail(ExecutionFailed("x"))])
    endpoints["new"] = FakeEndpoint(SIGNATURE, [Hang()])
    request = routed(budget_s=300.0)

    assert (await asyncio.wait_for(done(request), 60)).not_interleaved == "baseline"


async def test_a_caller_who_leaves_stops_the_partners_too(routed, endpoints):
    gone = asyncio.Event()

    class Watched(FakeEndpoint):
        async def infer(self, request, /, *, deadline_at):
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()

    endpoints["new"] = Watched(SIGNATURE, [Hang()])
    endpoints["old"] = FakeEndpoint(SIGNATURE, [Wait(asyncio.Event(), said(1, OLD))])
    task = asyncio.create_task(done(routed(budget_s=300.0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(gone.wait(), 60)


async def test_a_baseline_that_repeats_itself_is_served_as_it_is(routed, endpoints):
    endpoints["old"] = FakeEndpoint(SIGNATURE, [said(1, ("a", "b", "a", "c"))])
    outcome = await done(routed())

    assert (lists_of(outcome), outcome.not_interleaved) == ([["a", "b", "a", "c"]], "repeats")
    assert [seen.cause for seen in outcome.observations] == ["", ""]


async def test_more_than_can_be_dealt_while_others_wait_is_not_dealt(routed, endpoints):
    rows = PLACES_LIMIT // 3 + 1
    for name in ("old", "new"):
        endpoints[name] = FakeEndpoint(SIGNATURE, [said(1, *[OLD] * rows)])

    assert (await done(routed(rows=rows))).not_interleaved == "too_large"


async def test_an_endless_id_is_not_dealt(routed, endpoints):
    long = "z" * (TEXT_LIMIT + 1)
    endpoints["new"] = FakeEndpoint(SIGNATURE, [said(2, (long, "a", "b", "c"))])

    assert is_the_baselines(await done(routed()), "too_large")


async def test_a_client_gets_the_outputs_it_asked_for(routed, endpoints):
    """What is needed to merge is asked of the models all the same, and not passed on."""
    outcome = await done(routed(outputs=("price",)))

    assert [tensor.name for tensor in outcome.answer.outputs] == ["price"]
    assert endpoints["new"].requests[0].outputs == ("price", "ids")
    assert outcome.impressions


async def test_a_client_that_wants_no_list_meets_no_partner(routed, endpoints):
    outcome = await done(routed(outputs=("took",)))

    assert (outcome.not_interleaved, endpoints["new"].requests) == ("unasked", [])
