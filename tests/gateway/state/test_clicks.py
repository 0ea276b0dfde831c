"""Clicks are kept once, settled once, and what is kept of them is bounded by one window."""

import pytest
from sqlalchemy import Engine, func, select

from gateway.link import Click
from gateway.state import tally
from gateway.state.clicks import GRACE_S, Clicks
from gateway.state.schema import impression, unit_preference
from strategies.evidence.sign_test import log_e

WINDOW_S = 1800.0
RANKERS = ("steady", "fresh")
STEADY, FRESH, NOBODY = (1_000_000, 0), (0, 1_000_000), ()


def click(event: str, place: int, credits_: tuple[int, ...], *, unit: str = "", at: float = 100.0) -> Click:
    return Click("shop@1", event, 0, place, unit, at, RANKERS, credits_)


def settled(engine: Engine, *clicks: Click) -> tally.Tally:
    """The tally of one experiment after all windows have closed."""
    kept = Clicks(engine)
    kept.keep(clicks)
    while kept.settle(1e6, WINDOW_S):
        pass
    return kept.standing("shop@1").tallies[0]


def test_a_click_counts_once_however_often_it_is_sent(engine: Engine) -> None:
    """Who is not sure whether a click arrived may send it again."""
    kept = Clicks(engine)
    assert ["accepted", "duplicate"] == kept.keep([click("a", 0, FRESH), click("a", 0, FRESH)])
    assert ["duplicate", "accepted"] == kept.keep([click("a", 0, FRESH), click("a", 1, STEADY)])
    assert 1 == kept.standing("shop@1").open_n
    found = settled(engine)
    assert (0, 0, 1) == (found.wins, found.losses, found.ties)


def test_a_list_says_nothing_before_its_window_has_closed(engine: Engine) -> None:
    """Its next click may turn it; a test that had counted it could be led to any end."""
    kept = Clicks(engine)
    kept.keep([click("a", 0, FRESH, at=100.0), click("b", 0, FRESH, at=200.0)])
    assert 0 == kept.settle(100.0 + WINDOW_S, WINDOW_S)
    assert 1 == kept.settle(100.0 + WINDOW_S + GRACE_S, WINDOW_S)
    standing = kept.standing("shop@1")
    assert (1, 1) == (standing.tallies[0].wins, standing.open_n)


def test_no_click_comes_after_its_list_was_settled(engine: Engine) -> None:
    """Not through a gateway whose clock is behind either: the mark is in the state."""
    kept = Clicks(engine)
    kept.keep([click("a", 0, FRESH)])
    kept.settle(1e6, WINDOW_S)
    assert ["late", "late"] == kept.keep([click("a", 0, FRESH), click("a", 1, STEADY)])
    assert 1 == kept.standing("shop@1").tallies[0].wins


def test_a_clock_that_is_ahead_makes_no_other_gateways_clicks_late(engine: Engine) -> None:
    """It settles early what was clicked; lists shown after those go on taking clicks."""
    kept = Clicks(engine)
    kept.keep([click("a", 0, FRESH, at=100.0)])
    assert 1 == kept.settle(1e6, WINDOW_S)
    assert ["accepted"] == kept.keep([click("b", 0, FRESH, at=101.0)])
    assert 0 == kept.settle(101.0 + WINDOW_S, WINDOW_S)


def test_nothing_of_a_settled_list_is_left(engine: Engine) -> None:
    settled(engine, click("a", 0, FRESH), click("b", 3, STEADY))
    with engine.connect() as connection:
        assert 0 == connection.execute(select(func.count()).select_from(impression)).scalar_one()


def test_lists_are_won_lost_or_tied_and_evidence_keeps_its_peak(engine: Engine) -> None:
    wins = [click(f"w{n:02}", 0, FRESH, at=float(n)) for n in range(1, 21)]
    losses = [click(f"x{n:02}", 0, STEADY, at=float(100 + n)) for n in range(10)]
    tie = click("z", 2, NOBODY, at=300.0)
    found = settled(engine, *wins, *losses, tie)
    assert (20, 10, 1) == (found.wins, found.losses, found.ties)
    assert found.peak == pytest.approx(log_e(20, 0))


def test_a_busy_unit_has_one_voice(engine: Engine) -> None:
    """Ninety lists of one account weigh as much as the two of another."""
    busy = [click(f"b{n:02}", 0, FRESH, unit="busy", at=float(1 + n)) for n in range(90)]
    calm = [click(f"c{n}", 0, STEADY, unit="calm", at=float(200 + n)) for n in range(2)]
    turned = [click("d0", 0, FRESH, unit="turned", at=300.0)] + [
        click(f"d{n}", 0, STEADY, unit="turned", at=300.0 + n) for n in (1, 2)
    ]
    found = settled(engine, *busy, *calm, *turned, click("e", 0, FRESH, at=400.0))
    assert (92, 4) == (found.wins, found.losses)
    assert (1, 2, 0) == (found.unit_wins, found.unit_losses, found.unit_ties)
    assert (2, 1) == (found.first_wins, found.first_losses)


def test_every_ranker_is_compared_to_the_baseline(engine: Engine) -> None:
    kept = Clicks(engine)
    three = ("steady", "fresh", "bold")
    kept.keep([Click("shop@1", "a", 0, 0, "", 1.0, three, (0, 0, 1_000_000))])
    kept.keep([Click("shop@1", "b", 0, 0, "", 1.0, three, (300_000, 700_000, 0))])
    kept.settle(1e6, WINDOW_S)
    bold, fresh = kept.standing("shop@1").tallies
    assert ("bold", 1, 1, 0) == (bold.ranker, bold.wins, bold.losses, bold.ties)
    assert ("fresh", 1, 0, 1) == (fresh.ranker, fresh.wins, fresh.losses, fresh.ties)


def test_units_have_a_bound_that_is_counted(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "UNITS_LIMIT", 2)
    clicks = [click(f"a{n}", 0, FRESH, unit=f"u{n}", at=1.0 + n) for n in range(5)]
    found = settled(engine, *clicks)
    assert (5, 2, 3) == (found.wins, found.unit_wins, found.units_beyond)


def test_units_not_seen_for_long_are_forgotten_and_stay_counted(engine: Engine) -> None:
    settled(engine, click("a", 0, FRESH, unit="u"))
    kept = Clicks(engine)
    kept.forget_units(before=1e6 + 1)
    with engine.connect() as connection:
        assert 0 == connection.execute(select(func.count()).select_from(unit_preference)).scalar_one()
    assert 1 == kept.standing("shop@1").tallies[0].unit_wins


def test_the_first_gateway_s_secret_is_everybodys(engine: Engine) -> None:
    """A token of one gateway is good at all that share its state."""
    assert b"a" * 32 == Clicks(engine).share_secret(b"a" * 32)
    assert b"a" * 32 == Clicks(engine).share_secret(b"b" * 32)
