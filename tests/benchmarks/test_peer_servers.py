"""Other servers: started on free ports with the same model, measured in what they speak, skipped when absent."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from benchmarks import peer_servers
from benchmarks.answers import await_answers, check_answers
from benchmarks.load import CASES
from benchmarks.peer_servers import PEERS, ROOT, free_ports, launch, missing_environment, version_of
from benchmarks.servers import FLOOR, STRATEGIES, Station, cases_of, serve, session_of


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_is_told_the_model_and_where_to_listen(name, workload, tmp_path):
    start = launch(name, workload, tmp_path)
    assert str(workload.models["old"].resolve()) == start.environment["MODEL"]
    assert (workload.name, str(int("+batching" in name))) == (start.environment["NAME"], start.environment["BATCHED"])
    assert len(set(start.ports.values())) == len(start.ports)


def test_mlserver_batches_only_where_that_is_measured(workload, tmp_path):
    """The two rows of the table differ in that and nothing else."""
    specs = {}
    for name in ("mlserver", "mlserver+batching"):
        specs[name] = json.loads((launch(name, workload, tmp_path).folder / "model-settings.json").read_text())
    added = specs["mlserver+batching"].keys() - specs["mlserver"].keys()
    assert {"max_batch_size", "max_batch_time"} == added


def test_a_server_is_measured_in_what_it_speaks():
    every = tuple(CASES)
    assert (every, every, ("json",)) == (cases_of(FLOOR, every), cases_of("ab", every), cases_of("litserve", every))
    assert set(STRATEGIES).isdisjoint(PEERS)


def test_a_peer_that_is_not_installed_is_named_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setattr(peer_servers, "ROOT", tmp_path)
    assert ".venv-kserve is not there or not whole; make it with: make peers" == missing_environment("kserve")


def test_an_environment_that_was_made_by_half_is_not_there(monkeypatch, tmp_path):
    """An installation that failed leaves a Python without the server."""
    monkeypatch.setattr(peer_servers, "ROOT", tmp_path)
    (tmp_path / ".venv-kserve" / "bin").mkdir(parents=True)
    (tmp_path / ".venv-kserve" / "bin" / "python").touch()
    assert missing_environment("kserve")
    (tmp_path / ".venv-kserve" / ".installed").mkdir()
    (tmp_path / ".venv-kserve" / ".installed" / "kserve").touch()
    assert "" == missing_environment("kserve")


def test_every_environment_is_made_by_make_and_has_a_lock():
    """`make peers` and the table of servers name the same."""
    (made,) = re.findall(r"^PEERS \?= (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {peer.lock for peer in PEERS.values()} == set(made.split())
    assert all((ROOT / "requirements" / f"{name}.txt").exists() for name in made.split())


def test_ports_are_free_and_differ():
    assert 3 == len(set(free_ports("a", "b", "c").values()))


@pytest.mark.skipif(shutil.which("taskset") is None, reason="servers are pinned with taskset")
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_answers_right(name, workload, tmp_path):
    """What is measured is the same model's answer, from every server that is installed here."""
    if reason := missing_environment(name):
        pytest.skip(reason)
    before = set(Path("/tmp").glob("ray-*"))
    station = Station(workload, tmp_path, min(os.sched_getaffinity(0)), "")
    with serve(name, station) as running:
        for case in PEERS[name].cases:
            await_answers(running, case, workload, limit_s=60.0)
            assert {"old"} == set(check_answers(running, case, workload))
    assert version_of(name).startswith(PEERS[name].distribution or name.partition("+")[0])
    assert [] == session_of(running.processes["http"])
    assert set() == set(Path("/tmp").glob("ray-*")) - before
