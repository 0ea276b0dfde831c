"""Merges: how the answers of several arms become one."""

from enum import StrEnum

from msgspec import Struct


class Mode(StrEnum):
    """What the one answer is."""

    MERGE = "merge"  # one list of what all rankers ranked
    BOTH = "both"  # every arm's answer, side by side


class Method(StrEnum):
    """How lists are merged, each a file in strategies/interleaving/."""

    TEAM_DRAFT = "team_draft"
    PROBABILISTIC = "probabilistic"


class Slots(StrEnum):
    """What answers side by side are called."""

    NAMED = "named"  # after their arms
    BLIND = "blind"  # after places, which coins deal out for every request


class Merge(Struct, frozen=True):
    """How answers are merged.

    Rankers give `ids`, an output with items in their order, or `scores`, an output with a number for each of the input
    `items`; the other is "". Outputs that are `aligned` say something of every item. `k` is how many places are dealt.
    """

    mode: Mode
    method: Method = Method.TEAM_DRAFT
    ids: str = ""
    items: str = ""
    scores: str = ""
    aligned: tuple[str, ...] = ()
    k: int = 10
    slots: Slots = Slots.NAMED

    @property
    def ranking(self) -> str:
        """The output that says how an arm ranks, "" where nothing is ranked."""
        return self.ids or self.scores
