"""Rounds: one peer's trouble costs nobody else their figures; trouble of our own ends the run."""

from contextlib import contextmanager

import pytest

from benchmarks import rounds
from benchmarks.batching import Pace
from benchmarks.rounds import Audience, Matrix
from benchmarks.servers import ServerFailed


@pytest.fixture
def measured(monkeypatch, run_of):
    """The whole matrix without servers: those named do not start."""

    def measured(*servers, broken="", done=frozenset()):
        @contextmanager
        def serve(name, _station):
            if name == broken:
                raise ServerFailed(f"{name} did not start:\nno such model")
            yield name

        monkeypatch.setattr(rounds, "serve", serve)
        monkeypatch.setattr(rounds, "_measure_server", lambda name, round_no, *_: iter([run_of(name, 1.0, round_no)]))
        lost = []
        matrix = Matrix(servers, ("json",), (64,), 3, 1, 1, 0)
        audience = Audience(lambda _: None, lambda name, why: lost.append((name, why)))
        runs = list(rounds.measure(matrix, None, audience, done))
        return [run.server for run in runs], lost

    return measured


def test_a_peer_that_does_not_start_is_given_up_once_and_the_others_are_measured(measured):
    servers, lost = measured("floor", "kserve", "none", broken="kserve")
    assert [("kserve", "kserve did not start:\nno such model")] == lost
    assert {"floor": 3, "none": 3} == {name: servers.count(name) for name in set(servers)}


def test_trouble_of_our_own_ends_the_run(measured):
    """A table without the gateway would say nothing."""
    with pytest.raises(ServerFailed):
        measured("floor", "none", broken="none")


def test_a_ray_that_does_not_start_is_given_up(measured):
    """Whether it can depends on the machine; the rows beside it are as good without."""
    servers, lost = measured("none", "ray", broken="ray")
    assert (["none"] * 3, ["ray"]) == (servers, [name for name, _ in lost])


def test_what_was_done_is_not_done_again(measured):
    """A run that goes on takes up where it was stopped."""
    servers, _ = measured("floor", "none", done=frozenset({(0, "floor"), (0, "none"), (1, "none")}))
    assert ["floor", "floor", "none"] == sorted(servers)


def test_the_loop_is_one_row_of_the_first_table(monkeypatch):
    """It has no protocol, so it is measured once a round, with as many rows as a full batch has."""
    monkeypatch.setattr(rounds, "measure_loop", lambda *_: Pace(3000.0, 300.0, 64))
    matrix = Matrix(("loop",), ("json", "grpc"), (1, 64), 2, 2, 1, 0)
    runs = list(rounds.measure(matrix, None, Audience(lambda _: None, lambda *_: None)))
    assert [("json", 64, 0), ("json", 64, 1)] == [(run.case, run.at_once, run.round_no) for run in runs]
    assert (6000, 3000.0, 300) == (runs[0].measured.requests_n, runs[0].measured.per_second, round(runs[0].cpu_us))
