"""Attribution: who answered and why, under the names of our own that go out with an answer.

All of it is known once a route is bound, so every form is encoded once per route, plan and answering arm, and a request
only looks it up.
"""

from time import time
from typing import Final
from urllib.parse import quote

from msgspec import Struct, json
from msgspec.structs import replace

from gateway.arrival import REQUEST_ID_LIMIT, Arrival, request_id_of
from gateway.execution.outcome import Outcome, Routed
from gateway.feedback.keys import Keys, hide_unit
from gateway.feedback.token import Origin, seal
from gateway.frontends.http2.headers import field
from gateway.routing.table import BoundArm, BoundRoute
from runners.oip.messages import ModelInferResponse
from strategies.core.plan import Plan

KNOWN_LIMIT = 4096  # of attributions kept; forgetting them all is harmless
REQUEST_ID = "x-request-id"
TOKEN = "turnout_token"  # noqa: S105 - the parameter's name
VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class Attribution(Struct, frozen=True):
    """One answer's names in every form it can go out in.

    `json_head` opens a response body up to its parameters, and lacks the closing brace; `head_lines` are header lines
    of HTTP/1.1, `grpc_metadata` is part of a header block of HTTP/2; `grpc_head` is a serialised ModelInferResponse, to
    which the outputs are appended. The first three fields are what it was made for.
    """

    route: BoundRoute
    plan: Plan
    answered: BoundArm
    head_lines: bytes
    json_head: bytes
    grpc_metadata: bytes
    grpc_head: bytes


class Attributions:
    """Finds the attribution of an answer, making it the first time."""

    def __init__(self, keys: Keys | None = None) -> None:
        """`keys` seal what answers with merged lists carry for feedback."""
        self._keys = keys
        self._known: dict[tuple[int, int, int, str, str], Attribution] = {}
        self._revision = 0

    def of(self, routed: Routed, outcome: Outcome) -> Attribution:
        """For an outcome that has an answer. Objects are told apart by identity: what is kept here keeps them alive."""
        route, plan, answered = routed.route, routed.decision.plan, outcome.answered
        assert answered is not None
        observations = outcome.observations
        cause = observations[0].cause if len(observations) > 1 else ""
        key = (id(route), id(plan), id(answered), cause, outcome.not_interleaved)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KNOWN_LIMIT or route.revision > self._revision:  # or closed models would stay here
                self._known.clear()
                self._revision = route.revision
            known = self._known[key] = attribute(route, plan, answered, cause, outcome.not_interleaved)
        if outcome.impressions and self._keys is not None:
            return with_token(known, _seal(self._keys, routed, outcome))
        return known


def attribute(
    route: BoundRoute, plan: Plan, answered: BoundArm, fallback_cause: str, not_interleaved: str = ""
) -> Attribution:
    """Write down who answered. The fallback is named only when one was needed, partners only on a merged plan."""
    version = answered.version
    names: dict[str, str | int] = {
        "arm": answered.arm.name,
        "version": version,
        "revision": route.revision,
        "reason": str(plan.reason),
    }
    if fallback_cause:
        names["fallback"] = fallback_cause
    if not_interleaved:
        names["not_interleaved"] = not_interleaved
    elif plan.merge is not None:
        names["interleaved"] = plan.label
    lines = [(f"x-turnout-{name.replace('_', '-')}", quote(str(value), safe=VISIBLE)) for name, value in names.items()]
    parameters = {f"turnout_{name}": value for name, value in names.items()}
    opening = json.encode({"model_name": route.name, "model_version": version, "parameters": parameters})
    return Attribution(
        route=route,
        plan=plan,
        answered=answered,
        head_lines="".join([f"{name}: {value}\r\n" for name, value in lines]).encode(),
        json_head=opening[:-1],
        grpc_metadata=b"".join([field(name.encode(), value.encode()) for name, value in lines]),
        grpc_head=_message(route.name, version, parameters),
    )


def with_token(known: Attribution, token: str) -> Attribution:
    """The same for one answer alone, which carries a token among its parameters."""
    message = ModelInferResponse()
    message.parameters[TOKEN].string_param = token
    return replace(
        known,
        json_head=b'%b,"%b":"%b"}' % (known.json_head[:-1], TOKEN.encode(), token.encode()),
        grpc_head=known.grpc_head + message.SerializeToString(),
    )


def _seal(keys: Keys, routed: Routed, outcome: Outcome) -> str:
    route, facts = routed.route, routed.facts
    unit = hide_unit(keys, facts.unit)
    return seal(keys, Origin(facts.event_id, route.name, route.experiment, unit, time()), outcome.impressions)


def request_id_header(arrival: Arrival, body_id: str) -> str:
    """The request's id as a header can carry it: one of another alphabet or of great length gives way to our own."""
    request_id = request_id_of(arrival, body_id)
    if len(request_id) <= REQUEST_ID_LIMIT and request_id.isascii() and request_id.isprintable():
        return request_id
    return arrival.event_id


def _message(name: str, version: str, parameters: dict[str, str | int]) -> bytes:
    message = ModelInferResponse(model_name=name, model_version=version)
    for key, value in parameters.items():
        if isinstance(value, int):
            message.parameters[key].int64_param = value
        else:
            message.parameters[key].string_param = value
    return message.SerializeToString()
