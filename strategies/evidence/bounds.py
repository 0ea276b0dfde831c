"""What an operator demands of a candidate, compiled: bounds on metrics, and how sure one wants to be."""

from enum import StrEnum
from math import log

from msgspec import Struct

from strategies.evidence.epochs import LATENCY_METRICS

LATENCY = "latency"  # all three quantiles as one guardrail: their evidence is averaged


class Form(StrEnum):
    """What one observation is."""

    EVENTS = "events"  # the single bad event: for what a model does by itself, independently for each request
    BLOCKS = "blocks"  # ten seconds: for what comes in bursts
    AUTO = "auto"  # events, but a few epochs alone never convict; blocks once events come in bursts


class Bound(Struct, frozen=True, kw_only=True):
    """One guardrail on a metric of bad events.

    Harm is proven against "at most `tolerated` times the baseline's rate", or with `limit` against "at most this share
    of the candidate's requests", whatever the baseline's. A candidate is safe when it is proven to stay below `ratio`
    times the baseline's rate, or its rate below `rate` (for events so rare that no ratio can be proven); with `limit`,
    when its rate is below that. `ratio` lies above `tolerated`. With `window_n` the test begins anew every so many
    epochs, beside going on, so that a longer good past makes up for nothing.
    """

    metric: str
    ratio: float = 1.5
    rate: float | None = None
    tolerated: float = 1.0
    limit: float | None = None
    window_n: int = 0
    form: Form = Form.AUTO

    @property
    def metrics(self) -> tuple[str, ...]:
        return LATENCY_METRICS if self.metric == LATENCY else (self.metric,)


class Rule(Struct, frozen=True, kw_only=True):
    """When a candidate is condemned, may climb, may take over: with what chance of error.

    `alpha` is the chance that a candidate which breaks no bound is ever condemned, in the whole rollout, over all its
    steps and bounds, however often one looks. `beta` is the chance that one at a bound's `ratio` is proven safe.
    `n_min` candidate requests are needed on each step. Where the baseline is a second copy, `rest` is the arm that it
    is a copy of: by that one sees whether the copy is sound.
    """

    candidate: str
    baseline: str
    bounds: tuple[Bound, ...]
    alpha: float = 0.01
    beta: float = 0.05
    n_min: int = 300
    srm_alpha: float = 0.001
    rest: str = ""

    @property
    def each_alpha(self) -> float:
        """What each bound may spend."""
        return self.alpha / max(len(self.bounds), 1)

    @property
    def condemns_at(self) -> float:
        """Log E of any one bound."""
        return -log(self.each_alpha)

    @property
    def warns_at(self) -> float:
        """Log E of any one bound at which a candidate climbs no further."""
        return -log(2 * self.alpha)

    @property
    def proves_at(self) -> float:
        """Log E of every bound."""
        return -log(self.beta)
