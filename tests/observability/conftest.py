import time
from collections.abc import Callable

import pytest

from observability.event import Call, Identity, LifeEvent, RequestEvent, ShadowEvent


def build_call(**changes) -> Call:
    facts = {
        "arm": "fraud-8",
        "version": "8",
        "digest": "ab" * 32,
        "provider": "CPUExecutionProvider",
        "role": "serve",
        "status": "ok",
        "cause": "",
        "started_ms": 0.25,
        "duration_ms": 1.5,
    }
    return Call(**{**facts, **changes})


def build_request(**changes) -> RequestEvent:
    facts = {
        "at": 1790000000.5,
        "event_id": "01j9zq4t8v6c2m7n",
        "request_id": "order-4711",
        "trace_id": "",
        "span_id": "",
        "unit_hash": "account-42",
        "unit_kind": "x-account-id",
        "attributes": {"country": "nz"},
        "route": "fraud",
        "revision": 12,
        "experiment": "fraud@9",
        "strategy": "canary",
        "assigned_arm": "fraud-8",
        "answered_arm": "fraud-8",
        "share_ppm": 50_000,
        "reason": "split",
        "shadows": ("fraud-9",),
        "calls": (build_call(),),
        "fallback_cause": "",
        "status": "ok",
        "error": "",
        "protocol": "http",
        "http_status": 200,
        "grpc_status": "",
        "rows": 1,
        "request_bytes": 180,
        "response_bytes": 240,
        "duration_ms": 2.0,
        "deadline_ms": 1000.0,
        "caller": "10.0.0.7",
    }
    return RequestEvent(**{**facts, **changes})


def build_shadow(**changes) -> ShadowEvent:
    facts = {
        "at": 1790000000.5,
        "event_id": "01j9zq4t8v6c2m7n",
        "request_id": "order-4711",
        "trace_id": "",
        "unit_hash": "account-42",
        "unit_kind": "x-account-id",
        "route": "fraud",
        "revision": 12,
        "experiment": "fraud@9",
        "answered_arm": "fraud-8",
        "arm": "fraud-9",
        "outcome": "match",
        "dropped": "",
        "agreement": 1.0,
        "call": build_call(arm="fraud-9", version="9", role="shadow", started_ms=2.5, duration_ms=4.0),
        "rows": 1,
    }
    return ShadowEvent(**{**facts, **changes})


@pytest.fixture
def call() -> Callable[..., Call]:
    """Builds one call; keyword arguments change fields."""
    return build_call


@pytest.fixture
def request_event() -> Callable[..., RequestEvent]:
    """Builds a request's event; keyword arguments change fields."""
    return build_request


@pytest.fixture
def shadow_event() -> Callable[..., ShadowEvent]:
    return build_shadow


@pytest.fixture
def life_event() -> LifeEvent:
    return LifeEvent(at=1790000000.0, kind="published", route="", arm="", message="by file", revision=12)


@pytest.fixture
def identity() -> Identity:
    return Identity(gateway="gate-1", host="host-a", process=4711, code_version="0.1.0")


@pytest.fixture
def key() -> bytes:
    return bytes(range(32))


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits for another thread to get somewhere; fails after ten seconds."""

    def wait(holds: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + 10
        while not holds():
            assert time.monotonic() < give_up_at, "it never happened"
            time.sleep(0.002)

    return wait
