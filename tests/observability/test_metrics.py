import asyncio
from threading import Event, Thread

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from observability.metrics import Metrics, metrics_app
from observability.sinks.log import EventCounts
from observability.span_counts import SpanCounts

ARMS = (("fraud-7", "7"), ("fraud-8", "8"), ("fraud-9", "9"))
FRAUD = {"route": "fraud"}


@pytest.fixture
def metrics():
    return Metrics("0.1.0")


@pytest.fixture
def meter(metrics):
    return metrics.route("fraud", "canary", ARMS)


@pytest.fixture
def value(metrics):
    """The value of one series, None when there is no such series."""
    return lambda name, **labels: metrics.registry.get_sample_value(name, labels)


def series(metrics):
    return {
        (sample.name, *sorted(sample.labels.items()))
        for family in metrics.registry.collect()
        for sample in family.samples
    }


def test_a_request_is_counted_by_who_answered_and_how(value, meter, request_event):
    """Requests can be split by arm, version, strategy, protocol and code."""
    meter.record(request_event())
    meter.record(request_event(protocol="grpc", http_status=0, grpc_status="OK"))
    about = {"route": "fraud", "arm": "fraud-8", "version": "8", "strategy": "canary"}
    assert 1 == value("turnout_requests_total", **about, protocol="http", code="200")
    assert 1 == value("turnout_requests_total", **about, protocol="grpc", code="OK")


def test_a_request_that_nobody_answered_says_so(value, meter, request_event):
    """Errors are counted too, under the arm "none"."""
    meter.record(request_event(answered_arm="", status="timeout", http_status=504, calls=()))
    about = {"route": "fraud", "arm": "none", "version": "", "strategy": "canary", "protocol": "http", "code": "504"}
    assert 1 == value("turnout_requests_total", **about)


def test_a_request_that_ended_without_a_code_has_none(value, meter, request_event):
    """A caller who left before any status was sent is still one request."""
    meter.record(request_event(status="cancelled", http_status=0))
    about = {
        "route": "fraud",
        "arm": "fraud-8",
        "version": "8",
        "strategy": "canary",
        "protocol": "http",
        "code": "none",
    }
    assert 1 == value("turnout_requests_total", **about)


def test_predictions_are_rows(value, meter, request_event):
    """A batch of 32 is one request and 32 predictions."""
    meter.record(request_event(rows=32))
    assert 32 == value("turnout_predictions_total", route="fraud", arm="fraud-8", version="8")


def test_durations_are_in_seconds_and_cumulative(value, meter, request_event):
    """Histograms follow Prometheus: base units, buckets that include the smaller ones, count and sum."""
    for duration_ms in (0.2, 2.0, 20_000.0):
        meter.record(request_event(duration_ms=duration_ms))
    name, about = "turnout_request_duration_seconds", {"route": "fraud", "protocol": "http"}
    assert (1, 2, 3) == tuple(value(f"{name}_bucket", **about, le=le) for le in ("0.00025", "10.0", "+Inf"))
    assert (3, pytest.approx(20.0022)) == (value(f"{name}_count", **about), value(f"{name}_sum", **about))


def test_calls_are_timed_per_arm_and_role(value, meter, request_event, shadow_event):
    """What a model takes can be told from what the gateway adds, and a shadow's time from a serving one's."""
    meter.record(request_event())
    meter.record_shadow(shadow_event())
    name = "turnout_call_duration_seconds_sum"
    assert 0.0015 == value(name, route="fraud", arm="fraud-8", version="8", role="serve")
    assert 0.004 == value(name, route="fraud", arm="fraud-9", version="9", role="shadow")


def test_in_flight_requests_are_a_gauge(value, meter, request_event):
    """Load can be seen while it is there."""
    meter.begin()
    meter.begin()
    meter.record(request_event())
    assert 1 == value("turnout_inflight_requests", **FRAUD)


def test_assignments_fallbacks_and_shadows_have_their_counters(value, meter, request_event, shadow_event, call):
    """Who was assigned, who failed over and why, what shadows came to and why some were not made."""
    calls = (call(status="failed", cause="timeout"), call(arm="fraud-7", version="7", role="fallback"))
    meter.record(request_event(calls=calls, answered_arm="fraud-7"))
    meter.record_shadow(shadow_event(outcome="mismatch"))
    meter.drop_shadow("fraud-9", "queue")
    assert 1 == value("turnout_assignments_total", **FRAUD, arm="fraud-8", reason="split")
    assert 1 == value("turnout_fallbacks_total", **FRAUD, arm="fraud-8", cause="timeout")
    assert 1 == value("turnout_shadow_calls_total", **FRAUD, arm="fraud-9", outcome="mismatch")
    assert 1 == value("turnout_shadow_dropped_total", **FRAUD, arm="fraud-9", reason="queue")


def test_shadow_calls_due_are_those_made_dropped_and_pending(value, meter, shadow_event):
    """Whoever adds up the counters finds every shadow call, and none twice."""
    for _ in range(4):
        meter.begin_shadow("fraud-9")
    meter.record_shadow(shadow_event(outcome="mismatch"))
    meter.drop_shadow("fraud-9", "queue")
    assert 4 == value("turnout_shadow_due_total", **FRAUD, arm="fraud-9")
    assert 2 == value("turnout_shadow_pending", **FRAUD, arm="fraud-9")


def test_an_arm_on_the_wrong_provider_stands_out(value, meter):
    """A model that runs on the CPU although a GPU was preferred can be alerted on."""
    meter.set_provider("fraud-7", "CPUExecutionProvider", degraded=False)
    meter.set_provider("fraud-8", "CPUExecutionProvider", degraded=True)
    degraded = [
        value("turnout_arm_degraded", **FRAUD, arm=arm, provider="CPUExecutionProvider")
        for arm in ("fraud-7", "fraud-8")
    ]
    assert [0, 1] == degraded
    assert value("turnout_arm_degraded", **FRAUD, arm="fraud-9", provider="") is None


def test_a_request_without_a_route_is_counted_apart(metrics, value):
    """Unknown routes and malformed requests are seen, without their text ever becoming a label."""
    metrics.refuse("http", "404")
    metrics.refuse("http", "404")
    assert 2 == value("turnout_requests_refused_total", protocol="http", code="404")


def test_the_process_tells_its_version_revision_and_age(value):
    """Dashboards can tell which gateways run what, and since when."""
    now_s = [100.0]
    metrics = Metrics("0.1.0", clock=lambda: now_s[0])
    metrics.set_revision(12)
    now_s[0] = 160.0
    read = metrics.registry.get_sample_value
    assert (1, 12, 60) == (
        read("turnout_build_info", {"version": "0.1.0"}),
        read("turnout_revision"),
        read("turnout_uptime_seconds"),
    )


def test_what_could_not_be_recorded_is_counted(metrics, value):
    """A fault in the record is as visible as a fault in an answer."""
    assert 0 == value("turnout_records_failed_total")
    metrics.watch_recorder(lambda: 2)
    assert 2 == value("turnout_records_failed_total")


def test_losses_of_events_and_spans_are_read_at_scrape(metrics, value):
    """Every drop, of events and of spans, is one look away."""
    metrics.watch_events(lambda: EventCounts(90, 4, {"queue_full": 6}, 2, ""))
    metrics.watch_spans(lambda: SpanCounts(70, 0, {"export_failed": 3}))
    assert (90, 4, 2) == tuple(
        value(f"turnout_events_{name}") for name in ("written_total", "waiting", "segments_deleted_total")
    )
    assert 6 == value("turnout_events_dropped_total", reason="queue_full")
    assert (70, 3) == (
        value("turnout_spans_exported_total"),
        value("turnout_spans_dropped_total", reason="export_failed"),
    )


def test_a_hundred_thousand_ids_add_no_series(metrics, meter, request_event, shadow_event, call):
    """Ids never become label values: the number of series is the same after 100,000 different ones."""
    meter.record(request_event())
    meter.record_shadow(shadow_event())
    before = series(metrics)
    for n in range(100_000):
        name = f"id-{n}"
        ids = {"event_id": name, "request_id": name, "trace_id": name, "unit_hash": name}
        meter.record(request_event(**ids, span_id=name, caller=name, error=name, attributes={name: name}))
        if n % 10 == 0:
            meter.record_shadow(shadow_event(**ids))
    assert before == series(metrics)


def test_a_retired_route_leaves_no_series(metrics, meter, request_event):
    """Routes that come and go do not fill the memory of Prometheus."""
    meter.record(request_event())
    meter.forget()
    assert set() == {name for name in series(metrics) if ("route", "fraud") in name}


def test_a_route_that_comes_back_starts_at_zero(metrics, meter, value, request_event):
    """A route retired and published again is a new one."""
    meter.record(request_event())
    meter.forget()
    metrics.route("fraud", "baseline", ARMS)
    assert 0 == value("turnout_predictions_total", route="fraud", arm="fraud-8", version="8")


def test_a_publication_resets_no_counter(metrics, meter, value, request_event):
    """Rates stay right over a change of revision, strategy and version."""
    meter.record(request_event())
    successor = metrics.route("fraud", "ab", (("fraud-7", "7"), ("fraud-8", "8.1")))
    meter.forget()
    successor.record(request_event())
    assert 2 == value("turnout_assignments_total", **FRAUD, arm="fraud-8", reason="split")
    assert 2 == value("turnout_request_duration_seconds_count", **FRAUD, protocol="http")


def test_no_series_appears_twice(metrics, meter, request_event, shadow_event):
    """Two versions of one arm, alive at once, make no exposition that Prometheus would refuse."""
    successor = metrics.route("fraud", "canary", (("fraud-7", "7"), ("fraud-8", "8.1"), ("fraud-9", "9")))
    for one in (meter, successor):
        one.record(request_event())
        one.record_shadow(shadow_event())
    samples = [
        (sample.name, *sorted(sample.labels.items()))
        for family in metrics.registry.collect()
        for sample in family.samples
    ]
    assert len(set(samples)) == len(samples)


def test_odd_names_are_escaped(metrics, request_event):
    """A route's name with quotes and newlines cannot forge a series."""
    metrics.route('a"b\n\\', "baseline", ()).record(request_event())
    parsed = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    assert {'a"b\n\\'} == {
        sample.labels["route"] for family in parsed for sample in family.samples if "route" in sample.labels
    }


def test_a_request_recorded_in_the_middle_of_a_scrape_does_no_harm(metrics, meter, value, request_event):
    """A scrape never fails because a series is being born."""

    class Interrupting(int):
        def __str__(self):
            meter.record(request_event(http_status=503, reason="pinned"))
            return "200"

    meter.record(request_event(http_status=Interrupting(200)))
    generate_latest(metrics.registry)
    about = {
        "route": "fraud",
        "arm": "fraud-8",
        "version": "8",
        "strategy": "canary",
        "protocol": "http",
        "code": "503",
    }
    assert value("turnout_requests_total", **about) > 0


def test_scraping_from_another_thread_while_serving_is_safe(metrics, meter, request_event):
    """The metrics port may be served by any thread."""
    failures = []

    def scrape():
        try:
            for _ in range(20):
                generate_latest(metrics.registry)
        except Exception as error:
            failures.append(error)

    scraping = Thread(target=scrape)
    scraping.start()
    code = 0
    while scraping.is_alive():
        code += 1
        meter.record(request_event(http_status=code % 500, reason=f"reason-{code % 500}"))
    scraping.join()
    assert [] == failures


def test_two_gateways_in_one_process_do_not_share_metrics(metrics, meter, request_event):
    """There is no global registry."""
    meter.record(request_event())
    assert set() == {name for name in series(Metrics("0.1.0")) if ("route", "fraud") in name}


async def ask(app, method="GET", path="/metrics", accept=b"*/*"):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [(b"accept", accept)], "query_string": b""}
    await app(scope, None, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"].decode()


def gathered(metrics):
    async def gather():
        return metrics.collect()

    return gather


async def test_metrics_are_served_as_prometheus_text(metrics, meter, request_event):
    """Prometheus scrapes /metrics and can read every line."""
    meter.record(request_event())
    status, headers, body = await ask(metrics_app(gathered(metrics)))
    assert (200, b"text/plain; version=0.0.4; charset=utf-8") == (status, headers[b"content-type"])
    assert len(body.encode()) == int(headers[b"content-length"])
    assert "turnout_requests" in {family.name for family in text_string_to_metric_families(body)}


async def test_openmetrics_is_served_to_who_asks_for_it(metrics):
    """Content is negotiated."""
    _, headers, body = await ask(metrics_app(gathered(metrics)), accept=b"application/openmetrics-text; version=1.0.0")
    assert headers[b"content-type"].startswith(b"application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/v2", 404), ("POST", "/metrics", 405)]
)
async def test_nothing_else_is_served_there(metrics, method, path, status):
    """The metrics port answers metrics only."""
    assert status == (await ask(metrics_app(gathered(metrics)), method, path))[0]


async def test_a_scrape_does_not_hold_up_the_loop(metrics):
    """Requests go on while a scrape is made."""
    loop_turned, in_time = Event(), []

    def counts():
        in_time.append(loop_turned.wait(10))
        return EventCounts(0, 0, {}, 0, "")

    metrics.watch_events(counts)
    scrape = asyncio.create_task(ask(metrics_app(gathered(metrics))))
    await asyncio.sleep(0.001)
    loop_turned.set()
    assert (200, [True]) == ((await scrape)[0], in_time)
