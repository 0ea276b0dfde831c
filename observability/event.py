"""Wide events: one flat record per request, one per shadow call, one per turn in the gateway's own life.

`at` is Unix time in seconds: when the request arrived (a shadow's too, so that *_ms counted from it agree), or when the
gateway did what a life event says. "" and () mean absent. docs/events.md lists every field; a test holds it to that.
"""

from msgspec import Struct


class Call(Struct, frozen=True, gc=False):
    """One call to a model. `role` is serve, fallback, partner or shadow, `status` ok or failed, `cause` its code."""

    arm: str
    version: str
    digest: str
    provider: str
    role: str
    status: str
    cause: str
    started_ms: float  # since the request arrived
    duration_ms: float
    batch_rows: int = 0  # rows of the run that answered, those of other callers included; 0 where none is shared
    queued_ms: float = 0.0  # of the duration, what passed before that run began


class ShownRow(Struct, frozen=True, gc=False):
    """One merged list of an answer, and all that it was made of.

    `lists` are what the rankers ranked, `items` what was shown, `teams` whose each place is: an arm, "" for nobody, or
    every arm's part, as in "old=8/9 new=1/9".
    """

    row: int
    lists: tuple[tuple[str, ...], ...]
    items: tuple[str, ...]
    teams: tuple[str, ...]


class Interleaving(Struct, frozen=True, gc=False):
    """How answers were merged. Coins are bits of SHA-256(salt 0x1F event id 0x1F row)."""

    method: str  # team_draft, probabilistic, both
    salt: str
    rankers: tuple[str, ...]
    rows: tuple[ShownRow, ...]


class RequestEvent(Struct, frozen=True, gc=False, tag_field="event", tag="request"):
    """What one request came to, whoever was still there to hear it."""

    at: float
    event_id: str
    request_id: str
    trace_id: str = ""
    span_id: str = ""
    unit_hash: str = ""  # the raw unit until the writer hashes it, see observability/sinks
    unit_kind: str = ""  # the name of what was assigned, or "request" when the caller brought no unit
    attributes: dict[str, str] = {}
    route: str = ""
    revision: int = 0
    experiment: str = ""
    strategy: str = ""
    assigned_arm: str = ""  # the arm this request is counted for, "" for none
    answered_arm: str = ""  # the arm whose answer went out, "" for none
    share_ppm: int = 0
    reason: str = ""
    shadows: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    fallback_cause: str = ""
    status: str = ""  # ok, or the code of the error
    error: str = ""
    protocol: str = ""  # http, grpc
    http_status: int = 0  # 0 for gRPC
    grpc_status: str = ""  # "" for HTTP
    rows: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    duration_ms: float = 0.0
    deadline_ms: float = 0.0  # the budget the request came with or was given
    caller: str = ""  # peer address
    interleaving: Interleaving | None = None
    not_interleaved: str = ""  # why answers that should be were not


class ShadowEvent(Struct, frozen=True, gc=False, tag_field="event", tag="shadow"):
    """One shadow call, or the reason there was none. `count` calls for one reason may be told by the first of them."""

    at: float
    event_id: str
    request_id: str
    trace_id: str
    unit_hash: str
    unit_kind: str
    route: str
    revision: int
    experiment: str
    answered_arm: str
    arm: str
    outcome: str  # match, mismatch, uncompared, failed, dropped
    dropped: str  # why it was dropped: queue, bytes, expired, not_ready, shutdown
    agreement: float  # share of elements that agree with the answer served; -1 when not compared
    call: Call | None
    rows: int
    answered_digest: str = ""  # of the model whose answer went out: a shadow of the same digest is a twin
    answered_ms: float = 0.0  # what the call that answered took
    max_abs: float = 0.0  # largest distance of two numbers of both answers
    max_rel: float = 0.0
    invalid: str = ""  # names, shape, datatype, nan: the answer could not stand in for the one served
    labels: int = 0  # labels compared, and how many are another
    flips: int = 0
    lists: int = 0  # orders compared, and the means of how alike they are
    tau: float = 1.0
    rbo: float = 1.0
    overlap: float = 1.0
    served: str = ""  # both answers, where they differ and the route captures them
    shadowed: str = ""
    count: int = 1  # calls that this tells of, more than one only of those dropped


class FeedbackEvent(Struct, frozen=True, gc=False, tag_field="event", tag="feedback"):
    """Clicks on a merged list, as one post told them. What is known of a token that is worth nothing is absent."""

    at: float
    event_id: str  # of the request whose answer was clicked
    route: str
    experiment: str
    age_s: float  # since the list was shown
    rows: tuple[int, ...]
    items: tuple[str, ...]
    results: tuple[str, ...]  # accepted, duplicate, late, unknown_item; for the token alone: forged, foreign, late
    caller: str


class LifeEvent(Struct, frozen=True, tag_field="event", tag="life"):
    """A turn in the gateway's own life: started, revision published, an arm loaded, degraded, refused, stopped."""

    at: float
    kind: str
    route: str
    arm: str
    message: str
    revision: int = 0
    digest: str = ""
    provider: str = ""


class Identity(Struct, frozen=True):
    """Who writes: stamped on every line by the writer, so that no request pays for it."""

    gateway: str
    host: str
    process: int
    code_version: str


WideEvent = RequestEvent | ShadowEvent | FeedbackEvent | LifeEvent
