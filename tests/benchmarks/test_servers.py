"""The servers that are measured really start, answer right under every protocol, and are gone afterwards."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter

import pytest

from benchmarks import servers
from benchmarks.answers import await_answers, check_answers
from benchmarks.load import CASES
from benchmarks.readings import read_server
from benchmarks.servers import (
    ON_RAY,
    STRATEGIES,
    ServerFailed,
    Station,
    read_ports,
    route_document,
    serve,
    write_config,
)
from benchmarks.sink import TraceSink
from gateway.config.directory import load_directory

needs_taskset = pytest.mark.skipif(shutil.which("taskset") is None, reason="servers are pinned with taskset")


@pytest.fixture
def station(workload, tmp_path):
    with TraceSink() as sink:
        yield Station(workload, tmp_path, min(os.sched_getaffinity(0)), sink.endpoint)


@needs_taskset
@pytest.mark.parametrize("name", ["floor", "ab"])
def test_a_server_answers_right_under_every_protocol(name, station):
    """What is measured is an answer; and a split is one."""
    with serve(name, station) as running:
        for case in CASES:
            await_answers(running, case, station.workload)
            arms = check_answers(running, case, station.workload)
            assert set(station.workload.models if name == "ab" else ["old"]) == set(arms)
            assert read_server(running, case).refused_n == 0
    with pytest.raises(ProcessLookupError):
        os.kill(running.processes["http"], 0)


@needs_taskset
def test_a_server_that_does_not_start_says_why(station, monkeypatch):
    """Nobody waits a minute for a process that has ended, and its last words are shown."""
    monkeypatch.setattr("sys.executable", shutil.which("ls"))  # which finds nothing called "http"
    with pytest.raises(ServerFailed, match="No such file"), serve("floor", station):
        pass


def test_every_strategy_is_a_document_the_gateway_takes(workload, tmp_path):
    """A document that was refused would measure an empty gateway."""
    for strategy in STRATEGIES:
        write_config(tmp_path / strategy, strategy, workload)
        (route,) = load_directory(tmp_path / strategy).routes
        assert ("tiny", ["old", "new"]) == (route.route, list(route.arms))


def test_strategies_differ_in_nothing_else(workload, tmp_path):
    """Whoever compares strategies compares nothing but strategies."""
    seen = Counter()
    for strategy in STRATEGIES:
        write_config(tmp_path / strategy, strategy, workload)
        (route,) = load_directory(tmp_path / strategy).routes
        seen[str((route.arms, route.unit, route.timeout, route.fallback))] += 1
    assert [len(STRATEGIES)] == list(seen.values())


def test_arms_on_ray_differ_in_nothing_but_where_they_are(workload, tmp_path):
    """What the row of a gateway with its arms on Ray tells beside that of `none` is what that costs."""
    write_config(tmp_path, ON_RAY, workload)
    (route,) = load_directory(tmp_path).routes
    assert {"ray"} == {arm.runner for arm in route.arms.values()}
    for name, document in (("none", route_document("none", workload)), (ON_RAY, route_document(ON_RAY, workload))):
        for arm in document["arms"].values():
            assert (name == ON_RAY) == bool(arm.pop("runner", "") and arm.pop("resources", ""))
        assert document == {**route_document("none", workload), "arms": document["arms"]}


def test_a_gateway_is_measured_once_every_arm_has_a_replica(station, monkeypatch):
    """Until then a copy in the gateway answers, and would be what is measured."""
    monkeypatch.setattr(servers, "REPLICA_LIMIT_S", 0.2)
    members = servers._state(ON_RAY, station) / "ray" / "members.json"
    members.parent.mkdir(parents=True)
    log = station.scratch / "log"
    log.write_text("cannot place it")
    ready = [{"arm_key": name, "state": "ready"} for name in station.workload.models]
    for few in (ready[:1], [ready[0], {**ready[1], "state": "starting"}]):
        members.write_text(json.dumps({"seq": 1, "members": few}))
        with pytest.raises(ServerFailed, match="cannot place it"):
            servers._await_replicas(station, log)
    members.write_text(json.dumps({"seq": 1, "members": ready}))
    servers._await_replicas(station, log)


def test_ports_are_read_from_what_a_server_says():
    """Ports are free ones, so each server has to say which."""
    line = "INFO turnout: serving tiny at http://127.0.0.1:81, grpc://127.0.0.1:82, metrics http://127.0.0.1:83/metrics"
    assert {"http": 81, "grpc": 82, "metrics": 83} == read_ports(line)
    assert {"http": 81, "grpc": 82} == read_ports("http://127.0.0.1:81\ngrpc://127.0.0.1:82\n")
    assert {} == read_ports("INFO turnout.bind: arm_loaded: route tiny, arm old\n")


STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setpgrp()
        break
os.write(1, b".")
time.sleep(600)
"""


def test_no_process_of_a_session_is_left_behind(monkeypatch):
    """Neither one that ignores the wish to end nor one that has a process group of its own, as Ray's workers do."""
    monkeypatch.setattr(servers, "STOP_LIMIT_S", 1.0)
    child = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, start_new_session=True)
    assert b"..." == child.stdout.read(3)
    assert 3 == len(servers.session_of(child.pid))
    servers._stop({"http": child})
    child.stdout.close()
    assert [] == servers.session_of(child.pid)
