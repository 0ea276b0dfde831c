"""What clicks say is told as numbers and as a sentence that somebody can act on."""

from gateway.publishing.preferences import sentence, tell_preference
from gateway.state.tally import Tally
from strategies.evidence.sign_test import log_e


def tally(wins: int, losses: int, ties: int = 0, **more: float) -> Tally:
    return Tally("shop@1", "fresh", "steady", wins, losses, ties, **({"peak": log_e(wins, losses)} | more))


def test_nothing_decided_is_said_so() -> None:
    assert "no list is decided between fresh and steady yet (3 tied)" == sentence(tally(0, 0, 3))


def test_a_preference_says_for_whom_how_sure_and_what_to_do() -> None:
    told = sentence(tally(252, 160, 40))
    assert told.startswith("people prefer fresh to steady: fresh won 252 of 412 decided lists, 61.2% (")
    assert told.endswith("; make it the baseline")
    assert "40 tied, p 5e-04" in told


def test_a_loser_is_to_be_taken_out() -> None:
    told = sentence(tally(160, 252))
    assert told.startswith("people prefer steady to fresh: fresh won 160 of 412")
    assert told.endswith("; take fresh out")


def test_no_preference_yet_says_how_much_is_missing() -> None:
    told = sentence(tally(60, 40))
    assert told.startswith("no preference between fresh and steady is shown yet: fresh won 60 of 100 decided lists")
    assert told.endswith("if it goes on like this, 146 more decided lists will show one")
    assert "too much alike" in sentence(tally(500, 500))


def test_units_are_told_beside_lists() -> None:
    """Whoever acts sees whether a few busy units made the difference."""
    told = sentence(tally(300, 100, unit_wins=12, unit_losses=11, unit_peak=0.0))
    assert "; 12 of 23 units lean to fresh, p 1.000;" in told


def test_evidence_that_was_clear_once_stays() -> None:
    """A test that may be looked at again and again keeps its strongest evidence."""
    told = tell_preference(tally(100, 90, peak=5.0))
    assert told["is_shown"]
    assert told["decided_needed"] is None
    assert 0.0067 == round(told["lists"]["p_value"], 4)


def test_delta_counts_ties_as_half() -> None:
    """Wikimedia's set `a`: 754 wins, 81 losses, 71 ties."""
    assert 0.371413 == tell_preference(tally(754, 81, 71))["lists"]["delta"]
    assert -0.351545 == tell_preference(tally(83, 720, 103))["lists"]["delta"]
    assert 0.030286 == tell_preference(tally(395, 342, 138))["lists"]["delta"]
