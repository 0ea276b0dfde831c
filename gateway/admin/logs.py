"""What the replicas of an arm have said, asked of whoever hosts them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gateway.config.compiled import CompiledArm, CompiledRoute
from gateway.publishing.publisher import Publisher
from runners.ray.logs import LogsAway
from runners.ray.wanted import Tailed

Tail = Callable[[str, int], Awaitable[Tailed]]  # application and lines; raises LogsAway
LINES_MOST = 1000
ON_RAY = "only replicas on Ray have logs of their own"
OWN_LOG = "in the gateway's own log, which turnout serve writes to standard error"


class ReplicaLog(BaseModel):
    """The end of what one replica wrote, at most 64 KiB of it."""

    replica: str
    node: str
    lines: list[str]


class Logs(BaseModel):
    """What the replicas of an arm wrote last, also those that have ended; who wrote last of all is at the end."""

    route: str
    arm: str
    application: str
    trouble: Annotated[str, Field(description="Whose could not be read, and why; empty if all were.")]
    replicas: list[ReplicaLog]


def add_logs(app: APIRouter, publisher: Publisher, tail: Tail | None) -> None:
    """The path on which they are asked for. Without `tail` there is no cluster."""

    @app.get("/v1/arms/{arm}/logs", response_model=Logs)
    async def logs(
        arm: Annotated[str, Path(description="The arm's name.")],
        route: Annotated[str, Query(description="Which route's, where several have an arm of that name.")] = "",
        lines: Annotated[int, Query(ge=1, le=LINES_MOST)] = 100,
    ) -> dict[str, Any]:
        """The last lines that an arm's replicas on Ray wrote. An arm that the gateway runs itself has no other log."""
        where, found = _found(publisher.meaning.routes, route, arm)
        hosting = found.model.hosting
        if hosting is None or not hosting.key:
            place = "is asked at another server" if found.model.server else "is run by the gateway itself"
            other = "read them there" if found.model.server else f"what is said of it is {OWN_LOG}"
            raise HTTPException(409, f"arm '{arm}' of route '{where}' {place}: {ON_RAY}; {other}")
        if tail is None:
            raise HTTPException(503, "this gateway knows no Ray cluster")
        try:
            tailed = await tail(hosting.key, lines)
        except LogsAway as away:
            raise HTTPException(503, str(away)) from None
        return {
            "route": where,
            "arm": arm,
            "application": hosting.key,
            "trouble": tailed.trouble,
            "replicas": [{"replica": each.replica, "node": each.node, "lines": each.lines} for each in tailed.tails],
        }


def _found(routes: Mapping[str, CompiledRoute], route: str, arm: str) -> tuple[str, CompiledArm]:
    """The arm and its route. Several are one where they share what is hosted."""
    if route and route not in routes:
        raise HTTPException(404, f"no route is called '{route}'; there is {', '.join(routes) or 'none'}")
    looked = {name: each for name, each in routes.items() if not route or name == route}
    found = [(name, each) for name, of in looked.items() for each in of.arms if each.arm.name == arm]
    if not found:
        names = sorted({each.arm.name for of in looked.values() for each in of.arms})
        raise HTTPException(404, f"no arm is called '{arm}'; there is {', '.join(names) or 'none'}")
    if len({each.key for _, each in found}) > 1:
        raise HTTPException(409, f"routes {', '.join(name for name, _ in found)} have an arm '{arm}'; say which: route")
    return found[0]
