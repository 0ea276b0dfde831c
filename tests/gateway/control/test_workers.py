"""Several workers, as an operator meets them: the real command, real signals, real deaths."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

import pytest
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
LINEAR = ROOT / "configs" / "models" / "digits-linear.onnx"
BODY = (ROOT / "examples" / "digits" / "request.json").read_bytes()
INFER = "/v2/models/digits-linear/infer"
LIMIT_S = 60


def ask(port: int, path: str = INFER, body: bytes | None = BODY) -> int:
    """The status of one request on a connection of its own, so that any worker may answer it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("POST" if body else "GET", path, body)
        response = connection.getresponse()
        response.read()
        return response.status


def metrics(gateway) -> Counter[str]:
    """The sums over all labels but `worker`."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.metrics, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    sums: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] += sample.value
    return sums


def until(holds, what: str) -> None:
    ends_at = monotonic() + LIMIT_S
    while not holds():
        assert monotonic() < ends_at, what
        sleep(0.02)


def load(port: int, clients_n: int, stop: threading.Event) -> tuple[list[threading.Thread], Counter[str]]:
    """Clients that ask until told to stop, and what came of it: "200", or why there was no answer."""
    came: Counter[str] = Counter()
    counting = threading.Lock()

    def run() -> None:
        while not stop.is_set():
            try:
                result = str(ask(port))
            except (OSError, http.client.HTTPException) as error:
                result = type(error).__name__
            with counting:
                came[result] += 1

    threads = [threading.Thread(target=run) for _ in range(clients_n)]
    for thread in threads:
        thread.start()
    return threads, came


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_two_workers_answer_on_one_port_and_count_as_one(start_gateway):
    """Requests sent are requests counted, whoever answered them."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    assert {200} == {ask(gateway.http) for _ in range(60)}
    told = metrics(gateway)

    assert (60, 60, 2) == (
        told["turnout_requests_total"],
        told["turnout_request_duration_seconds_count"],
        told["turnout_worker_up"],
    )
    assert 0 == gateway.stop()
    processes = Counter(event["process"] for event in gateway.events("request"))
    assert (60, 2) == (processes.total(), len(processes))  # a fair coin favours one in all once in 10^17 runs


def test_a_killed_worker_takes_only_its_own_requests_along(start_gateway):
    """The port goes on answering, somebody takes its place, and no sum falls."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    stop, clients_n = threading.Event(), 4
    threads, came = load(gateway.http, clients_n, stop)
    until(lambda: came["200"] > 50, "nobody was answered")
    before = metrics(gateway)
    victim = gateway.workers()[0]
    os.kill(victim, signal.SIGKILL)
    sums = []
    until(
        lambda: (
            sums.append(metrics(gateway))
            or (sums[-1]["turnout_worker_up"], sums[-1]["turnout_worker_restarts_total"]) == (2, 1)
        ),
        "nobody took its place",
    )
    answered_n = came["200"]
    until(lambda: came["200"] > answered_n + 50, "the gateway did not go on")
    stop.set()
    for thread in threads:
        thread.join()

    lost_n = came.total() - came["200"]
    assert lost_n <= 2 * clients_n, came  # one each under way, and one each at the door, should the next start be slow
    counted = [each["turnout_requests_total"] for each in (before, *sums)]
    assert counted == sorted(counted)
    assert victim not in gateway.workers()
    assert 0 == gateway.stop()
    told = [event["message"] for event in gateway.events("life") if event["kind"].startswith("worker_")]
    assert f"process {victim}, was ended by SIGKILL" in told[0]
    assert "is process" in told[1]


def test_a_worker_that_dies_again_leaves_its_share_to_the_other(start_gateway):
    """While its place is empty for a moment, nobody waits at it."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    steady, victim = gateway.workers()
    for lost_n in (1, 2):
        os.kill(victim, signal.SIGKILL)
        until(lambda n=lost_n: gateway.log().count("worker_lost") == n, "nobody noticed")
        if lost_n == 1:
            until(lambda: metrics(gateway)["turnout_worker_up"] == 2, "nobody took its place")
            (victim,) = set(gateway.workers()) - {steady}
    assert {200} == {ask(gateway.http) for _ in range(30)}
    until(lambda: metrics(gateway)["turnout_worker_restarts_total"] == 2, "nobody took its place again")


def test_serving_outlives_the_control_process(start_gateway):
    """Who watches may die; who serves goes on, says so, and ends when told to."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    workers = gateway.workers()
    gateway.process.kill()
    gateway.process.wait()
    until(lambda: gateway.log().count("the control process has gone") == 2, "nobody noticed")

    assert {200} == {ask(gateway.http) for _ in range(20)}
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    until(lambda: not any(map(alive, workers)), "somebody stayed")
    kinds = Counter(event["kind"] for event in gateway.events("life"))
    assert (2, 2) == (kinds["control_lost"], kinds["stopped"])


@pytest.mark.parametrize("workers_n", ["1", "2"])
def test_another_gateway_on_the_port_is_refused(start_gateway, tmp_path, workers_n):
    """Sharing is for the workers of one gateway."""
    gateway = start_gateway(LINEAR, "--workers", workers_n)
    command = [sys.executable, "-m", "gateway", "serve", LINEAR, "--port", gateway.http, "--workers", workers_n]
    done = subprocess.run(
        [*map(str, command), "--state", str(tmp_path / "other")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (2, True) == (done.returncode, f"port {gateway.http} is in use" in done.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_under_load_loses_nothing(start_gateway, number):
    """Whatever was accepted is answered before the workers end; then the port is closed."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    kept = [http.client.HTTPConnection("127.0.0.1", gateway.http, timeout=30) for _ in range(8)]
    came: Counter[str] = Counter()

    def talk(connection: http.client.HTTPConnection) -> None:
        """Ask on one connection until the server closes it between two requests."""
        with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest):
            while True:
                connection.request("POST", INFER, BODY)
                response = connection.getresponse()
                response.read()
                came[str(response.status)] += 1
        connection.close()

    threads = [threading.Thread(target=talk, args=(connection,)) for connection in kept]
    for thread in threads:
        thread.start()
    until(lambda: came["200"] > 100, "nobody was answered")
    assert 0 == gateway.stop(number)
    for thread in threads:
        thread.join()

    assert set(came) == {"200"}
    assert came.total() == len(gateway.events("request"))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", gateway.http))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_whole_group_may_be_told_to_stop(start_gateway, number):
    """What a terminal sends, also when it is closed, reaches every process at once; it is one request to stop."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    os.killpg(gateway.process.pid, number)

    assert 0 == gateway.process.wait(LIMIT_S)
    assert 2 == sum(event["kind"] == "stopped" for event in gateway.events("life"))


def test_asking_twice_ends_all_at_once(start_gateway, tmp_path):
    """Whoever asks again will not wait for a drain."""
    slow = {"model": f"file:{ROOT / 'examples' / 'faults' / 'slow.onnx'}", "role": "baseline"}
    document = {"turnout": "v1", "route": "digits-linear", "arms": {"slow": slow}, "strategy": {"kind": "baseline"}}
    (tmp_path / "config" / "routes").mkdir(parents=True)
    (tmp_path / "config" / "routes" / "slow.yaml").write_text(json.dumps(document | {"timeout": "60s"}))
    gateway = start_gateway(tmp_path / "config", "--workers", "2")
    workers = gateway.workers()
    stop = threading.Event()
    threads, _ = load(gateway.http, 8, stop)
    until(lambda: metrics(gateway)["turnout_inflight_requests"] >= 8, "nothing was under way")
    stop.set()
    gateway.process.send_signal(signal.SIGTERM)
    until(lambda: "stopping" in gateway.log(), "nobody heard")
    gateway.process.send_signal(signal.SIGTERM)

    assert 1 == gateway.process.wait(LIMIT_S)
    until(lambda: not any(map(alive, workers)), "somebody stayed")
    for thread in threads:
        thread.join()


def test_a_stuck_worker_holds_up_no_scrape(start_gateway):
    """What it told before is used, and its age says so."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    assert {200} == {ask(gateway.http) for _ in range(10)}
    assert 10 == metrics(gateway)["turnout_requests_total"]
    stuck = gateway.workers()[1]
    os.kill(stuck, signal.SIGSTOP)
    told = metrics(gateway)
    os.kill(stuck, signal.SIGCONT)

    assert (10, 2) == (told["turnout_requests_total"], told["turnout_worker_up"])
    assert told["turnout_worker_metrics_age_seconds"] >= 1.0


def test_a_gateway_that_cannot_write_does_not_start(tmp_path):
    """The reason is one line, though it is found in another process."""
    (tmp_path / "unit.key").write_bytes(b"short")
    command = [sys.executable, "-m", "gateway", "serve", LINEAR, "--port", "0", "--state", tmp_path, "--workers", "2"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60, check=False)

    assert 2 == done.returncode
    assert "cannot start: " in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_events_of_several_workers_share_one_output_line_by_line(tmp_path):
    command = [sys.executable, "-m", "gateway", "serve", LINEAR, "--port", "0", "--state", tmp_path, "--workers", "2"]
    log = tmp_path / "log"
    with log.open("wb") as written:
        process = subprocess.Popen([*map(str, command), "--events", "-"], stdout=subprocess.PIPE, stderr=written)
    until(lambda: b"serving digits-linear at" in log.read_bytes(), "it did not start")
    port = int(log.read_text().partition("http://127.0.0.1:")[2].partition(",")[0])
    stop = threading.Event()
    threads, came = load(port, 4, stop)
    until(lambda: came["200"] > 200, "nobody was answered")
    stop.set()
    for thread in threads:
        thread.join()
    process.terminate()
    lines = process.stdout.read().splitlines()
    process.wait(LIMIT_S)
    process.stdout.close()

    assert Counter(json.loads(line)["event"] for line in lines)["request"] == came["200"]


def test_those_who_answer_go_before_those_who_publish(start_gateway):
    """Threads of the control process step back for workers, and no worker does, a replaced one neither."""
    gateway = start_gateway(LINEAR, "--workers", "2")
    before = set(gateway.workers())
    os.kill(next(iter(before)), signal.SIGKILL)
    until(
        lambda: len(before ^ set(gateway.workers())) == 2 and ask(gateway.http, "/v2/health/ready", None) == 200, "gone"
    )

    threads = [int(task.name) for task in Path(f"/proc/{gateway.process.pid}/task").iterdir()]
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert {own, max(own, 10)} == {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads}
    assert {own} == {os.getpriority(os.PRIO_PROCESS, pid) for pid in gateway.workers()}
