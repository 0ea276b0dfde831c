"""Reading what the load generators print, on what they once printed."""

import pytest

from benchmarks.load import LoadFailed, Measured, missing_packages, parse_h2load, parse_wrk


def test_wrk_is_read(sample):
    """Microseconds and milliseconds come out in one unit."""
    assert Measured(2190, 1921.66, 0.487, 166.75, 0, 0) == parse_wrk(sample("wrk.txt"))


def test_answers_that_are_errors_are_seen_in_what_wrk_prints(sample):
    """A server that refuses quickly is not a fast one."""
    assert 64 == parse_wrk(sample("wrk-refused.txt")).failed_n


def test_broken_connections_are_seen_in_what_wrk_prints(sample):
    """Nor is one that hangs up."""
    text = sample("wrk.txt").replace(
        "Requests/sec", "  Socket errors: connect 0, read 3, write 0, timeout 1\nRequests/sec"
    )
    assert 4 == parse_wrk(text).failed_n


def test_h2load_is_read(sample):
    """Percentiles come from its log, of which the first two hundred lines are kept here."""
    latencies = sorted(int(line.split("\t")[2]) for line in sample("h2load.log").splitlines())
    expected = Measured(1192, 1192.0, latencies[99] / 1e3, latencies[197] / 1e3, 0, 60792)
    assert expected == parse_h2load(sample("h2load.txt"), sample("h2load.log"))


def test_calls_that_failed_are_seen_in_what_h2load_prints(sample):
    """Calls that did not come back are not counted as answers."""
    text = sample("h2load.txt").replace("1192 succeeded, 0 failed", "1190 succeeded, 2 failed")
    assert 2 == parse_h2load(text, sample("h2load.log")).failed_n


@pytest.mark.parametrize("text", ["", "unable to connect to 127.0.0.1:8000 Connection refused"])
def test_what_cannot_be_read_is_no_figure(text):
    """A load generator of another version cannot bring wrong numbers in."""
    with pytest.raises(LoadFailed):
        parse_wrk(text)
    with pytest.raises(LoadFailed):
        parse_h2load(text, "1\t200\t3")


def test_a_run_in_which_nothing_came_back_is_no_figure(sample):
    """No answer has no latency."""
    with pytest.raises(LoadFailed, match="finished no request"):
        parse_h2load(sample("h2load.txt"), "")


def test_only_what_is_needed_must_be_installed(monkeypatch):
    """Whoever measures HTTP alone needs no gRPC load generator."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert ["util-linux", "wrk"] == missing_packages(["json", "binary"])
    assert ["nghttp2-client", "util-linux", "wrk"] == missing_packages(["json", "grpc"])
