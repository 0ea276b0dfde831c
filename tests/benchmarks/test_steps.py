"""What is timed step by step is a request that is really answered."""

from benchmarks import steps
from benchmarks.stage import set_stage
from benchmarks.steps import ROW, asking, shadowing, walk
from benchmarks.stopwatch import Timing, time_call


async def test_a_request_is_led_through_all_steps(workload):
    """The last step leaves an event behind, the one before does not."""
    async with set_stage(workload) as stage:
        before = stage.log.kept[-1]
        await walk(stage, len(ROW) - 1)
        assert before is stage.log.kept[-1]
        await walk(stage, len(ROW))
        assert before is not stage.log.kept[-1]
        assert ("ok", "none", "old") == (
            stage.log.kept[-1].status,
            stage.log.kept[-1].route,
            stage.log.kept[-1].answered_arm,
        )


async def test_the_frontend_answers_what_it_is_timed_with(workload):
    """The time of a refusal is worth nothing."""
    async with set_stage(workload) as stage:
        for binary in (False, True):
            await asking(stage.http, stage, binary=binary)()
            stage.demand_success()
            assert workload.bodies["binary" if binary else "json"].stat().st_size == stage.log.kept[-1].request_bytes


async def test_every_whole_request_can_be_timed(workload, monkeypatch):
    """What is timed through the doors is made of the doors' own types, and changes with them."""

    async def once(call):
        await call()

    monkeypatch.setattr(steps, "time_async", once)
    monkeypatch.setattr(steps, "time_call", lambda call: call())
    async with set_stage(workload) as stage:
        names = [step.name async for step in steps.whole_steps(stage)]
    assert {"HTTP JSON, gateway", "HTTP binary, gateway", "gRPC, gateway"} < set(names)


async def test_a_shadow_call_is_made_and_recorded(workload):
    """Its time is that of a call and an event, not of a drop."""
    async with set_stage(workload) as stage:
        await shadowing(stage)()
        assert ("shadow", "mismatch", "new") == (
            type(stage.log.kept[-1]).__struct_config__.tag,
            stage.log.kept[-1].outcome,
            stage.log.kept[-1].arm,
        )


def test_every_repeat_makes_the_calls_it_says():
    """A fixed number of calls is kept to: a queue that is offered to has a bound."""
    calls = []
    timing = time_call(lambda: calls.append(1), calls_n=5)
    assert 1 + 7 * 5 == len(calls)
    assert isinstance(timing, Timing)
