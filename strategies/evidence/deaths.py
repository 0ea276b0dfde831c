"""Ends of serving processes: the arm whose model kills its process takes the counts of itself along.

What is left is whose model was run, and no other, when a process ended. If ends strike the arms' runs as requests are
assigned to them, each is the candidate's with the chance `rho`; that all of them are is the likelihood ratio of a coin
that always falls the same way:

    E = product of 1/rho over the candidate's ends, and 0 for good after one of the baseline's

That is the share test's limit for a ratio without bounds: ends have no base rate to be compared to. `LEAST_N` are asked
for whatever the shares are, since one process may end for any reason, and a second for the same one.
"""

from math import inf, log

from msgspec import Struct

LEAST_N = 3


class Deaths(Struct, frozen=True):
    """Ends of processes under the candidate and under the baseline; ln E against "they strike whom they meet"."""

    candidate_n: int = 0
    baseline_n: int = 0
    log_e: float = 0.0

    def condemns(self, alpha: float) -> bool:
        return self.candidate_n >= LEAST_N and self.log_e >= -log(alpha)


def with_deaths(deaths: Deaths, candidate_n: int, baseline_n: int, rho: float) -> Deaths:
    """With the ends of one epoch; 0 < rho <= 1 is the candidate's chance at that time."""
    log_e = -inf if deaths.baseline_n or baseline_n else deaths.log_e - candidate_n * log(rho)
    return Deaths(deaths.candidate_n + candidate_n, deaths.baseline_n + baseline_n, log_e)
