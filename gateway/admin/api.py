"""The operator's side: every path is a verb of the command line, every refusal says what to do about it."""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from gateway.admin import answers
from gateway.admin.bodies import ApplyBody, ChangeBody, FreezeBody, Number, RouteName, UndoBody
from gateway.admin.callers import Caller, Callers
from gateway.admin.gate import DOCUMENT, Gate
from gateway.admin.logs import Tail, add_logs
from gateway.config.problems import ConfigRefused
from gateway.publishing.change import ANY, Apply, Change, ChangeRefused, Freeze, Operate, Undo
from gateway.publishing.change import Request as Wish
from gateway.publishing.evidence import Watches, add_all_evidence, add_evidence
from gateway.publishing.preferences import add_preferences
from gateway.publishing.publisher import Publisher
from gateway.publishing.story import tell_story
from gateway.publishing.telling import (
    tell_entry,
    tell_head,
    tell_published,
    tell_revision,
    tell_route,
    tell_status,
)
from gateway.publishing.trials import Trials
from gateway.state.errors import PublishConflict, StateError, UnknownRevision
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from strategies.rollout.machine import PEOPLES_VERBS, Verb

Plain = dict[str, Any]
Named = Annotated[RouteName, Path(description="The route's public name.")]
TOKEN = HTTPBearer(
    scheme_name="token",
    auto_error=False,
    description="Made by `turnout token create NAME --role operate`, or `--role observe` for those who only look. "
    "While the state never had a token, everybody on the gateway's own machine may ask.",
)
REFUSALS = {
    400: "The body cannot be read.",
    401: "A valid token is needed.",
    403: "The token's role is not enough, or the gateway is not called that.",
    404: "There is no such thing.",
    409: "It cannot be done now, or not to this revision.",
    413: "The body is too long.",
    415: "The body is not JSON.",
    422: "It cannot be done as it was written.",
    503: "The state is away.",
}
LOOK_REFUSALS, CHANGE_REFUSALS = (401, 403, 404, 422, 503), tuple(REFUSALS)


def admin_app(
    publisher: Publisher, shelf: Shelf, version: str, hosts: frozenset[str], tail: Tail | None = None
) -> Gate:
    """An ASGI application that answers under any of the names in `hosts`. `tail` reads logs on a cluster."""
    return Gate(described_app(publisher, shelf, version, tail), Callers(shelf), hosts)


def described_app(publisher: Publisher, shelf: Shelf, version: str, tail: Tail | None = None) -> FastAPI:
    """What is behind the gate, with the OpenAPI document."""
    app = FastAPI(title="Turnout admin", version=version, docs_url=None, redoc_url=None, openapi_url=DOCUMENT)
    app.include_router(_looks(publisher, shelf))
    app.include_router(_logs(publisher, tail))
    app.include_router(_memories(shelf))
    app.include_router(_changes(publisher))
    _add_refusals(app)
    return app


def _router(*statuses: int) -> APIRouter:
    described: dict[int | str, Plain] = {
        status: {"model": answers.Refusal, "description": REFUSALS[status]} for status in statuses
    }
    return APIRouter(responses=described, dependencies=[Depends(TOKEN)])


def _looks(publisher: Publisher, shelf: Shelf) -> APIRouter:
    """What is so."""
    app, trials, watches = _router(*LOOK_REFUSALS), Trials(), Watches()

    @app.get("/v1/status", response_model=answers.Status)
    def status() -> Plain:
        """What is live, who serves it, and a sentence on every route."""
        heads, now = shelf.store().history(limit_n=1), publisher.now()
        meaning = publisher.meaning
        told = tell_status(meaning, heads[0] if heads else None, shelf.members().present(now), now)
        told = add_all_evidence(told, meaning, watches.look(meaning, shelf.ledger(), now))
        return trials.add(add_preferences(told, meaning, shelf.clicks().standing), meaning, shelf.ledger)

    @app.get("/v1/routes/{route}", response_model=answers.Route)
    def route(route: Named) -> Plain:
        """One route: what it is for, what it does, and where it stands."""
        meaning = publisher.meaning
        if route not in meaning.routes:
            raise HTTPException(404, f"no route is called '{route}'; there is {', '.join(meaning.routes) or 'none'}")
        now = publisher.now()
        told = tell_route(meaning, route, shelf.members().present(now))
        return add_evidence(told, meaning, watches.look(meaning, shelf.ledger(), now))

    return app


def _logs(publisher: Publisher, tail: Tail | None) -> APIRouter:
    """What is said elsewhere."""
    app = _router(*LOOK_REFUSALS, 409)
    add_logs(app, publisher, tail)
    return app


def _memories(shelf: Shelf) -> APIRouter:
    """What was so."""
    app = _router(*LOOK_REFUSALS)

    @app.get("/v1/revisions", response_model=answers.History)
    def revisions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 20, before: Annotated[Number | None, Query()] = None
    ) -> Plain:
        """Who changed what is live, when and why; the latest first, continued below `before`."""
        return {"revisions": [tell_head(head) for head in shelf.store().history(limit_n=limit, before=before)]}

    @app.get("/v1/revisions/live", response_model=answers.Whole)
    def live() -> Plain:
        """The live revision with its documents."""
        found = shelf.store().live()
        if found is None:
            raise HTTPException(404, "nothing has been published yet")
        return tell_revision(found)

    @app.get("/v1/revisions/{number}", response_model=answers.Whole)
    def revision(number: Number) -> Plain:
        """A revision with its documents."""
        return tell_revision(shelf.store().get(number))

    @app.get("/v1/routes/{route}/story", response_model=answers.Story)
    def story(route: Named) -> Plain:
        """What became of a route's rollout since its experiment began, in order; nothing where it has none."""
        return {"story": tell_story(shelf.store(), route)}

    @app.get("/v1/audit", response_model=answers.Audit)
    def audit(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: Annotated[Number | None, Query()] = None
    ) -> Plain:
        """Who asked for what and what came of it; the latest first, continued below `before`."""
        return {"entries": [tell_entry(entry) for entry in shelf.audit().entries(limit_n=limit, before=before)]}

    return app


def _caller(
    request: Request,
    _x_turnout_author: Annotated[
        str, Header(alias="x-turnout-author", description="Who asks, while the state has no token to tell by.")
    ] = "",
) -> Caller:
    """Whom the gate admitted."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


Asking = Annotated[Caller, Depends(_caller)]


def _changes(publisher: Publisher) -> APIRouter:
    app = _router(*CHANGE_REFUSALS)

    async def publish(change: Change, body: ChangeBody, caller: Caller, cause: Cause) -> Plain:
        expects = ANY if body.expects is None else body.expects
        wish = Wish(change, caller.author, cause, body.reason, expects)
        return tell_published(await publisher.publish(wish, is_dry=body.dry_run))

    @app.post("/v1/apply", response_model=answers.Published)
    async def apply(body: ApplyBody, caller: Asking) -> Plain:
        """Make documents live, all or none. Answers when requests are routed by them."""
        return await publish(Apply(body.documents, frozenset(body.restart)), body, caller, Cause.APPLY)

    @app.post("/v1/undo", response_model=answers.Published)
    async def undo(body: UndoBody, caller: Asking) -> Plain:
        """Go back to earlier documents. Rollouts stay where they are."""
        return await publish(Undo(body.to_revision or 0, frozenset(body.restart)), body, caller, Cause.UNDO)

    @app.post("/v1/freeze", response_model=answers.Published)
    async def freeze(body: FreezeBody, caller: Asking) -> Plain:
        """Let nothing change but for rollback and hold, until it is lifted."""
        return await publish(Freeze(body.reason), body, caller, Cause.OPERATE)

    def add(verb: Verb) -> None:
        @app.post(f"/v1/routes/{{route}}/{verb}", name=verb.value, response_model=answers.Published)
        async def operate(route: Named, body: ChangeBody, caller: Asking) -> Plain:
            """Move a route's rollout."""
            return await publish(Operate(route, verb, body.reason), body, caller, Cause.OPERATE)

    for verb in PEOPLES_VERBS:
        add(verb)
    return app


def _add_refusals(app: FastAPI) -> None:
    def refuse(kind: type[Exception], answer: Callable[[Any], tuple[int, Plain]]) -> None:
        async def handle(_request: Request, error: Exception) -> Response:
            status, body = answer(error)
            headers = error.headers if isinstance(error, HTTPException) else None
            text = json.dumps(body)  # in ASCII, for what is refused may not be text at all
            return Response(text, status, headers, "application/json")

        app.add_exception_handler(kind, handle)

    refuse(HTTPException, lambda error: (error.status_code, {"error": _words_of_http(error)}))
    refuse(RequestValidationError, lambda error: (422, {"error": _words_of(error)}))
    refuse(ConfigRefused, lambda error: (422, {"error": str(error), "problems": _problems(error)}))
    refuse(ChangeRefused, lambda error: (409, {"error": str(error), "reasons": list(error.reasons)}))
    refuse(PublishConflict, lambda error: (409, {"error": str(error), "live": error.live, "author": error.author}))
    refuse(UnknownRevision, lambda error: (404, {"error": str(error)}))
    refuse(StateError, lambda error: (503, {"error": str(error)}))
    refuse(Exception, lambda _error: (500, {"error": "the gateway has failed at this; its log says how"}))


def _problems(refused: ConfigRefused) -> list[Plain]:
    return [
        {
            "file": str(each.file),
            "line": each.line,
            "column": each.column,
            "what": each.problem.what,
            "cure": each.problem.cure,
        }
        for each in refused.problems
    ]


def _words_of(error: RequestValidationError) -> str:
    found = [f"{'.'.join(map(str, each['loc'][1:])) or 'the body'}: {each['msg']}" for each in error.errors()]
    return "; ".join(found[:10])


def _words_of_http(error: HTTPException) -> str:
    return f"there is nothing here; {DOCUMENT} says what there is" if error.detail == "Not Found" else error.detail
