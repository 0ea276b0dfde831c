"""What clicks on a merged list say, and what many lists say together."""

from collections.abc import Collection
from fractions import Fraction

from msgspec import Struct

from strategies.interleaving.merged import Merged


class Preference(Struct, frozen=True):
    """Lists that one ranker won, lists that the other did, and ties: clicked, and as much for one as for the other."""

    wins: int = 0
    losses: int = 0
    ties: int = 0

    @property
    def delta(self) -> Fraction:
        """How much more often the first is preferred: from -1/2 to 1/2, 0 for no preference or no clicks.

        (wins + ties / 2) / (wins + losses + ties) - 1/2: Chapelle, Joachims, Radlinski and Yue, TOIS 2012.
        """
        total = self.wins + self.losses + self.ties
        return Fraction(2 * self.wins + self.ties, 2 * total) - Fraction(1, 2) if total else Fraction(0)


def credit(merged: Merged, clicked: Collection[int], rankers_n: int) -> tuple[Fraction, ...]:
    """What every ranker gets for clicks on these places, from 0. A place counts once, one that is not there never."""
    total = [Fraction(0)] * rankers_n
    for place in set(clicked):
        if 0 <= place < len(merged.shares):
            for ranker, share in enumerate(merged.shares[place]):
                total[ranker] += share
    return tuple(total)


def count(preference: Preference, merged: Merged, clicked: Collection[int]) -> Preference:
    """The preference between two rankers after one more list. A list without clicks says nothing."""
    if not clicked:
        return preference
    first, second = credit(merged, clicked, 2)
    return Preference(
        preference.wins + (first > second), preference.losses + (first < second), preference.ties + (first == second)
    )
