"""Fakes shared by the gateway's tests: endpoints with a script, routes built from a document."""

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from gateway.arrival import Arrival, EventIds
from gateway.config.compile import compile_route
from gateway.config.contents import Contents
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.yaml import YamlText, dump
from gateway.execution.outcome import Routed
from gateway.publishing.prepare import nothing_yet, prepare
from gateway.routing.table import BoundArm, BoundRoute
from gateway.tally import RouteTally
from runners.core.errors import DeadlineExceeded, RunnerError
from runners.core.runner import Description
from runners.core.tensor import InferenceRequest, InferenceResponse, Signature, Tensor, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 1)),))
EVENT_IDS = EventIds()
TODAY = date(2026, 11, 26)


class ScriptedEndpoint:
    """Answers with its own number, or does what its script says: raise an error, or hang until the deadline."""

    def __init__(self, number: float, script: RunnerError | Exception | str | None = None) -> None:
        self.number = number
        self.script = script
        self.calls: list[float] = []
        self.closed = False
        self.description = Description(SIGNATURE, "fake", f"v{number:g}", f"{number:064g}", "cpu")

    def ready(self) -> bool:
        return self.script != "not ready" and not self.closed

    async def infer(self, request: InferenceRequest, /, *, deadline_at: float) -> InferenceResponse:
        self.calls.append(deadline_at)
        if isinstance(self.script, Exception):
            raise self.script
        if self.script == "hang":
            await asyncio.sleep(max(0.0, deadline_at - monotonic()))
            raise DeadlineExceeded("hung")
        if isinstance(self.script, asyncio.Event):
            await self.script.wait()
        return InferenceResponse((Tensor("y", "FP32", np.full((1, 1), self.number, np.float32)),))

    async def close(self) -> None:
        self.closed = True


class SilentMeter:
    """Counts what it is told and nothing else."""

    def __init__(self) -> None:
        self.begun = 0
        self.due: list[str] = []
        self.events: list[object] = []
        self.dropped: list[tuple[str, str]] = []

    def begin(self) -> None:
        self.begun += 1

    def record(self, event: object) -> None:
        self.events.append(event)

    record_shadow = record

    def drop_shadow(self, arm: str, reason: str) -> None:
        self.dropped.append((arm, reason))

    def begin_shadow(self, arm: str) -> None:
        self.due.append(arm)

    def forget(self) -> None:
        return


BASE = {
    "turnout": "v1",
    "route": "digits",
    "arms": {
        "old": {"model": "file:old.onnx", "role": "baseline"},
        "new": {"model": "file:new.onnx", "role": "candidate"},
        "dumb": {"model": "constant:dumb.json", "role": "reserve"},
    },
    "fallback": ["old", "dumb"],
    "strategy": {"kind": "ab", "shares": {"new": "100%"}},
}


def compiled(**changes: object):
    document = load_route(YamlText(Path("digits.yaml"), dump(BASE | changes)))
    return compile_route(document, root=Path("/nowhere"), layers=NO_LAYERS)


@pytest.fixture
def compile_changed() -> Callable[..., object]:
    """The base document with some of its top-level words changed, compiled."""
    return compiled


@pytest.fixture
def endpoints() -> dict[str, ScriptedEndpoint]:
    return {name: ScriptedEndpoint(number) for number, name in enumerate(("old", "new", "dumb"), start=1)}


@pytest.fixture
def bind(endpoints):
    """A bound route over the scripted endpoints, from the base document with changes."""

    def bound(*, tally: RouteTally | None = None, **changes: object) -> BoundRoute:
        route = compiled(**changes)
        gatherer = route.gatherer(b"secret")
        gatherer.pins = {f"v{n}": name for n, name in enumerate(("old", "new", "dumb"), start=1)}
        return BoundRoute(
            name=route.name,
            revision=1,
            experiment="digits@1",
            strategy=route.strategy,
            arms=tuple(BoundArm(each.arm, endpoints[each.arm.name]) for each in route.arms),
            decider=route.decider,
            gather=gatherer.gather,
            attribute_names=route.attribute_names,
            unit_kind=route.unit_kind,
            timeout_s=route.timeout_s,
            is_critical=True,
            meter=SilentMeter(),
            shadow_terms=route.shadow_terms,
            coin_salt=route.coin_salt,
            tally=tally,
        )

    return bound


def arrive(timeout_s: float = 0.0, **headers: str) -> Arrival:
    metadata = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Arrival(0.0, monotonic(), EVENT_IDS.mint(), "http", metadata, timeout_s=timeout_s)


def ask(**parameters: object) -> InferenceRequest:
    x = Tensor("x", "FP32", np.zeros((1, 4), np.float32))
    return InferenceRequest("digits", (x,), parameters=parameters)


@pytest.fixture
def route_request():
    """A request routed and decided: what the executor is handed."""

    def routed(route: BoundRoute, budget_s: float = 5.0, *, may_fall_back: bool = True, **headers: str) -> Routed:
        arrival = arrive(**headers)
        request = ask()
        facts = route.gather(request, arrival)
        decision = route.decider.decide(facts)
        return Routed(request, route, facts, decision, arrival.started_at + budget_s, may_fall_back)

    return routed


@pytest.fixture(name="arrive")
def _arrive():
    return arrive


@pytest.fixture(name="ask")
def _ask():
    return ask


def ramp(*shares: str) -> dict[str, object]:
    return {"kind": "canary", "candidate": "new", "ramp": [{"share": share} for share in shares]}


def documents(**changes: object) -> dict[str, str]:
    """A canary's document with some of its top-level words changed, as a directory's texts."""
    return {"routes/digits.yaml": dump(BASE | {"strategy": ramp("2%", "10%", "50%")} | changes)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory in which the models' files lie, though they are none."""
    for name in ("old.onnx", "new.onnx", "dumb.json"):
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.fixture
def after(root: Path):
    """The meaning after some changes, from nothing."""

    def made(*changes: object, today: date = TODAY):
        meaning = nothing_yet(root)
        for change in changes:
            meaning = prepare(meaning, change, today=today, contents=Contents()).meaning
        return meaning

    return made
