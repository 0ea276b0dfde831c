"""Values between deciding, doing and recording."""

from enum import StrEnum
from fractions import Fraction

from msgspec import Struct
from msgspec.structs import replace

from gateway.routing.table import BoundArm, BoundRoute
from runners.core.errors import RunnerError
from runners.core.tensor import InferenceRequest, InferenceResponse
from strategies.core.plan import Decision, RequestFacts


class CallRole(StrEnum):
    """What a call was made for."""

    SERVE = "serve"
    FALLBACK = "fallback"
    PARTNER = "partner"
    SHADOW = "shadow"


class Routed(Struct, frozen=True, gc=False):
    """A request with its route and its decision: everything the executor and the recorder need."""

    request: InferenceRequest
    route: BoundRoute
    facts: RequestFacts
    decision: Decision
    deadline_at: float
    may_fall_back: bool = True


class Observation(Struct, frozen=True, gc=False):
    """One call to one arm. `cause` is "" or the code of the error; times are monotonic seconds.

    `batch_rows` and `queued_s` are those of the response, 0 where there is none; `run`, `loses_run` and `is_untried`
    those of the response or of the error.
    """

    bound: BoundArm
    role: CallRole
    cause: str
    started_at: float
    duration_s: float
    batch_rows: int = 0
    queued_s: float = 0.0
    run: int = 0
    loses_run: bool = False
    is_untried: bool = False


class Impression(Struct, frozen=True, gc=False):
    """One merged list as it was shown, which is row `row` of the answer.

    `rankers` are the arms whose lists were merged, the baseline first; `shares` has for each place what part of a click
    each of them gets, nothing where the place belongs to nobody. `lists` is what each of them ranked, as far as it was
    merged, and () where the answers stand side by side; their items are then the slots.
    """

    row: int
    items: tuple[str, ...]
    rankers: tuple[str, ...]
    shares: tuple[tuple[Fraction, ...], ...]
    lists: tuple[tuple[str, ...], ...] = ()


class Outcome(Struct, frozen=True):
    """What a request came to. `answered` is the arm whose answer it is, None when all failed.

    Where answers should be merged, `impressions` are the lists that were, `not_interleaved` says why none were, and
    `own` is what the arm that answered said by itself.

    The collector knows it, unlike its neighbours: an error that was raised leads by its traceback to frames that hold
    the outcome it stands in, and such a ring would otherwise stay in memory for ever.
    """

    answer: InferenceResponse | RunnerError
    answered: BoundArm | None
    observations: tuple[Observation, ...]
    impressions: tuple[Impression, ...] = ()
    not_interleaved: str = ""
    own: InferenceResponse | None = None

    @property
    def unmerged(self) -> "Outcome":
        """The same as if nobody else had been asked: what another arm's answer may be compared to."""
        if self.own is None:
            return self
        alone = tuple([seen for seen in self.observations if seen.role is not CallRole.PARTNER])
        return replace(self, answer=self.own, observations=alone)

    @property
    def blames_caller(self) -> bool:
        """Whether the request itself was at fault, so that no arm could have answered it."""
        return isinstance(self.answer, RunnerError) and not self.answer.fallback_helps

    @property
    def fallback_cause(self) -> str:
        """Why somebody else had to answer: the first call's error, "" when nobody had to."""
        observations = self.observations
        if len(observations) > 1 and observations[1].role is CallRole.FALLBACK:
            return observations[0].cause
        return ""
