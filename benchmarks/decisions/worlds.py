"""Eight worlds in which the candidate is exactly as good as the baseline, and what rolls it back all the same.

Each is twenty minutes at 200 requests a second while the candidate's share climbs from 5 to 50 %.
"""

from collections.abc import Iterable, Iterator
from math import sqrt
from typing import NamedTuple

import numpy as np

from benchmarks.decisions.streams import Arm, Seen, Stream, plainly, rolls_back, rule_with, seen, split
from strategies.evidence.epochs import ERROR_RATE, RUN_ERRORS
from strategies.evidence.rule import Form

EPOCHS_N = 120
EPOCH_S = 10.0
REQUESTS_N = 2000  # in an epoch
SHARES = (0.05, 0.10, 0.25, 0.50)
Z_ONE_SIDED = 1.645  # 5 %
GOOD_SHARE = 0.99  # what the fixed threshold demands of a minute
FAILED_CHECKS_N = 10
CHECK_EPOCHS_N = 6


class World(NamedTuple):
    """A world without a difference. `form` is the one that a guardrail of this kind has, `metric` what it counts."""

    name: str
    stream: Stream
    form: Form = Form.EVENTS
    metric: str = ERROR_RATE
    is_promised: bool = True


def step_of(number: int) -> int:
    return number * len(SHARES) // EPOCHS_N


def of_rates(rng: np.random.Generator, rates: Iterable[float]) -> Iterator[Seen]:
    """Independent requests; both arms have the same rate in the same epoch."""
    for number, rate in enumerate(rates):
        new_n, old_n = split(rng, REQUESTS_N, SHARES[step_of(number)])
        yield seen(
            number, SHARES[step_of(number)], plainly(rng, new_n, rate), plainly(rng, old_n, rate), step_of(number)
        )


def constant(rng: np.random.Generator) -> Iterator[Seen]:
    return of_rates(rng, [0.01] * EPOCHS_N)


def drift(rng: np.random.Generator) -> Iterator[Seen]:
    """From 1 to 3 % while the share climbs: pooled over the ramp, the candidate had the worse times."""
    return of_rates(rng, np.linspace(0.01, 0.03, EPOCHS_N).tolist())


def incident(rng: np.random.Generator) -> Iterator[Seen]:
    """For a tenth of the time 20 %, of both."""
    begins = int(rng.integers(0, EPOCHS_N * 9 // 10))
    return of_rates(rng, [0.2 if begins <= number < begins + EPOCHS_N // 10 else 0.01 for number in range(EPOCHS_N)])


def many(rng: np.random.Generator) -> Iterator[Seen]:
    return of_rates(rng, [0.4] * EPOCHS_N)


def bursts(rng: np.random.Generator) -> Iterator[Seen]:
    """Each arm breaks for itself, twelve times for a second: a pause, a cold cache, a noisy neighbour."""
    covered = [burst_seconds(rng) for _ in range(2)]
    for number in range(EPOCHS_N):
        share = SHARES[step_of(number)]
        arms = []
        for requests_n, seconds in zip(split(rng, REQUESTS_N, share), covered, strict=True):
            inside_n = int(rng.binomial(requests_n, seconds[number] / EPOCH_S))
            bad_n = int(rng.binomial(inside_n, 0.8) + rng.binomial(requests_n - inside_n, 0.01))
            arms.append(Arm(requests_n, {ERROR_RATE: bad_n}, bad_n, units_n=requests_n))
        yield seen(number, share, *arms, step=step_of(number))


def burst_seconds(rng: np.random.Generator, bursts_n: int = 12, length_s: float = 1.0) -> list[float]:
    """How many seconds of each epoch lie in a burst."""
    begins = rng.uniform(0, EPOCHS_N * EPOCH_S - length_s, bursts_n)
    edges = np.arange(EPOCHS_N + 1) * EPOCH_S
    inside = [np.clip(np.minimum(edges[1:], at + length_s) - np.maximum(edges[:-1], at), 0, None) for at in begins]
    return np.minimum(np.sum(inside, axis=0), EPOCH_S).tolist()


def sticky(rng: np.random.Generator) -> Iterator[Seen]:
    """Units that stay with their arm, some of them very busy, a few of them always failing."""
    units_n = 4000
    points, rates = rng.random(units_n), rng.beta(0.02, 1.98, units_n)
    weights = rng.lognormal(0, 1.5, units_n)
    weights /= weights.sum()
    was_met, was_bad = np.zeros(units_n, bool), np.zeros(units_n, bool)
    for number in range(EPOCHS_N):
        share = SHARES[step_of(number)]
        units = rng.choice(units_n, REQUESTS_N, p=weights)
        is_bad = rng.random(REQUESTS_N) < rates[units]
        is_new = points[units] < share
        arms = []
        for mine in (is_new, ~is_new):
            met, bad = np.unique(units[mine]), np.unique(units[mine & is_bad])
            arms.append(
                Arm(
                    int(mine.sum()),
                    {ERROR_RATE: int((~was_bad[bad]).sum())},
                    int((mine & is_bad).sum()),
                    units_n=int((~was_met[met]).sum()),
                )
            )
        was_met[units], was_bad[units[is_bad]] = True, True
        yield seen(number, share, *arms, step=step_of(number))


def batches(rng: np.random.Generator) -> Iterator[Seen]:
    """One run in a hundred fails with all the requests that share it; the busier arm has the fuller runs."""
    for number in range(EPOCHS_N):
        share = SHARES[step_of(number)]
        arms = []
        for requests_n, part in zip(split(rng, REQUESTS_N, share), (share, 1 - share), strict=True):
            size = max(round(16 * part), 1)
            runs_n = max(requests_n // size, 1)
            bad_n = int(rng.binomial(runs_n, 0.01))
            arms.append(Arm(requests_n, {RUN_ERRORS: bad_n}, min(bad_n * size, requests_n), requests_n, runs_n))
        yield seen(number, share, *arms, step=step_of(number))


def overload(rng: np.random.Generator) -> Iterator[Seen]:
    """Now and then the gateway refuses most requests of the busier arm, while those of both that get through fail."""
    refused = np.clip(np.sum([burst_seconds(rng, 1, float(s)) for s in rng.uniform(3, 40, 6)], axis=0), 0, EPOCH_S)
    for number in range(EPOCHS_N):
        share = SHARES[step_of(number)]
        part = float(refused[number]) / EPOCH_S
        new_n, old_n = split(rng, REQUESTS_N, share)
        new_hard, old_hard = int(rng.binomial(new_n, part)), int(rng.binomial(old_n, part))
        withheld_n = int(rng.binomial(old_hard, 0.8))
        arms = []
        for calm_n, hard_n, refused_n in ((new_n - new_hard, new_hard, 0), (old_n - old_hard, old_hard, withheld_n)):
            tried_n = calm_n + hard_n - refused_n
            bad_n = int(rng.binomial(calm_n, 0.01) + rng.binomial(hard_n - refused_n, 0.2))
            arms.append(Arm(tried_n, {ERROR_RATE: bad_n}, bad_n, calm_n + hard_n, withheld_n=refused_n))
        yield seen(number, share, *arms, step=step_of(number))


WORLDS = (
    World("constant 1 %", constant),
    World("base rate drifts 1 to 3 %", drift),
    World("shared incident", incident),
    World("bursts of one arm", bursts, Form.AUTO),
    World("sticky units", sticky),
    World("batches that fail whole", batches, metric=RUN_ERRORS),
    World("overload, requests withheld", overload),
    World("40 % errors", many),
)
CONTRASTS = (World("bursts of one arm, by single events", bursts, Form.EVENTS, is_promised=False),)


class Alarms(NamedTuple):
    """Whether the candidate was rolled back, by whom. `ours` has the guardrail's form, `auto` the form that chooses."""

    ours: bool
    auto: bool
    pooled_z: bool
    fixed: bool


def alarms(world: World, rng: np.random.Generator) -> Alarms:
    """One run of a world, watched by all."""
    stream = list(world.stream(rng))
    ours = rolls_back(rule_with(world.form, metric=world.metric), stream)
    auto = ours if world.form is Form.AUTO else rolls_back(rule_with(Form.AUTO, metric=world.metric), stream)
    return Alarms(ours, auto, pooled_z(stream), fixed_threshold(stream))


def pooled_z(stream: Iterable[Seen]) -> bool:
    """The usual test of two proportions, pooled over the ramp, looked at after each epoch."""
    sums = np.zeros((2, 2))
    for each in stream:
        sums += np.array(each.plain)
        (new_bad, new_n), (old_bad, old_n) = sums.tolist()
        rate = (new_bad + old_bad) / (new_n + old_n)
        error = sqrt(rate * (1 - rate) * (1 / max(new_n, 1) + 1 / max(old_n, 1)))
        if new_n >= 30 and error and (new_bad / new_n - old_bad / old_n) / error > Z_ONE_SIDED:
            return True
    return False


def fixed_threshold(stream: Iterable[Seen]) -> bool:
    """Each minute the candidate's share of good answers must be 99 %; the tenth failed check rolls it back."""
    plain = [each.plain[0] for each in stream]
    minutes = [np.sum(plain[at : at + CHECK_EPOCHS_N], axis=0) for at in range(0, len(plain), CHECK_EPOCHS_N)]
    return sum(bad_n / of_n > 1 - GOOD_SHARE for bad_n, of_n in minutes if of_n) >= FAILED_CHECKS_N
