"""Both answers in one response, for people to choose between."""

import numpy as np
import pytest
from msgspec.structs import replace

from gateway.execution.merging import execute_merged
from gateway.execution.side_by_side import specs_beside
from runners.core.errors import ExecutionFailed
from runners.core.tensor import InferenceRequest, Signature, Tensor, TensorSpec
from runners.fake import Answer, Fail, FakeEndpoint

SIGNATURE = Signature(
    (TensorSpec("q", "FP32", (-1,)),), (TensorSpec("text", "FP32", (-1,)), TensorSpec("sure", "FP32", (-1,)))
)
NAMED = {"kind": "interleave", "partners": ["new"], "mode": "both"}
BLIND = NAMED | {"slots": "blind"}


def said(number: float) -> Answer:
    values = {"text": number, "sure": number + 0.5}
    return Answer(tuple(Tensor(name, "FP32", np.array([value], np.float32)) for name, value in values.items()))


@pytest.fixture
def endpoints():
    return {name: FakeEndpoint(SIGNATURE, [said(n)]) for n, name in enumerate(("old", "new", "dumb"), start=1)}


@pytest.fixture
def routed(bind, route_request):
    def made(strategy, outputs: tuple[str, ...] = ()):
        request = InferenceRequest("digits", (Tensor("q", "FP32", np.zeros(1, np.float32)),), outputs)
        return replace(route_request(bind(strategy=strategy)), request=request)

    return made


async def done(routed):
    return await execute_merged(routed, routed.decision.plan.merge)


def outputs_of(outcome) -> dict[str, float]:
    return {tensor.name: tensor.array.item() for tensor in outcome.answer.outputs}


async def test_the_partners_answer_stands_beside_the_baselines(routed):
    outcome = await done(routed(NAMED))

    assert outputs_of(outcome) == {"text": 1.0, "sure": 1.5, "text__new": 2.0, "sure__new": 2.5}
    (shown,) = outcome.impressions
    assert (shown.items, shown.rankers, shown.shares) == (("old", "new"), ("old", "new"), ((1, 0), (0, 1)))


async def test_blind_slots_are_dealt_by_coins_and_only_the_impression_knows(routed):
    """The same answers under names that say nothing, either way round about as often."""
    firsts = []
    for _ in range(60):
        outcome = await done(routed(BLIND))
        outputs, (shown,) = outputs_of(outcome), outcome.impressions
        assert (outputs["text"], shown.items) == (1.0, ("1", "2"))
        assert [shown.shares[place].index(1) + 1 for place in (0, 1)] == [outputs["text__1"], outputs["text__2"]]
        assert [outputs["sure__1"], outputs["sure__2"]] == [outputs["text__1"] + 0.5, outputs["text__2"] + 0.5]
        firsts.append(outputs["text__1"])

    assert 10 <= firsts.count(1.0) <= 50  # 60 fair coins leave that once in 25 million times


async def test_a_blind_order_can_be_found_again_from_the_event_id(routed):
    request = routed(BLIND)

    assert outputs_of(await done(request)) == outputs_of(await done(request))


async def test_a_partner_that_fails_leaves_the_baselines_outputs(routed, endpoints):
    endpoints["new"] = FakeEndpoint(SIGNATURE, [Fail(ExecutionFailed("x"))])
    outcome = await done(routed(BLIND))

    assert outputs_of(outcome) == {"text": 1.0, "sure": 1.5}
    assert (outcome.not_interleaved, outcome.impressions) == ("error", ())


async def test_a_client_that_names_outputs_gets_those(routed, endpoints):
    outcome = await done(routed(NAMED, ("sure", "sure__new")))

    assert outputs_of(outcome) == {"sure": 1.5, "sure__new": 2.5}
    assert outcome.impressions
    assert endpoints["old"].requests[0].outputs == endpoints["new"].requests[0].outputs == ("sure",)


async def test_who_sees_one_answer_makes_no_choice(routed, endpoints):
    assert (await done(routed(NAMED, ("sure__new",)))).impressions == ()
    assert (await done(routed(NAMED, ("text", "sure")))).not_interleaved == "unasked"
    assert len(endpoints["new"].requests) == 1


@pytest.mark.parametrize(("strategy", "names"), [(NAMED, ["text__new", "sure__new"]), (BLIND, ["text__1", "text__2"])])
def test_metadata_can_list_what_stands_beside(bind, strategy, names):
    plan = bind(strategy=strategy).decider.allocation.plans[0]
    found = specs_beside(plan, dict.fromkeys(range(3), SIGNATURE))

    assert {spec.name: (spec.datatype, spec.shape) for spec in found}.items() >= dict.fromkeys(
        names, ("FP32", (-1,))
    ).items()


def test_a_slot_that_may_hold_either_has_the_sizes_of_both(bind):
    plan = bind(strategy=BLIND).decider.allocation.plans[0]
    of_size = {n: Signature((), (TensorSpec("y", "FP32", (-1, n)),)) for n in (2, 3)}
    found = specs_beside(plan, {0: of_size[2], 1: of_size[3]})

    assert [(spec.name, spec.shape) for spec in found] == [("y__1", (-1, -1)), ("y__2", (-1, -1))]


def test_merged_lists_stand_in_the_baselines_place(bind):
    plan = bind(strategy={"kind": "interleave", "partners": ["new"], "ids": "text"}).decider.allocation.plans[0]

    assert specs_beside(plan, {}) == []
