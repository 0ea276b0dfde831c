"""What a shadow does to p99: ratios within rounds, and every name in the table."""

import pytest

from benchmarks import shadow
from benchmarks.load import Measured
from benchmarks.readings import Reading
from benchmarks.shadow import Course, Found, Window, bounds, measure_rounds, p99, ratios, render


def window(p99_ms):
    return Window(Measured(100, 100.0, 1.0, p99_ms, 0, 0), cpu_us=150.0)


ROUNDS = [
    {"none": window(2.0), "shadow": window(3.0), "hangs": window(2.0)},
    {"none": window(4.0), "shadow": window(4.0), "hangs": window(8.0)},
    {"none": window(1.0), "shadow": window(1.1), "hangs": window(1.0)},
]
SEEN = {
    "none": Reading(),
    "shadow": Reading(shadows_made_n=30, shadows_dropped_n=270),
    "hangs": Reading(shadows_dropped_n=299),
}


def test_ratios_are_taken_within_a_round():
    assert ([1.0, 1.1, 1.5], [1.0, 1.0, 2.0]) == (ratios(ROUNDS, "shadow", p99), ratios(ROUNDS, "hangs", p99))


def test_bounds_are_of_the_median():
    """Sixty pairs of which one is wild say what fifty-nine say."""
    least, most = bounds([1.0, 1.1] * 30 + [50.0])
    assert (1.0, 1.1) == (least, most)


def test_every_gateway_has_its_line_and_the_aim_its_own():
    """What is neither made nor dropped of the shadows that were due is told as well: none may be."""
    text = render(Found(ROUNDS, SEEN, 6000), 0.5)
    assert "| none | 1.00 | 2.00 | 1.00 (1.00..1.00) | 1.00 (1.00..1.00) | 150 |  |  |" in text
    assert "| shadow | 1.00 | 3.00 | 1.00 (1.00..1.00) | 1.10 (1.00..1.50) | 150 | 10.0% of 300 | 0 |" in text
    assert "| hangs | 1.00 | 2.00 | 1.00 (1.00..1.00) | 1.00 (1.00..2.00) | 150 | 0.0% of 300 | 1 |" in text
    assert "| ≤ 1.1 | 1.10 (1.00..1.50) | met |" in text


def test_every_round_begins_with_another_gateway(monkeypatch):
    """What drifts hits all of them."""
    asked = []
    monkeypatch.setattr(shadow, "measure", lambda name, *_: asked.append(name))
    monkeypatch.setattr(shadow, "settle", lambda _: None)
    gateways = {"none": None, "shadow": None}
    list(measure_rounds(Course(("none", "shadow"), rounds_n=2), gateways, None, 100))
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
