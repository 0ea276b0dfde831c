"""The sign test that may be looked at whenever one likes: wins and losses of two sides, ties left out.

Under the null each decided outcome is a fair coin. E is the likelihood of what was seen under a Beta(a, a) mixture of
all other coins, over that of a fair one. Under the null it is a martingale that begins at 1, so that it ever reaches
1/alpha with probability alpha at most, however often one looks: Ville's inequality.
"""

from math import exp, inf, lgamma, log

BETA = 50.0  # the mixture's parameter: most eager for rates between 0.55 and 0.7, where it costs few outcomes
NEEDED_LIMIT = 1_000_000
BISECTIONS = 60


def log_e(wins: int, losses: int, beta: float = BETA) -> float:
    """How much speaks against a fair coin, in either direction: ln B(a + W, a + L) - ln B(a, a) + (W + L) ln 2."""
    return _log_mixture(wins, losses, beta) + (wins + losses) * log(2)


def p_value(peak: float) -> float:
    """The always-valid p-value of the highest ln E that was ever seen."""
    return min(1.0, exp(-peak))


def interval(wins: int, losses: int, alpha: float, beta: float = BETA) -> tuple[float, float]:
    """From and to of the winning rate among decided outcomes; holds at all times together with 1 - alpha.

    All coins that the same mixture does not speak against with 1/alpha.
    """
    limit = _log_mixture(wins, losses, beta) + log(alpha)  # rates that are less likely than this are left out
    total = wins + losses
    likeliest = wins / total if total else 0.5
    low = _edge(wins, losses, limit, inside=likeliest, outside=0.0)
    return low, _edge(wins, losses, limit, inside=likeliest, outside=1.0)


def decided_needed(wins: int, losses: int, alpha: float, beta: float = BETA) -> int | None:
    """How many more decided outcomes reach 1/alpha if they go on as before; None when that is more than a million."""
    total, wanted = wins + losses, -log(alpha)
    rate = max(wins, losses) / total if total else 0.0

    def reaches(more: int) -> bool:
        ahead = round(rate * (total + more))
        return log_e(ahead, total + more - ahead, beta) >= wanted

    if not total or not reaches(NEEDED_LIMIT):
        return None
    low, high = 0, NEEDED_LIMIT
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    return low


def _log_mixture(wins: int, losses: int, beta: float) -> float:
    """The logarithm of how likely the mixture held what was seen, in its order."""
    return _log_beta(beta + wins, beta + losses) - _log_beta(beta, beta)


def _log_beta(one: float, other: float) -> float:
    return lgamma(one) + lgamma(other) - lgamma(one + other)


def _log_likelihood(wins: int, losses: int, rate: float) -> float:
    ahead = wins * log(rate) if rate else (-inf if wins else 0.0)
    behind = losses * log(1 - rate) if rate < 1 else (-inf if losses else 0.0)
    return ahead + behind


def _edge(wins: int, losses: int, limit: float, *, inside: float, outside: float) -> float:
    """Where the likelihood falls to `limit` on the way from the likeliest rate to an end."""
    if _log_likelihood(wins, losses, outside) > limit:
        return outside
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        if _log_likelihood(wins, losses, middle) > limit:
            inside = middle
        else:
            outside = middle
    return outside
