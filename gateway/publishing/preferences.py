"""What clicks on merged lists say of each ranker, as numbers and as a sentence that somebody can act on."""

from collections.abc import Callable
from math import log
from typing import Any

from gateway.publishing.prepare import Meaning
from gateway.state.clicks import Standing
from gateway.state.tally import Tally
from strategies.evidence.sign_test import decided_needed, interval, p_value

STRATEGY = "interleave"
ALPHA = 0.05  # two-sided: of experiments on rankers that are alike, one in twenty ever shows a preference


def add_preferences(told: dict[str, Any], meaning: Meaning, standing: Callable[[str], Standing]) -> dict[str, Any]:
    """A status with what clicks say of every route that interleaves. `standing` finds an experiment's."""
    for line in told["routes"]:
        line.update(preferences=[], lists_open=0)
        if line["strategy"] == STRATEGY:
            found = standing(f"{line['route']}@{meaning.kept[line['route']].began}")
            line["preferences"] = [tell_preference(tally) for tally in found.tallies]
            line["lists_open"] = found.open_n
    return told


def tell_preference(tally: Tally) -> dict[str, Any]:
    """One ranker beside the baseline. Deltas lie between -0.5 and 0.5; `win_rate` is the interval among decided lists.

    P-values are always valid: they may be looked at as often as one likes, and acted on.
    """
    low, high = interval(tally.wins, tally.losses, ALPHA)
    return {
        "ranker": tally.ranker,
        "baseline": tally.baseline,
        "lists": _side(tally.wins, tally.losses, tally.ties, tally.peak),
        "units": _side(tally.unit_wins, tally.unit_losses, tally.unit_ties, tally.unit_peak)
        | {"first_wins": tally.first_wins, "first_losses": tally.first_losses, "beyond": tally.units_beyond},
        "win_rate": [round(low, 4), round(high, 4)],
        "is_shown": is_shown(tally),
        "decided_needed": None if is_shown(tally) else decided_needed(tally.wins, tally.losses, ALPHA),
        "settled_at": tally.settled_at,
        "sentence": sentence(tally),
    }


def is_shown(tally: Tally) -> bool:
    """Whether there is a preference, for whichever side."""
    return tally.peak >= -log(ALPHA)


def sentence(tally: Tally) -> str:
    """What is known, how sure it is, and what to do."""
    ranker, baseline, decided = tally.ranker, tally.baseline, tally.wins + tally.losses
    if not decided:
        return f"no list is decided between {ranker} and {baseline} yet ({tally.ties} tied)"
    low, high = interval(tally.wins, tally.losses, ALPHA)
    numbers = (
        f"{ranker} won {tally.wins} of {decided} decided lists, {tally.wins / decided:.1%} "
        f"({low:.1%} to {high:.1%}), {tally.ties} tied"
    )
    if not is_shown(tally):
        return f"no preference between {ranker} and {baseline} is shown yet: {numbers}; {_wait(tally)}"
    by_units = _by_units(tally)
    if tally.wins > tally.losses:
        return f"people prefer {ranker} to {baseline}: {numbers}, p {_p(tally.peak)}{by_units}; make it the baseline"
    if tally.wins < tally.losses:
        return f"people prefer {baseline} to {ranker}: {numbers}, p {_p(tally.peak)}{by_units}; take {ranker} out"
    return f"{ranker} and {baseline} were told apart and are level now: {numbers}; their order changes with time"


def _side(wins: int, losses: int, ties: int, peak: float) -> dict[str, Any]:
    total = wins + losses + ties
    delta = (wins + ties / 2) / total - 0.5 if total else 0.0
    return {"wins": wins, "losses": losses, "ties": ties, "delta": round(delta, 6), "p_value": p_value(peak)}


def _wait(tally: Tally) -> str:
    needed = decided_needed(tally.wins, tally.losses, ALPHA)
    if needed is None:
        return "they are too much alike for clicks to tell them apart"
    return f"if it goes on like this, {needed:,} more decided lists will show one"


def _by_units(tally: Tally) -> str:
    units = tally.unit_wins + tally.unit_losses
    if not units:
        return ""
    return f"; {tally.unit_wins} of {units} units lean to {tally.ranker}, p {_p(tally.unit_peak)}"


def _p(peak: float) -> str:
    p = p_value(peak)
    return f"{p:.3f}" if p >= 1e-3 else f"{p:.0e}"
