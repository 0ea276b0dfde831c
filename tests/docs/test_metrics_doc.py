"""docs/metrics.md is held to the metrics and span attributes that the code really has."""

import re
from pathlib import Path

import pytest

from gateway.arms import ArmSeen, HostedSeen
from gateway.control.scrape import Scrape, about_replicas
from observability import fields
from observability.batches import SIZES
from observability.event import Call, RequestEvent, ShadowEvent
from observability.meter import BOUNDS_S
from observability.metrics import Metrics
from observability.sinks.log import EventCounts
from observability.span_counts import NO_SPANS
from runners.core.batch_counts import BatchCounts
from runners.ray.endpoint import EndpointCounts

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
FAILED = Call("b", "2", "", "", "serve", "failed", "timeout", 0.0, 1.0)
ANSWERED = Call("a", "1", "", "", "fallback", "ok", "", 1.0, 1.0)
SHADOW = {
    "trace_id": "",
    "unit_hash": "",
    "unit_kind": "",
    "revision": 1,
    "experiment": "",
    "answered_arm": "a",
    "rows": 1,
}


def used():
    """Metrics in which every family has at least one sample."""
    metrics = Metrics("0.1.0")
    meter = metrics.route("r", "canary", (("a", "1"), ("b", "2")))
    meter.watch_batches("a", BatchCounts())
    meter.watch_replicas("b", EndpointCounts())
    meter.set_provider("a", "CPUExecutionProvider", degraded=False)
    meter.record(RequestEvent(0.0, "e", "q", assigned_arm="b", answered_arm="a", calls=(FAILED, ANSWERED), status="ok"))
    meter.record(RequestEvent(0.0, "e", "q", not_interleaved="timeout"))
    meter.begin_shadow("b")
    shadow = {**SHADOW, "at": 0.0, "event_id": "e", "request_id": "q", "route": "r", "arm": "b", "agreement": 1.0}
    meter.record_shadow(ShadowEvent(**shadow, outcome="match", dropped="", call=ANSWERED))
    meter.drop_shadow(shadow["arm"], "queue")
    metrics.refuse("http", "404")
    metrics.watch_feedback(lambda: [(("r", "accepted"), 1)])
    metrics.watch_events(lambda: EventCounts(0, 0, {"queue_full": 0}, 0, ""))
    metrics.watch_spans(lambda: NO_SPANS)
    metrics.watch_evidence(lambda: {"failed": 0})
    metrics.watch_spares(lambda: {"taken": 0})
    return metrics


class Crew:
    """One worker, and one that was started in its place."""

    class Up:
        slot, is_up, told_at = 0, True, 1.0

    workers, restarts_n = [Up], [1]


def families():
    """Every family as (name on the wire, type, labels)."""
    suffixes = {"counter": "_total", "info": "_info"}
    return {
        (
            family.name + suffixes.get(family.type, ""),
            family.type,
            tuple(name for name in family.samples[0].labels if name != "le"),
        )
        for family in (
            *used().registry.collect(),
            *Scrape(Crew, dict, int, {}).about_workers(),
            *about_replicas([ArmSeen("r", "b", "ray", hosted=HostedSeen("turnout-1", 2))]),
        )
    }


def documented():
    rows = re.findall(r"^\| `(turnout_\w+)` \| (\w+) \| ([^|]*) \|", PAGE, re.MULTILINE)
    return {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_every_metric_is_listed_with_its_type_and_labels():
    """Whoever sees a metric can look it up, and no metric is promised that is not there."""
    assert families() == documented()


def test_every_bucket_is_named():
    """Whoever sets a threshold knows between which bounds it can be told."""
    for bounds in (BOUNDS_S, SIZES):
        assert ", ".join(str(bound).removesuffix(".0") for bound in bounds) in PAGE


@pytest.mark.parametrize("name", sorted(name for name in vars(fields) if name.isupper()))
def test_every_span_attribute_is_listed(name):
    """Whoever looks at a trace can look up what its attributes mean."""
    value = getattr(fields, name)
    for word in [value] if isinstance(value, str) else value:
        assert f"`{word}`" in PAGE


def test_every_setting_of_tracing_is_listed():
    """The variables that the code reads are the ones the page names."""
    room = Path(__file__).parents[2] / "observability"
    read = {name for path in room.glob("*.py") for name in re.findall(r'"(OTEL_\w+)"', path.read_text())}
    assert set() == {name for name in read if f"`{name}`" not in PAGE}
