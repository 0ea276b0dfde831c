"""Whom the end of a worker speaks against: the arm whose model was run by itself."""

from gateway.control.deaths import blamed
from runners.core.marks import sign_of
from strategies.evidence.epochs import WORKER_DEATHS

HALF = {"strategy": {"kind": "ab", "shares": {"new": "50%"}}}


def signs(route, *names):
    return frozenset(sign_of(each.model) for each in route.arms if each.arm.name in names)


def test_the_arm_whose_model_was_run_is_told_with_its_cell(compile_changed):
    route = compile_changed(**HALF)
    (found,) = blamed([route], 3, signs(route, "new"))
    cell = found.in_epoch(1000)
    assert ("digits@3", 0, '{"new":500000,"old":500000}', 1000, "new") == (
        cell.key.experiment, cell.key.step, cell.key.shares, cell.key.epoch, cell.key.arm
    )  # fmt: skip
    assert ({WORKER_DEATHS: 1}, 0) == (cell.increment.events, cell.increment.requests_n)


def test_of_two_models_that_were_run_nobody_can_say_which_it_was(compile_changed):
    route = compile_changed(**HALF)
    assert () == blamed([route], 3, signs(route, "new", "old"))
    assert () == blamed([route], 3, frozenset())


def test_of_two_arms_with_one_model_nobody_can_say_which_it_was(compile_changed):
    arms = {
        name: {"model": "file:one.onnx", "role": role} for name, role in (("old", "baseline"), ("new", "candidate"))
    }
    route = compile_changed(arms=arms, fallback=["old"], **HALF)
    assert () == blamed([route], 3, signs(route, "new"))


def test_an_arm_that_is_not_counted_is_not_blamed(compile_changed):
    """As a reserve, which nobody is assigned to."""
    route = compile_changed(**HALF)
    assert () == blamed([route], 3, signs(route, "dumb"))


def test_a_model_of_two_routes_speaks_against_both(compile_changed):
    one, two = compile_changed(**HALF), compile_changed(route="more", **HALF)
    assert ["digits@3", "more@3"] == [each.experiment for each in blamed([one, two], 3, signs(one, "new"))]
