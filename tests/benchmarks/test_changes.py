"""What changes do to p99: ratios within pairs, whichever of the two windows came first."""

from collections import Counter

import pytest

from benchmarks.changes import Answers, Course, Rates, Window, change_costs_ms, ratios, read_answers, render, run
from benchmarks.load import LoadFailed, missing_packages


def window(began_at, *, has_changes, changes_n=0, cpu_s=(0.0, 0.0)):
    return Window(has_changes, began_at, began_at + 1.0, changes_n, cpu_s)


WINDOWS = [
    window(0.0, has_changes=True, changes_n=10, cpu_s=(0.5, 1.2)),
    window(1.0, has_changes=False, cpu_s=(0.1, 1.0)),
    window(2.0, has_changes=False, cpu_s=(0.1, 1.0)),
    window(3.0, has_changes=True, changes_n=10, cpu_s=(0.5, 1.2)),
]
TIMES = (3.0, 2.0, 4.0, 5.0)  # ms, of all answers of a window
ANSWERS = Answers(
    [place + number / 100 for place in range(4) for number in range(100)], [took for took in TIMES for _ in range(100)]
)


def test_ratios_are_taken_within_a_pair_whichever_came_first():
    assert [1.25, 1.5] == ratios(WINDOWS, ANSWERS)


def test_a_change_costs_what_its_windows_take_beyond_the_others():
    assert [pytest.approx(40.0), pytest.approx(20.0)] == change_costs_ms(WINDOWS)


def test_the_aim_has_its_line():
    text = render(WINDOWS, ANSWERS, Rates(100, 50), Counter({"share": 4}))
    assert "20 changes in 2 s, 4 of them refused,\nbeside 100 requests a second over HTTP and 50 over gRPC" in text
    assert "| with changes | 4.00 | 4.00 (3.00..5.00) |" in text
    assert "| ≤ 1.2 | 1.38 (1.25..1.50) | **missed** |" in text


def test_requests_of_both_logs_are_put_in_order_and_failures_counted():
    answers, failed_n = read_answers(["2000000\t200\t1500\n3000000\t-1\t10\n", "1000000\t200\t500\n"])
    assert ([1.0, 2.0, 3.0], [0.5, 1.5, 0.01], 1) == (answers.sent_at, answers.took_ms, failed_n)


def test_a_window_without_requests_tells_nothing():
    with pytest.raises(LoadFailed):
        ANSWERS.percentile(99, window(17.0, has_changes=False))


@pytest.mark.skipif(bool(missing_packages(["json", "grpc"])), reason="the load generators are not installed")
def test_a_course_is_run_from_the_first_request_to_the_table(tmp_path):
    text = run(Course(pairs_n=1, seconds=1.0, per_second=4.0, share=0.1, workers_n=1), tmp_path)
    assert "p99 beside none" in text
