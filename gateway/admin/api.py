"""The operator's side: every path is a verb of the command line, every refusal says what to do about it."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.admin.bodies import ApplyBody, ChangeBody, FreezeBody, Number, UndoBody
from gateway.admin.callers import Caller, Callers, Denied
from gateway.admin.gate import Gate
from gateway.config.problems import ConfigRefused
from gateway.publishing.change import ANY, Apply, Change, ChangeRefused, Freeze, Operate, Undo
from gateway.publishing.change import Request as Wish
from gateway.publishing.publisher import Publisher
from gateway.publishing.telling import (
    tell_entry,
    tell_head,
    tell_published,
    tell_revision,
    tell_route,
    tell_status,
)
from gateway.state.errors import PublishConflict, StateError, UnknownRevision
from gateway.state.revision import Cause
from gateway.state.shelf import Shelf
from gateway.state.tokens import TokenRole
from strategies.rollout.machine import Verb

OPERATORS_VERBS = tuple(verb for verb in Verb if verb is not Verb.EXPIRE)
Plain = dict[str, Any]


def admin_app(publisher: Publisher, shelf: Shelf, version: str, hosts: frozenset[str]) -> Gate:
    """An ASGI application that answers under any of the names in `hosts`."""
    app = FastAPI(title="Turnout admin", version=version, docs_url=None, redoc_url=None)
    callers = Callers(shelf)
    app.include_router(_looks(publisher, shelf, _admission(callers, TokenRole.OBSERVE)))
    app.include_router(_changes(publisher, _admission(callers, TokenRole.OPERATE)))
    _add_refusals(app)
    return Gate(app, hosts)


def _admission(callers: Callers, role: TokenRole) -> Any:
    """A dependency that is who asks, or a refusal."""

    def admitted(
        request: Request,
        authorization: Annotated[str, Header(description="Bearer TOKEN, where the state has tokens.")] = "",
        x_turnout_author: Annotated[str, Header(description="Who asks, where it has none.")] = "",
    ) -> Caller:
        action = f"{request.method} {request.url.path}"
        return callers.admit(authorization, x_turnout_author, role, action)

    return Depends(admitted)


def _looks(publisher: Publisher, shelf: Shelf, admission: Any) -> APIRouter:
    app = APIRouter(dependencies=[admission])

    @app.get("/v1/status")
    def status() -> Plain:
        """What is live, who serves it, and a sentence on every route."""
        heads = shelf.store().history(limit_n=1)
        return tell_status(publisher.meaning, heads[0] if heads else None, shelf.members().all(), publisher.now())

    @app.get("/v1/routes/{route}")
    def route(route: str) -> Plain:
        """One route: what it is for, what it does, and where it stands."""
        meaning = publisher.meaning
        if route not in meaning.routes:
            raise HTTPException(404, f"no route is called '{route[:128]}'; there is {', '.join(meaning.routes)}")
        return tell_route(meaning, route)

    @app.get("/v1/revisions")
    def revisions(
        limit: Annotated[int, Query(ge=1, le=1000)] = 20, before: Annotated[Number | None, Query()] = None
    ) -> Plain:
        """Who changed what is live, when and why; the latest first, continued below `before`."""
        return {"revisions": [tell_head(head) for head in shelf.store().history(limit_n=limit, before=before)]}

    @app.get("/v1/revisions/live")
    def live() -> Plain:
        """The live revision with its documents."""
        found = shelf.store().live()
        if found is None:
            raise HTTPException(404, "nothing has been published yet")
        return tell_revision(found)

    @app.get("/v1/revisions/{number}")
    def revision(number: Number) -> Plain:
        """A revision with its documents."""
        return tell_revision(shelf.store().get(number))

    @app.get("/v1/audit")
    def audit(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100, before: Annotated[Number | None, Query()] = None
    ) -> Plain:
        """Who asked for what and what came of it; the latest first, continued below `before`."""
        return {"entries": [tell_entry(entry) for entry in shelf.audit().entries(limit_n=limit, before=before)]}

    return app


def _changes(publisher: Publisher, admission: Any) -> APIRouter:
    app = APIRouter()

    async def publish(change: Change, body: ChangeBody, caller: Caller, cause: Cause) -> Plain:
        expects = ANY if body.expects is None else body.expects
        wish = Wish(change, caller.author, cause, body.reason, expects)
        return tell_published(await publisher.publish(wish, is_dry=body.dry_run))

    @app.post("/v1/apply")
    async def apply(body: ApplyBody, caller: Annotated[Caller, admission]) -> Plain:
        """Make documents live, all or none. Answers when requests are routed by them."""
        return await publish(Apply(body.documents, frozenset(body.restart)), body, caller, Cause.APPLY)

    @app.post("/v1/undo")
    async def undo(body: UndoBody, caller: Annotated[Caller, admission]) -> Plain:
        """Go back to earlier documents. Rollouts stay where they are."""
        return await publish(Undo(body.to_revision or 0, frozenset(body.restart)), body, caller, Cause.UNDO)

    @app.post("/v1/freeze")
    async def freeze(body: FreezeBody, caller: Annotated[Caller, admission]) -> Plain:
        """Let nothing change but for rollback and hold, until it is lifted."""
        return await publish(Freeze(body.reason), body, caller, Cause.OPERATE)

    def add(verb: Verb) -> None:
        @app.post(f"/v1/routes/{{route}}/{verb}", name=verb.value)
        async def operate(route: str, body: ChangeBody, caller: Annotated[Caller, admission]) -> Plain:
            """Move a route's rollout."""
            return await publish(Operate(route, verb, body.reason), body, caller, Cause.OPERATE)

    for verb in OPERATORS_VERBS:
        add(verb)
    return app


def _add_refusals(app: FastAPI) -> None:
    def refuse(kind: type[Exception], answer: Callable[[Any], tuple[int, Plain]]) -> None:
        async def handle(_request: Request, error: Exception) -> Response:
            status, body = answer(error)
            headers = {"www-authenticate": "Bearer"} if status == 401 else None
            return JSONResponse(body, status, headers)

        app.add_exception_handler(kind, handle)

    refuse(Denied, lambda error: (error.status, {"error": str(error)}))
    refuse(HTTPException, lambda error: (error.status_code, {"error": str(error.detail)}))
    refuse(RequestValidationError, lambda error: (422, {"error": _words_of(error)}))
    refuse(ConfigRefused, lambda error: (422, {"error": str(error), "problems": _problems(error)}))
    refuse(ChangeRefused, lambda error: (409, {"error": str(error), "reasons": list(error.reasons)}))
    refuse(PublishConflict, lambda error: (409, {"error": str(error), "live": error.live, "author": error.author}))
    refuse(UnknownRevision, lambda error: (404, {"error": str(error)}))
    refuse(StateError, lambda error: (503, {"error": str(error)}))


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
