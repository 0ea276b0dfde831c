"""Team draft: rankers pick in turns, each its best item that nobody has picked; a click counts for who picked it.

Whoever has picked least picks next, and a coin decides between equals. With two rankers that is Radlinski, Kurup and
Joachims, CIKM 2008; with more, Schuth, Sietsma, Whiteson, Lefortier and de Rijke, CIKM 2014. Where all lists agree from
the top, nobody picks: those places belong to nobody, which takes noise away and adds no bias.
"""

from collections.abc import Sequence

from strategies.interleaving.coins import Coins
from strategies.interleaving.merged import NOBODY, Item, Merged, refuse_repeats, shared_prefix_n, whole


def team_draft(lists: Sequence[Sequence[Item]], k: int, coins: Coins) -> Merged:
    """The first `k` items of the draft, or all there are. Raises ValueError for a list with an item twice.

    Every place below the shared ones is as likely to be any ranker's, as long as no list has ended: whatever a reader
    does that depends on places alone, no ranker gains by it.
    """
    refuse_repeats(lists)
    rankers_n, prefix_n = len(lists), min(shared_prefix_n(lists), k)
    items = list(lists[0][:prefix_n])
    shares = [NOBODY] * prefix_n
    taken = set(items)
    sizes = [0] * rankers_n
    nexts = [prefix_n] * rankers_n
    while len(items) < k:
        for ranker, ranked in enumerate(lists):
            while nexts[ranker] < len(ranked) and ranked[nexts[ranker]] in taken:
                nexts[ranker] += 1
        able = [ranker for ranker in range(rankers_n) if nexts[ranker] < len(lists[ranker])]
        if not able:
            break
        least = min(sizes[ranker] for ranker in able)
        equals = [ranker for ranker in able if sizes[ranker] == least]
        picker = equals[coins.pick(len(equals))]
        item = lists[picker][nexts[picker]]
        sizes[picker] += 1
        taken.add(item)
        items.append(item)
        shares.append(whole(picker, rankers_n))
    return Merged(tuple(items), tuple(shares))
