"""Where a model runs: the operator's words, the runtime's names for them, and whether the runtime kept its word.

The runtime itself falls back to the CPU with a line on standard output. Here nobody falls back unseen: `require`
refuses, `prefer` takes the CPU and says why, and after a session is built it is asked what it really got.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from runners.core.errors import LoadRefused
from runners.core.runner import ProviderChoice

CPU = "CPUExecutionProvider"


class Provider(Struct, frozen=True):
    """A provider's name in ONNX Runtime, the options it gets by default, and those it may lean on, best first."""

    ort_name: str
    options: Mapping[str, str] = {}
    leans_on: tuple[str, ...] = ()
    load_limit_s: float = 60.0
    cure: str = ""


# Growing an arena by what is asked, not by powers of two, leaves room for the neighbours; the heuristic search picks a
# convolution in milliseconds where the exhaustive one, the default, runs them all on every new shape.
_CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
    "do_copy_in_default_stream": "1",
}
PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider(CPU),
    "cuda": Provider(
        "CUDAExecutionProvider", _CUDA_OPTIONS, load_limit_s=300.0, cure="install turnout[gpu] instead of onnxruntime"
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider",
        {"trt_fp16_enable": "0"},  # half precision is the operator's to ask for: it changes answers
        leans_on=("cuda",),
        load_limit_s=1800.0,  # building an engine takes minutes
        cure="install turnout[gpu] instead of onnxruntime, and TensorRT's own libraries",
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        {"device_type": "CPU"},
        load_limit_s=300.0,
        cure="use a build of onnxruntime with OpenVINO",
    ),
}


class ChosenProvider(Struct, frozen=True):
    """What a session is built with. `degraded` says why this is not what the operator preferred, "" if it is."""

    name: str
    stack: tuple[tuple[str, dict[str, str]], ...]  # as InferenceSession takes it, the CPU last
    degraded: str = ""
    load_limit_s: float = 60.0


def choose_provider(choice: ProviderChoice, available: Collection[str]) -> ChosenProvider:
    """The provider to build with, given what this build of the runtime has. Raises LoadRefused."""
    if choice.name not in PROVIDERS:
        raise LoadRefused(f"provider {choice.name!r}", "there is none", f"write one of {', '.join(PROVIDERS)}")
    if choice.policy not in ("require", "prefer"):
        raise LoadRefused(f"policy {choice.policy!r}", "there is none", "write require or prefer")
    provider = PROVIDERS[choice.name]
    if provider.ort_name not in available:
        return missing(choice, f"this onnxruntime has no {provider.ort_name}")
    leant_on = [PROVIDERS[name] for name in provider.leans_on]
    stack = [(provider.ort_name, {**provider.options, **choice.options})]
    stack += [(other.ort_name, dict(other.options)) for other in leant_on if other.ort_name in available]
    if provider.ort_name != CPU:
        stack.append((CPU, {}))
    return ChosenProvider(choice.name, tuple(stack), load_limit_s=provider.load_limit_s)


def missing(choice: ProviderChoice, why: str) -> ChosenProvider:
    """The CPU in place of a provider that is not to be had, where the policy allows it. Raises LoadRefused."""
    if choice.policy == "require":
        raise LoadRefused(f"provider {choice.name!r}", why, f"{PROVIDERS[choice.name].cure}, or write policy: prefer")
    return ChosenProvider("cpu", ((CPU, {}),), degraded=f"{choice.name} was preferred, but {why}")


def was_got(chosen: ChosenProvider, session_providers: Collection[str]) -> bool:
    """Whether a session that was built with `chosen` really has its first provider."""
    return chosen.stack[0][0] in session_providers
