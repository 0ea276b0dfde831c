"""What the operator's side answers, as its OpenAPI document describes it. publishing/telling.py makes the values."""

from typing import Annotated

from pydantic import Field

from gateway.admin.arms import Answer, ArmLine

Moment = Annotated[float, Field(description="Unix time in seconds.")]
Ppm = Annotated[int, Field(description="Millionths.")]


class Head(Answer):
    """A revision without its documents."""

    revision: int
    at: Moment
    author: str
    cause: str
    reason: str
    digest: str


class Whole(Head):
    """A revision with its documents as they were written, and with what the gateway keeps for each route."""

    previous: Annotated[str, Field(description="The digest of the revision before, empty for the first.")]
    documents: dict[str, str]
    states: dict[str, str]


class History(Answer):
    revisions: list[Head]


class Move(Answer):
    """Units that change arms. `points` of the 2^64 is text, for most readers of JSON keep 53 bits of a number."""

    from_: Annotated[str, Field(alias="from")]
    to: str
    share_ppm: Ppm
    points: str


class RouteChange(Answer):
    """What a change does to one route, exactly."""

    route: str
    words: list[str]
    moves: list[Move]
    dealt_afresh: bool
    experiment: Annotated[str, Field(description="continues, restarts, begins or ends")]
    because: list[str]
    shadow_load_ppm: Annotated[list[Ppm], Field(description="Before and after.", min_length=2, max_length=2)]
    enrolled_ppm: Annotated[list[Ppm], Field(description="Before and after.", min_length=2, max_length=2)]


class Published(Answer):
    """What a change came to. `published` is null when nothing was to be changed, or only a look was wanted."""

    live: int
    published: Head | None
    routes: list[RouteChange]


class Gateway(Answer):
    """One that shares the state."""

    gateway: str
    revision: int
    trouble: Annotated[str, Field(description="Why it does not serve the live revision, empty while it does.")]
    seen_s_ago: float


class Side(Answer):
    """Wins, losses and ties of a ranker beside the baseline, by lists or by units."""

    wins: int
    losses: int
    ties: int
    delta: Annotated[float, Field(description="(wins + ties / 2) / all - 1/2: above 0 the ranker is preferred.")]
    p_value: Annotated[float, Field(description="Always valid: it may be looked at as often as one likes.")]


class Preference(Answer):
    """What clicks on merged lists say of one ranker beside the baseline."""

    ranker: str
    baseline: str
    lists: Side
    units: Side
    win_rate: Annotated[
        list[float], Field(description="Between which it lies among decided lists, 19 times in 20.", min_length=2)
    ]
    is_shown: bool
    decided_needed: Annotated[int | None, Field(description="More of them, if all goes on as before.")]
    settled_at: Moment
    sentence: str


Interval = Annotated[dict[str, float | None], Field(description="estimate, low and high; null where no end is known.")]


class Contrast(Answer):
    """One metric of both arms."""

    metric: str
    kind: Annotated[str, Field(description="rate or mean.")]
    candidate: float
    baseline: float
    candidate_n: Annotated[int, Field(description="What the candidate's is of: requests, runs or values.")]
    baseline_n: int
    difference: Interval | None
    ratio: Interval | None
    differs: bool


class InSlice(Answer):
    """Both arms in one slice of the requests."""

    slice: Annotated[str, Field(description="As in country=nz.")]
    requests: Annotated[list[int], Field(description="Of the candidate and the baseline.", min_length=2, max_length=2)]
    contrasts: list[Contrast]


class Comparison(Answer):
    """What the ledger says of one candidate of an A/B test beside the baseline."""

    candidate: str
    baseline: str
    verdict: Annotated[str, Field(description="fail, halt, unsure, clear or proven.")]
    sentence: str
    missing_requests: Annotated[int | None, Field(description="Of all arms, until it is proven if it is so.")]
    missing_s: Annotated[float | None, Field(description="How long they take at the pace of the last minutes.")]
    is_srm: Annotated[bool, Field(description="Whether the arms do not get the units that their shares promise.")]
    slices: Annotated[list[InSlice], Field(default=[], description="Those that the route declares.")]


class Evidence(Answer):
    """An A/B test so far."""

    experiment: str
    until: Moment
    requests: Annotated[dict[str, int], Field(description="By the arm assigned.")]
    units: dict[str, int]
    comparisons: list[Comparison]


class RouteLine(Answer):
    route: str
    strategy: str
    sentence: str


class Guardrail(Answer):
    """What speaks against a candidate, and for it. Counts are of bad events and what they are counted among."""

    metric: str
    form: str
    e: Annotated[float, Field(description="Against the candidate; at most 10^9.")]
    log_e: float
    log_e_safe: Annotated[float, Field(description="For it: against its being as bad as its margin.")]
    candidate: list[list[int]]
    baseline: list[list[int]]
    limit: Annotated[float | None, Field(description="Of its own rate, where it is not held against the baseline's.")]
    broken: bool
    warned: bool
    safe: bool


class Judgement(Answer):
    """What is known of a rollout. Logarithms are natural ones."""

    experiment: str
    beside: Annotated[str, Field(description="The arm that the candidate is compared to: the baseline, or its twin.")]
    verdict: Annotated[str, Field(description="fail, halt, unsure, clear or proven")]
    why: str
    guardrail: str
    epochs: int
    missing: Annotated[int, Field(description="Requests of the candidate that are missing on this step.")]
    baked_s: float
    bake_s: float
    condemns_at_log_e: float
    guardrails: list[Guardrail]
    noise: Annotated[list[Contrast], Field(default=[], description="How far the twin and the baseline are apart.")]
    slices: Annotated[list[InSlice], Field(default=[], description="Those that the route declares.")]


class StatusLine(RouteLine):
    """A route in a status."""

    judgement: Annotated[Judgement | None, Field(description="Of routes with a rollout.")] = None
    arms: Annotated[list[ArmLine], Field(default=[])]
    preferences: Annotated[list[Preference], Field(default=[], description="Of routes that interleave.")]
    evidence: Annotated[Evidence | None, Field(description="Of A/B tests.")] = None
    lists_open: Annotated[int, Field(description="Clicked lists that more clicks may come to.")] = 0


class Status(Answer):
    """What is live, who serves it, and a sentence on every route."""

    live: Head | None
    frozen: Annotated[str, Field(description="Why nothing may change, empty while it may.")]
    source: Annotated[str, Field(description="The directory that the documents came from.")]
    converged: Annotated[bool, Field(description="Whether every gateway serves what is live.")]
    gateways: list[Gateway]
    routes: list[StatusLine]


class Rollout(Answer):
    """Where a ramp stands. `step` counts from 0."""

    step: int
    phase: str
    reason: str
    author: Annotated[str, Field(description="Who began it, empty where nobody knows.")]
    approver: Annotated[str, Field(description="Who let it go beyond what needs no approval, or nobody.")]


class Route(RouteLine):
    """One route: what it is for, what it does, and where it stands."""

    owner: str | None
    hypothesis: str | None
    expires: str | None
    experiment: str
    held_out_ppm: Annotated[Ppm, Field(description="Of all units: those that meet no experiment.")]
    layer: Annotated[str, Field(description="Which the route shares units with others in, empty for none.")]
    slots_ppm: Annotated[list[Ppm], Field(description="From and to, of that layer.", min_length=2, max_length=2)]
    enrolled_ppm: Annotated[Ppm, Field(description="Of all units: those that take part.")]
    shares_ppm: dict[str, Ppm]
    shadow_ppm: dict[str, Ppm]
    fallback: list[str]
    models: dict[str, str]
    digests: dict[str, str]
    rollout: Rollout | None
    arms: Annotated[list[ArmLine], Field(default=[])]
    judgement: Judgement | None = None


class Chapter(Answer):
    """A revision in which a rollout moved."""

    revision: int
    at: Moment
    author: str
    reason: str
    phase: str
    step: int
    shares_ppm: dict[str, Ppm]
    approver: str


class Story(Answer):
    """What became of a rollout, in order."""

    story: list[Chapter]


class Entry(Answer):
    """Who asked for what and what came of it."""

    number: int
    at: Moment
    author: str
    action: str
    outcome: str
    detail: str
    digest: str


class Audit(Answer):
    entries: list[Entry]


class Problem(Answer):
    """A mistake in a document. Line and column count from 1; 0 is the whole document."""

    file: str
    line: int
    column: int
    what: str
    cure: str


class Refusal(Answer):
    """Why not, for a person; nothing has changed. What else there is depends on the status."""

    error: str
    problems: Annotated[list[Problem] | None, Field(description="422, of documents.")] = None
    reasons: Annotated[list[str] | None, Field(description="409, of a change that cannot be made.")] = None
    live: Annotated[int | None, Field(description="409, of a change made for another revision.")] = None
    author: Annotated[str | None, Field(description="Whose revision that is.")] = None
