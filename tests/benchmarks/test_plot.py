"""The picture of a case: bars from zero, whiskers from least to most, names that cannot break it."""

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.plot import LEFT, draw, ticks
from benchmarks.report import make_rows

SVG = "{http://www.w3.org/2000/svg}"


def picture(run_of):
    runs = [run_of("floor", rate, n) for n, rate in enumerate([900.0, 1000.0, 1100.0])]
    return ET.fromstring(draw("a & b", make_rows([*runs, run_of("none", 500.0), run_of("kserve", 100.0)])))


def test_bars_are_drawn_from_zero_and_to_scale(run_of):
    """Half as much is half as long."""
    bars = picture(run_of).findall(f"{SVG}rect")
    widths = [float(bar.get("width")) for bar in bars]
    assert [1.0, 0.5, 0.1] == pytest.approx([width / widths[0] for width in widths], abs=1e-3)
    assert {str(LEFT)} == {bar.get("x") for bar in bars}


def test_the_axis_has_round_numbers_where_they_belong(run_of):
    """Whoever wants to know how long a bar is reads it off below."""
    found = [text for text in picture(run_of).findall(f"{SVG}text") if text.get("class") == "tick soft"]
    assert ["0", "200", "400", "600", "800", "1,000"] == [text.text for text in found]
    bar = next(bar for bar in picture(run_of).findall(f"{SVG}rect"))
    assert float(found[-1].get("x")) - LEFT == pytest.approx(float(bar.get("width")), abs=0.11)  # its median is 1,000


@given(st.floats(1, 1e7))
def test_ticks_are_few_enough_to_be_read(most):
    """They begin at zero, end below the largest figure, and are whole and even."""
    values = ticks(most)
    assert (0, True) == (values[0], values[-1] <= most)
    assert len(values) <= 11
    assert len(values) >= 2
    assert 1 == len({b - a for a, b in pairwise(values)})


def test_a_whisker_spans_the_rounds(run_of):
    """Whoever looks at the picture sees how far the rounds lay apart."""
    whisker = next(line for line in picture(run_of).findall(f"{SVG}line") if line.get("class") == "line")
    least, most = (float(whisker.get(end)) - LEFT for end in ("x1", "x2"))
    assert 900 / 1100 == pytest.approx(least / most, abs=1e-3)


def test_the_fastest_comes_first_and_all_are_named(run_of):
    names = [text.text for text in picture(run_of).findall(f"{SVG}text") if text.get("text-anchor") == "end"]
    assert ["floor", "turnout, none", "kserve"] == names


def test_it_is_readable_on_light_and_on_dark(run_of):
    style = picture(run_of).find(f"{SVG}style").text
    assert re.search(r"prefers-color-scheme: dark", style)


def test_nothing_is_not_drawn():
    with pytest.raises(ValueError, match="no rows"):
        draw("nothing", [])
