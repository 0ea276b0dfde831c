"""What is particular to an arm on a Ray cluster: the words that say what it is given there, and what they come to."""

from collections.abc import Iterator
from math import ceil

from gateway.config.documents import ArmDoc, ResourcesDoc
from runners.core.runner import Hosting
from strategies.core.spec import Problem

RAY = "ray"
_ONLY_RAY = ("resources", "replicas", "autoscaling")
_GPU_PROVIDERS = ("cuda", "tensorrt")
_UNITS = {"MiB": 2**20, "GiB": 2**30}

Path = tuple[str | int, ...]


def hosting_problems(name: str, arm: ArmDoc, runner: str) -> Iterator[Problem]:
    """What is wrong with an arm's use of the words for Ray."""
    path: Path = ("arms", name)
    if runner != RAY:
        for word in _ONLY_RAY:
            if getattr(arm, word) is not None:
                yield Problem((*path, word), "this is for models on Ray", "write runner: ray, or leave it out")
        return
    if arm.model.startswith("constant:"):
        cure = "leave runner out; the gateway holds a constant itself"
        yield Problem((*path, "runner"), f"'{arm.model}' needs no cluster", cure)
    yield from _count_problems(path, arm)
    yield from _resource_problems(path, arm)


def hosting_of(arm: ArmDoc, runner: str) -> Hosting | None:
    """What a checked arm is given on Ray, None for one that is run elsewhere. The key is not known before its files."""
    if runner != RAY:
        return None
    resources = arm.resources or ResourcesDoc()
    scaling = arm.autoscaling
    return Hosting(
        num_cpus=float(resources.num_cpus),
        num_gpus=float(resources.num_gpus),
        memory_bytes=_bytes(resources.memory) if resources.memory else 0,
        accelerator_type=resources.accelerator_type or "",
        replicas=scaling.min if scaling else arm.replicas or 1,
        most=scaling.max if scaling else 0,
        target=float(scaling.target if scaling else Hosting().target),
    )


def threads_of(arm: ArmDoc, runner: str) -> int:
    """As many threads as were written; on Ray as many as the CPUs that a replica may use."""
    return _cpus(arm) if runner == RAY else arm.threads


def _count_problems(path: Path, arm: ArmDoc) -> Iterator[Problem]:
    scaling = arm.autoscaling
    if scaling is None:
        return
    if arm.replicas is not None:
        cure = "leave replicas out, or autoscaling"
        yield Problem((*path, "replicas"), "autoscaling says how many there are", cure)
    if scaling.min > scaling.max:
        what = f"at least {scaling.min} and at most {scaling.max} replicas cannot be"
        yield Problem((*path, "autoscaling", "min"), what, f"write min: {scaling.max}, or a larger max")


def _resource_problems(path: Path, arm: ArmDoc) -> Iterator[Problem]:
    resources = arm.resources or ResourcesDoc()
    provider, gpus = arm.provider.name, resources.num_gpus
    if gpus > 1 and gpus != int(gpus):
        cure = f"write {int(gpus)} or {ceil(gpus)}; only less than one may be a part"
        yield Problem((*path, "resources", "num_gpus"), f"Ray gives no {gpus:g} GPUs to one replica", cure)
    if provider in _GPU_PROVIDERS and not gpus:
        cure = "write resources: {num_gpus: 1}, or a part of one"
        yield Problem(
            (*path, "provider"), f"Ray hides every GPU from a replica that asks for none: no {provider}", cure
        )
    if gpus and provider not in _GPU_PROVIDERS:
        cure = "write provider: {name: cuda}, or leave num_gpus out"
        yield Problem((*path, "resources", "num_gpus"), f"the provider {provider} would let the GPU lie idle", cure)
    if arm.threads not in (1, _cpus(arm)):
        what = f"on Ray a model has as many threads as whole CPUs, here {_cpus(arm)}"
        cure = f"write resources: {{num_cpus: {arm.threads}}} and leave threads out"
        yield Problem((*path, "threads"), what, cure)


def _cpus(arm: ArmDoc) -> int:
    """The whole CPUs of a replica, at least one: that many threads may run at a time."""
    resources = arm.resources or ResourcesDoc()
    return max(1, int(resources.num_cpus))


def _bytes(written: str) -> int:
    number, unit = written[:-3], written[-3:]
    return int(float(number) * _UNITS[unit])
