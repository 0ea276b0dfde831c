"""Whoever shares the page knows what is run, and what was when a process ended."""

from pathlib import Path

from runners.core.marks import BYTES_N, SLOTS_N, Marks, running_in, sign_of, unseen
from runners.core.runner import ModelRef

ONE, TWO = ModelRef("file:one.onnx", Path("/models")), ModelRef("file:two.onnx", Path("/models"))


def test_only_what_is_run_is_told():
    page = bytearray(BYTES_N)
    marks = Marks(page)
    one, _ = marks.take(ONE), marks.take(TWO)
    assert frozenset() == running_in(page)
    one.page[one.in_thread] = 1
    assert {sign_of(ONE)} == running_in(page)
    one.page[one.in_thread], one.page[one.on_loop] = 0, 1
    assert {sign_of(ONE)} == running_in(page)


def test_a_slot_that_is_given_back_is_used_again():
    marks = Marks(bytearray(BYTES_N))
    for _ in range(2 * SLOTS_N):
        marks.give_back(marks.take(ONE))
    assert marks.take(ONE).page is not unseen().page


def test_a_run_that_does_not_end_keeps_its_slot():
    page = bytearray(BYTES_N)
    marks = Marks(page)
    one = marks.take(ONE)
    one.page[one.in_thread] = 1
    marks.give_back(one)
    marks.take(TWO)
    assert {sign_of(ONE)} == running_in(page)


def test_beyond_the_last_slot_nothing_is_marked():
    page = bytearray(BYTES_N)
    marks = Marks(page)
    taken = [marks.take(ONE) for _ in range(SLOTS_N + 1)]
    taken[-1].page[taken[-1].on_loop] = 1
    assert frozenset() == running_in(page)
    marks.give_back(taken[-1])
    marks.give_back(taken[0])
    assert marks.take(TWO).page is page
