"""What was aimed at is read off the runs, round by round, and a miss is said."""

from benchmarks.targets import RATIOS, measured, render_targets


def line(text: str, what: str) -> str:
    (found,) = [each for each in text.splitlines() if what in each]
    return found


def test_a_ratio_is_taken_within_each_round(run_of):
    """A round in which everything was slow is a round like the others."""
    runs = [run_of("floor", 1000.0, 0), run_of("floor", 100.0, 1), run_of("none", 700.0, 0), run_of("none", 50.0, 1)]
    assert [0.5, 0.7] == measured(RATIOS[0], runs)


def test_an_aim_is_met_or_missed(run_of):
    """Nobody has to do sums to learn whether it was reached."""
    floor, what = run_of("floor", 1000.0), "requests/s beside the floor"
    met = line(render_targets([floor, run_of("none", 600.0)], "tiny"), what)
    missed = line(render_targets([floor, run_of("none", 590.0)], "tiny"), what)
    assert ("| met |" in met, "| **missed** |" in missed) == (True, True)
    assert "≥ 0.6 | 0.59 |" in missed


def test_the_spread_of_the_rounds_is_told(run_of):
    """A median of two that lie far apart is worth little."""
    runs = [run_of("floor", 100.0, 0), run_of("floor", 100.0, 1), run_of("none", 50.0, 0), run_of("none", 90.0, 1)]
    assert "| 0.70 (0.50..0.90) | met |" in render_targets(runs, "tiny")


def test_what_was_not_measured_is_said(run_of):
    """A table without MLServer claims nothing about it, and does not look as if there were no such aim."""
    text = render_targets([run_of("floor", 1000.0), run_of("none", 600.0)], "tiny")
    assert "| ≥ 6 | not measured | |" in line(text, "HTTP JSON, requests/s beside MLServer")
    assert "not measured (run.py --model medium)" in line(text, "plain loop")
    assert "not measured (run.py --shadow, or shadow.py)" in line(text, "half load")


def test_where_nothing_can_be_told_there_is_no_table(run_of):
    assert ("", "") == (render_targets([run_of("floor", 1.0)], "tiny"), render_targets([run_of("none", 1.0)], "conv"))


def test_batches_are_compared_with_a_plain_loop_of_them(run_of):
    """An aim of one model is not read off the runs of another."""
    runs = [run_of("loop", 3000.0), run_of("none", 2000.0), run_of("floor", 300.0)]
    assert "| ≥ 0.9 | 0.67 | **missed** |" in line(render_targets(runs, "medium"), "plain loop")
    assert "not measured" in line(render_targets(runs, "medium"), "requests/s beside the floor")
    assert "not measured" in line(render_targets(runs, "tiny"), "plain loop")


def test_a_shadow_is_judged_by_p99(run_of):
    text = render_targets([run_of("none", 1.0)], "tiny", [1.0, 1.3, 1.4])
    assert "| ≤ 1.1 | 1.30 (1.00..1.40) | **missed** |" in line(text, "half load")


def test_an_arm_on_ray_is_compared_with_ray_serve_and_with_an_arm_in_the_gateway(run_of):
    """What Ray's way of serving costs, beside what Ray costs where no request passes through it."""
    runs = [
        run_of("ray", 5000.0),
        run_of("rayserve", 200.0),
        run_of("rayserve+haproxy", 2600.0),
        run_of("none", 9000.0),
    ]
    text = render_targets(runs, "tiny", (), [0.8, 0.9])
    assert "| ≥ 10 | 25.00 | met |" in line(text, "on Ray, requests/s beside Ray Serve |")
    assert "| ≥ 2 | 1.92 | **missed** |" in line(text, "on Ray, requests/s beside Ray Serve with HAProxy")
    assert "| ≤ 2.5 | not measured | |" in line(text, "on Ray, p50 of a lone caller")  # of 64 at once, that was
    assert "| ≥ 0.85 | 0.85 (0.80..0.90) | met |" in line(text, "in that replica")


def test_memory_and_start_are_aims_too(run_of):
    text = render_targets([run_of("none", 600.0)], "tiny")
    assert ("| ≤ 200 | 100 | met |" in text, "| ≤ 3 | 1.00 | met |" in text) == (True, True)
