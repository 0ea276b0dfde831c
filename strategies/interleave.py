"""Interleave: one list of what several rankers ranked, and whoever reads it prefers one by a click, without knowing.

It needs a tenth to a hundredth of an A/B test's traffic, because everybody who reads compares. Models that do not rank
can answer side by side instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from strategies.core.arm import Arms
from strategies.core.merge import Merge, Method, Mode, Slots
from strategies.core.plan import WHOLE_PPM, Plan, answering, merging
from strategies.core.spec import Problem, Share, known_candidate, share_ppm, share_problems
from strategies.core.state import RouteState

PARTNERS_LIMIT = 4  # each is one more call for every request
K_LIMIT = 100  # places; nobody reads further, and each is dealt while other requests wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Interleave:
    kind: Literal["interleave"]
    partners: tuple[str, ...]  # candidates, whose answers are merged with the baseline's
    share: Share = "100%"  # of the units; the others get the baseline alone
    mode: Literal["merge", "both"] = "merge"
    method: Literal["team_draft", "probabilistic"] = "team_draft"
    ids: str | None = None  # output with the ids of items in their order
    items: str | None = None  # input with the ids of items, for models that score them
    scores: str | None = None  # output with a score for each of them, higher is better
    aligned: tuple[str, ...] = ()  # outputs that say something of each item, and move with it
    k: int = 10  # places that are dealt, from the top; those below stay as the baseline has them
    slots: Literal["named", "blind"] = "named"

    def problems(self, arms: Arms) -> list[Problem]:
        found = share_problems(("share",), self.share)
        for place, name in enumerate(self.partners):
            path = ("partners", place)
            found += known_candidate(path, name, arms)
            if name in self.partners[:place]:
                found.append(Problem(path, f"'{name}' is a partner twice", "name it once"))
        if not self.partners:
            found.append(Problem(("partners",), "an interleaving needs a partner", "write for example [my-arm]"))
        if len(self.partners) > PARTNERS_LIMIT:
            what = f"{len(self.partners)} partners are called for every request, the limit is {PARTNERS_LIMIT}"
            found.append(Problem(("partners",), what, "interleave fewer at a time"))
        return [*found, *(self._merge_problems() if self.mode == "merge" else self._both_problems())]

    def plans(self, arms: Arms, state: RouteState) -> tuple[Plan, ...]:  # noqa: ARG002 - the share stays as written
        """Two plans: all together for the share, the baseline alone for the rest."""
        share = share_ppm(self.share)
        partners = tuple(arms[name] for name in self.partners)
        together = merging(partners, self._merge(), share, arms)
        return together, answering(arms.baseline, WHOLE_PPM - share, arms)

    def _merge(self) -> Merge:
        return Merge(
            mode=Mode(self.mode),
            method=Method(self.method),
            ids=self.ids or "",
            items=self.items or "",
            scores=self.scores or "",
            aligned=self.aligned,
            k=self.k,
            slots=Slots(self.slots),
        )

    def _merge_problems(self) -> Iterator[Problem]:
        cure = "write ids: OUTPUT for models that give items in order, or items: INPUT and scores: OUTPUT"
        if self.ids and (self.items or self.scores):
            yield Problem(("ids",), "a ranking is read in one way: from ids, or from items and scores", cure)
        elif not self.ids and not (self.items and self.scores):
            missing = "scores" if self.items else "items" if self.scores else "ids"
            yield Problem((missing,), "nothing says how the models rank", f"{cure}; mode: both merges nothing")
        for place, name in enumerate(self.aligned):
            if name in (self.ids, self.scores, *self.aligned[:place]):
                yield Problem(("aligned", place), f"'{name}' moves with its item already", "leave it out here")
        if not 1 <= self.k <= K_LIMIT:
            yield Problem(("k",), f"{self.k} places cannot be dealt", f"write a number from 1 to {K_LIMIT}")
        if self.slots == "blind":
            cure = "leave it out, or write mode: both"
            yield Problem(("slots",), "a merged list has no slots: nothing in it says whose an item is", cure)

    def _both_problems(self) -> Iterator[Problem]:
        for word in ("ids", "items", "scores", "aligned"):
            if getattr(self, word):
                yield Problem((word,), "mode: both merges no lists", "leave it out, or write mode: merge")


STRATEGY = Interleave
