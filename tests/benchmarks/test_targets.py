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
    met = line(render_targets([run_of("floor", 1000.0), run_of("none", 600.0)]), "beside the floor")
    missed = line(render_targets([run_of("floor", 1000.0), run_of("none", 590.0)]), "beside the floor")
    assert ("| met |" in met, "| **missed** |" in missed) == (True, True)
    assert "≥ 0.6 | 0.59 (0.59..0.59)" in missed


def test_what_was_not_measured_is_not_told(run_of):
    """A table without MLServer claims nothing about it."""
    text = render_targets([run_of("floor", 1000.0), run_of("none", 600.0)])
    assert ("MLServer" in text, "" == render_targets([run_of("floor", 1000.0)])) == (False, True)


def test_memory_and_start_are_aims_too(run_of):
    text = render_targets([run_of("none", 600.0)])
    assert ("| ≤ 200 | 100 | met |" in text, "| ≤ 3 | 1.0 | met |" in text) == (True, True)
