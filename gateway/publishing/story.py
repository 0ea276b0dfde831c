"""A rollout's story: what became of it, in order, from the beginning of its experiment to now."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from gateway.publishing.kept import Kept, read
from gateway.state.store import RevisionStore
from strategies.core.assignment import POINTS
from strategies.core.plan import WHOLE_PPM
from strategies.core.spec import percent

REVISIONS_LIMIT = 2000  # looked through, those of other routes included
NEWS = ("phase", "step", "shares_ppm", "approver", "slow_s")


def tell_story(store: RevisionStore, route: str) -> list[dict[str, Any]]:
    """Every revision since the experiment began in which its rollout moved. None where a route has no rollout.

    Blocks for a query per revision. Raises StateError.
    """
    chapters: list[dict[str, Any]] = []
    live = store.live_number()
    began = None
    for number in range(live, max(live - REVISIONS_LIMIT, 0), -1):
        revision = store.get(number)
        kept = read(revision.content.states[route]) if route in revision.content.states else None
        if kept is None or kept.rollout is None or began not in (None, kept.began):
            break
        began = kept.began
        about = {"revision": number, "at": revision.at, "author": revision.author, "reason": revision.reason}
        chapters.append(about | _told(kept))
    chapters.reverse()
    return [each for before, each in zip([None, *chapters], chapters, strict=False) if _is_news(before, each)]


def chapter_words(chapter: Mapping[str, Any]) -> str:
    """Where it stood then and why, as in: baking, new 5%, old 95%: baked at 1%."""
    shares = ", ".join(f"{arm} {percent(ppm)}" for arm, ppm in chapter["shares_ppm"].items())
    approved = f", approved by {chapter['approver']}" if chapter["approver"] else ""
    why = f": {chapter['reason']}" if chapter["reason"] else ""
    return f"{chapter['phase']}, {shares}{approved}{why}"


def _told(kept: Kept) -> dict[str, Any]:
    assert kept.rollout is not None
    widths: defaultdict[str, int] = defaultdict(int)
    starts = [int(start, 16) for start in kept.starts]
    for owner, start, end in zip(kept.owners, starts, [*starts[1:], POINTS], strict=True):
        widths[owner] += end - start
    return {
        "phase": kept.rollout.phase.value,
        "step": kept.rollout.step,
        "shares_ppm": {arm: round(width * WHOLE_PPM / POINTS) for arm, width in widths.items()},
        "approver": kept.rollout.approver,
        "slow_s": list(kept.rollout.slow_s),
    }


def _is_news(before: Mapping[str, Any] | None, chapter: Mapping[str, Any]) -> bool:
    return before is None or any(before[word] != chapter[word] for word in NEWS)
