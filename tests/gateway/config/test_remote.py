"""Arms on other servers, as operators write them."""

from pathlib import Path

import pytest

from gateway.config.compile import compile_route
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.problems import ConfigRefused
from gateway.config.yaml import YamlText, dump
from runners.core.runner import RemoteServer

THERE = {"model": "remote:digits:2", "role": "candidate", "url": "grpcs://host:8001"}


def load(chain=("old",), old_role="baseline", **there):
    arms = {"old": {"model": "file:old.onnx", "role": old_role}, "there": {**THERE, **there}}
    document = {"turnout": "v1", "route": "r", "arms": arms, "strategy": {"kind": "baseline"}, "fallback": list(chain)}
    return load_route(YamlText(Path("r.yaml"), dump(document)))


def problem_of(**changes):
    with pytest.raises(ConfigRefused) as refused:
        load(**changes)
    (problem,) = refused.value.problems
    return ".".join(map(str, problem.problem.path)), problem.problem.cure


def test_a_remote_arm_is_run_by_the_remote_runner_with_files_beside_the_configuration():
    """The reference says what runs it; certificates and token lie where models do."""
    tls = {"ca_file": "ca.crt", "cert_file": "c.crt", "key_file": "/keys/c.key"}
    route = compile_route(load(tls=tls, token_file="token"), root=Path("/etc/turnout"), layers=NO_LAYERS)
    etc = Path("/etc/turnout")
    expected = RemoteServer("grpcs://host:8001", etc / "ca.crt", etc / "c.crt", Path("/keys/c.key"), etc / "token")
    assert [("embedded", None), ("remote", expected)] == [(arm.runner, arm.model.server) for arm in route.arms]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"model": "remote:digits:2:3"}, "arms.there.model"),
        ({"model": "remote:"}, "arms.there.model"),
        ({"url": "host:8001"}, "arms.there.url"),
        ({"url": "grpcs://name:password@host:8001"}, "arms.there.url"),
        ({"url": None}, "arms.there.url"),
        ({"url": "grpc://host:8001", "tls": {"ca_file": "ca"}}, "arms.there.tls"),
        ({"tls": {"cert_file": "c"}}, "arms.there.tls"),
        ({"provider": {"name": "cuda"}}, "arms.there.provider"),
        ({"threads": 4}, "arms.there.threads"),
        ({"runner": "embedded"}, "arms.there.runner"),
        ({"model": "file:new.onnx"}, "arms.there.url"),
        ({"model": "file:new.onnx", "url": None, "token_file": "t"}, "arms.there.token_file"),
        ({"model": "file:new.onnx", "url": None, "runner": "remote"}, "arms.there.runner"),
    ],
)
def test_a_word_that_is_wrong_or_would_do_nothing_is_a_problem_with_a_cure(changes, path):
    """Nobody finds out in production that a setting was not looked at."""
    found, cure = problem_of(**changes)
    assert (path, True) == (found, bool(cure))


@pytest.mark.parametrize("chain", [["there"], ["old", "there"]])
def test_a_chain_does_not_end_on_another_server(chain):
    """When that server is gone somebody must still answer, and a remote model cannot be copied here."""
    path, cure = problem_of(chain=chain)
    assert ("fallback", True) == (path, "held here" in cure)


def test_a_remote_baseline_needs_somebody_behind_it():
    """Also where the chain is left out and the baseline would be all of it."""
    arms = {"there": {**THERE, "role": "baseline"}}
    document = {"turnout": "v1", "route": "r", "arms": arms, "strategy": {"kind": "baseline"}}
    with pytest.raises(ConfigRefused, match="add an arm that is held here"):
        load_route(YamlText(Path("r.yaml"), dump(document)))


def test_a_remote_baseline_with_somebody_behind_it_gets_no_twin():
    """Its model cannot be held here."""
    document = load(chain=("there", "old"), old_role="reserve", role="baseline")
    route = compile_route(document, root=Path("/"), layers=NO_LAYERS)
    assert (("there", "old"), 2) == (route.fallback, len(route.arms))
