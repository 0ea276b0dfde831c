"""What operators write, kept exactly."""

import pytest

from strategies.core.spec import duration_s, share_ppm


@pytest.mark.parametrize(
    ("written", "expected"),
    [("5%", 50_000), ("0.29", 290_000), (0.57, 570_000), ("100%", 1_000_000), (0, 0), (1, 1_000_000), ("0.0001 %", 1)],
)
def test_shares_are_kept_to_the_last_digit(written, expected):
    assert share_ppm(written) == expected


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("5", "write five percent as 5% or 0.05"),
        (5, "write five percent as 5% or 0.05"),
        ("-1%", "outside"),
        ("101%", "outside"),
        ("half", "is no share"),
        ("nan", "is no share"),
        ("inf", "is no share"),
        ("0.00001%", "finer than one part per million"),
    ],
)
def test_a_wrong_share_says_how_to_write_it(written, why):
    with pytest.raises(ValueError, match=why):
        share_ppm(written)


@pytest.mark.parametrize(
    ("written", "expected"), [("250ms", 0.25), ("30s", 30), ("10m", 600), ("1.5h", 5400), ("2d", 172_800)]
)
def test_durations_are_seconds(written, expected):
    assert duration_s(written) == expected


@pytest.mark.parametrize("written", ["", "10", "m", "-1s", "1 week", "1e3s", "1..5s", "٣s٣"])
def test_a_wrong_duration_says_how_to_write_it(written):
    with pytest.raises(ValueError, match="write it like 250ms, 30s, 10m, 1h or 2d"):
        duration_s(written)
