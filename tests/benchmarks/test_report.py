"""From runs to tables."""

import pytest

from benchmarks.report import MARK, insert_section, make_rows, render, render_footprint


def test_a_row_holds_the_median_the_least_and_the_most(run_of):
    """One odd round does not move the figure, and is seen beside it."""
    (row,) = make_rows([run_of("floor", rate, number) for number, rate in enumerate([100.0, 900.0, 200.0])])
    assert (200.0, 100.0, 900.0) == row.per_second
    assert (50.0, 1.0, None) == (row.cpu_us, row.of_floor, row.of_none)


def test_ratios_are_taken_within_a_round(run_of):
    """A machine that was slow for one round was slow for all servers in it."""
    runs = [run_of("floor", 1000.0, 0), run_of("floor", 100.0, 1), run_of("floor", 900.0, 2)]
    runs += [run_of("none", 500.0, 0), run_of("none", 50.0, 1), run_of("none", 450.0, 2)]
    assert [1.0, 0.5] == [row.of_floor for row in make_rows(runs)]


def test_strategies_are_compared_with_none(run_of):
    """What a strategy costs is told apart from what the gateway costs."""
    rows = make_rows([run_of("ab", 450.0), run_of("none", 500.0), run_of("floor", 1000.0)])
    assert [("floor", None), ("none", 1.0), ("ab", 0.9)] == [(row.server, row.of_none) for row in rows]


def test_nothing_is_compared_with_what_was_not_measured(run_of):
    """A ratio without a floor is left empty, not made up."""
    (row,) = make_rows([run_of("ab", 450.0)])
    assert (None, None) == (row.of_floor, row.of_none)


def test_what_was_dropped_is_said(run_of):
    """A gateway that skips its shadows is fast, and the table says why."""
    assert "| 20.0% of shadows made, the rest dropped |" in render(
        make_rows([run_of("shadow", 100.0, shadows_made_n=20, shadows_dropped_n=80)])
    )
    assert "| all shadows made |" in render(make_rows([run_of("shadow", 100.0, shadows_made_n=20)]))
    assert "| 3 events dropped; 2 spans dropped |" in render(
        make_rows([run_of("none", 100.0, events_dropped_n=3, spans_dropped_n=2)])
    )


def test_a_table_has_a_line_for_each_cell(run_of):
    """Tables are Markdown, one for each protocol that was measured."""
    text = render(make_rows([run_of("none", 500.0), run_of("floor", 1000.0)]))
    assert text.startswith("### HTTP JSON\n\n| at once |")
    assert "| 64 | none | 500 (500..500) | 0.50 | 1.00 | 1.00 | 2.00 | 50 |  |" in text
    assert "gRPC" not in text


def test_memory_and_start_are_told(run_of):
    """What it takes to have it is part of what it costs."""
    assert "Resident memory, highest: floor 100 MiB. From command to listening: floor 1.0 s." == render_footprint(
        [run_of("floor", 1.0)]
    )


def test_the_newest_results_come_first():
    """Older sections stay as they were written."""
    once = insert_section(f"# Results\n\n{MARK}\n", "## first\n\ntables")
    twice = insert_section(once, "## second\n")
    assert f"# Results\n\n{MARK}\n\n## second\n\n## first\n\ntables\n" == twice


def test_a_results_file_without_its_mark_is_left_alone():
    """Nothing is written where it does not belong."""
    with pytest.raises(ValueError, match="lacks the line"):
        insert_section("# Results\n", "## first\n")
