"""Arms on a Ray cluster, as operators write them."""

from pathlib import Path

import pytest

from gateway.config.compile import compile_route
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.problems import ConfigRefused
from gateway.config.yaml import YamlText, dump
from runners.core.runner import Hosting
from strategies.core.arm import Role

GPU = {"name": "cuda"}


def load(*, old=None, defaults=None, **there):
    arms = {
        "old": {"model": "file:old.onnx", "role": "baseline", **(old or {})},
        "there": {"model": "file:new.onnx", "role": "candidate", "runner": "ray", **there},
    }
    written = {"turnout": "v1", "route": "r", "arms": arms, "strategy": {"kind": "baseline"}}
    if defaults:
        written["defaults"] = defaults
    return load_route(YamlText(Path("r.yaml"), dump(written)))


def compiled(**changes):
    route = compile_route(load(**changes), root=Path("/etc/turnout"), layers=NO_LAYERS)
    return {each.arm.name: each for each in route.arms}


def problem_of(**changes):
    with pytest.raises(ConfigRefused) as refused:
        load(**changes)
    (problem,) = refused.value.problems
    return ".".join(map(str, problem.problem.path)), problem.problem.cure


def test_an_arm_on_ray_has_one_replica_of_one_cpu_unless_it_says_more():
    """The word alone is enough."""
    there = compiled()["there"]
    assert ("ray", Hosting(), 1) == (there.runner, there.model.hosting, there.model.threads)


def test_what_is_written_is_what_ray_is_asked_for_and_threads_are_as_many_as_cpus():
    """A session with more threads than CPUs waits for itself; one with fewer leaves some idle."""
    resources = {"num_cpus": 4, "num_gpus": 0.5, "memory": "1.5GiB", "accelerator_type": "H100"}
    there = compiled(resources=resources, provider=GPU, replicas=3)["there"].model
    assert (Hosting("", 4.0, 0.5, 1_610_612_736, "H100", replicas=3), 4) == (there.hosting, there.threads)
    scaled = compiled(autoscaling={"min": 0, "max": 5, "target": 2.5})["there"].model
    assert Hosting(replicas=0, most=5, target=2.5) == scaled.hosting


def test_a_part_of_a_cpu_runs_one_thread():
    """Small models share a CPU; nobody can run half a thread."""
    assert compiled(resources={"num_cpus": 0.25})["there"].model.threads == 1


def test_a_route_may_put_every_model_in_a_file_on_ray_and_others_stay_where_they_are():
    """`defaults` says it once; a constant and another server's model are run as their references say."""
    arms = compiled(defaults={"runner": "ray"}, model="constant:prior.json", runner=None)
    assert {"old": "ray", "there": "constant", "old@resident": "embedded"} == {k: a.runner for k, a in arms.items()}


def test_an_arm_may_stay_here_where_the_route_goes_to_ray():
    """What the arm says holds."""
    arms = compiled(defaults={"runner": "ray"}, runner=None, old={"runner": "embedded"})
    assert {"old": "embedded", "there": "ray"} == {name: arm.runner for name, arm in arms.items()}


def test_a_baseline_on_ray_has_a_copy_here_that_answers_when_the_cluster_is_gone():
    """Every chain ends in this process, with one thread and nothing of the cluster."""
    copy = compiled(old={"runner": "ray", "resources": {"num_cpus": 2}})["old@resident"]
    assert ("embedded", Role.RESERVE, None, 1) == (copy.runner, copy.arm.role, copy.model.hosting, copy.model.threads)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"runner": None, "replicas": 2}, "arms.there.replicas"),
        ({"runner": None, "resources": {"num_cpus": 2}}, "arms.there.resources"),
        ({"runner": "embedded", "autoscaling": {"max": 2}}, "arms.there.autoscaling"),
        ({"model": "constant:prior.json"}, "arms.there.runner"),
        ({"model": "remote:m", "url": "grpc://h:1"}, "arms.there.runner"),
        ({"replicas": 2, "autoscaling": {"max": 2}}, "arms.there.replicas"),
        ({"autoscaling": {"min": 3, "max": 2}}, "arms.there.autoscaling.min"),
        ({"resources": {"num_gpus": 1.5}, "provider": GPU}, "arms.there.resources.num_gpus"),
        ({"resources": {"num_gpus": 1}}, "arms.there.resources.num_gpus"),
        ({"provider": GPU}, "arms.there.provider"),
        ({"threads": 2}, "arms.there.threads"),
    ],
)
def test_a_word_that_is_wrong_or_would_do_nothing_is_a_problem_with_a_cure(changes, path):
    """Nobody finds out in production that a setting was not looked at."""
    found, cure = problem_of(**changes)
    assert (path, True) == (found, bool(cure))


@pytest.mark.parametrize("memory", ["2", "2GB", "-1GiB", "1e3MiB", 2])
def test_memory_is_a_number_with_its_unit(memory):
    """A bare number would be read as bytes by one and as GiB by another."""
    assert problem_of(resources={"memory": memory})[0] == "arms.there.resources.memory"
