"""What a shadow does to p99: ratios within rounds, and every name in the table."""

import pytest

from benchmarks import shadow
from benchmarks.load import Measured
from benchmarks.readings import Reading
from benchmarks.shadow import Course, Result, measure_rounds, ratios, render


def result(p99_ms, **seen):
    return Result(Measured(100, 100.0, 1.0, p99_ms, 0, 0), Reading(**seen))


ROUNDS = [
    {"none": result(2.0), "shadow": result(3.0, shadows_made_n=3, shadows_dropped_n=1), "hangs": result(2.0)},
    {"none": result(4.0), "shadow": result(4.0, shadows_made_n=3, shadows_dropped_n=1), "hangs": result(8.0)},
    {"none": result(1.0), "shadow": result(1.1, shadows_made_n=3, shadows_dropped_n=1), "hangs": result(1.0)},
]


def test_ratios_are_taken_within_a_round():
    assert ([1.0, 1.1, 1.5], [1.0, 1.0, 2.0]) == (ratios(ROUNDS, "shadow"), ratios(ROUNDS, "hangs"))


def test_every_gateway_has_its_line_and_the_aim_its_own():
    text = render(ROUNDS, 6000, 0.5)
    assert "| shadow | 1.00 | 3.00 | 1.00 | 1.10 (1.00..1.50) | 75.0% of 12 |" in text
    assert "| hangs | 1.00 | 2.00 | 1.00 | 1.00 (1.00..2.00) |  |" in text
    assert "| ≤ 1.1 | 1.10 (1.00..1.50) | met |" in text


def test_every_round_begins_with_another_gateway(monkeypatch):
    """What drifts hits all of them."""
    asked = []
    monkeypatch.setattr(shadow, "measure", lambda name, *_: asked.append(name))
    list(measure_rounds(Course(("none", "shadow"), rounds_n=2), None, 100, 0))
    assert ["none", "shadow", "shadow", "none"] == asked


@pytest.mark.parametrize(("names", "expected"), [("shadow", ("none", "shadow")), ("hangs,none", ("none", "hangs"))])
def test_there_is_always_something_to_compare_with(monkeypatch, names, expected):
    monkeypatch.setattr("sys.argv", ["shadow.py", "--names", names])
    assert expected == shadow.read_options().names


def test_a_name_that_is_none_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["shadow.py", "--names", "sings"])
    with pytest.raises(SystemExit):
        shadow.read_options()
    assert "there is no sings" in capsys.readouterr().err
