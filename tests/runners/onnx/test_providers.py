"""Where a model runs, and that nobody is moved to the CPU unseen."""

import numpy as np
import onnxruntime as ort
import pytest

from runners.core.errors import LoadRefused
from runners.core.runner import ProviderChoice
from runners.onnx.providers import CPU, PROVIDERS, choose_provider, missing, was_got
from runners.onnx.session import load_model, session_options

ACCELERATORS = ["cuda", "tensorrt", "openvino"]


def test_the_cpu_is_always_there():
    """A model without a word about a provider runs on the CPU."""
    chosen = choose_provider(ProviderChoice(), [CPU])
    assert ("cpu", ((CPU, {}),), "") == (chosen.name, chosen.stack, chosen.degraded)


@pytest.mark.parametrize("name", ACCELERATORS)
def test_a_required_provider_that_is_missing_is_refused(name):
    """No request runs silently on the CPU under `require`."""
    with pytest.raises(LoadRefused) as caught:
        choose_provider(ProviderChoice(name, "require"), [CPU])
    assert f"provider '{name}'" == caught.value.what
    assert f"this onnxruntime has no {PROVIDERS[name].ort_name}" == caught.value.why
    assert "or write policy: prefer" in caught.value.cure


@pytest.mark.parametrize("name", ACCELERATORS)
def test_a_preferred_provider_that_is_missing_gives_the_cpu_and_says_so(name):
    """An operator reads that the GPU is not used, and why."""
    chosen = choose_provider(ProviderChoice(name, "prefer"), [CPU])
    told = f"{name} was preferred, but this onnxruntime has no {PROVIDERS[name].ort_name}"
    assert ("cpu", ((CPU, {}),), told) == (chosen.name, chosen.stack, chosen.degraded)


@pytest.mark.parametrize("name", ACCELERATORS)
def test_a_provider_that_is_there_comes_first_and_the_cpu_last(name):
    """What the accelerator cannot do the CPU does; options are the operator's over ours."""
    available = [provider.ort_name for provider in PROVIDERS.values()]
    chosen = choose_provider(ProviderChoice(name, "require", {"device_id": "1"}), available)
    (first, options), *_, last = chosen.stack
    assert (PROVIDERS[name].ort_name, "1", (CPU, {})) == (first, options["device_id"], last)
    assert PROVIDERS[name].options.items() <= options.items()


def test_tensorrt_leans_on_cuda_where_there_is_cuda():
    """What TensorRT cannot do CUDA does."""
    available = [PROVIDERS[name].ort_name for name in ("tensorrt", "cuda", "cpu")]
    stack = choose_provider(ProviderChoice("tensorrt"), available).stack
    assert available == [name for name, _ in stack]


def test_an_operators_option_beats_ours():
    """A default is what holds when nothing is said."""
    available = [PROVIDERS["cuda"].ort_name]
    chosen = choose_provider(ProviderChoice("cuda", "require", {"cudnn_conv_algo_search": "EXHAUSTIVE"}), available)
    assert "EXHAUSTIVE" == chosen.stack[0][1]["cudnn_conv_algo_search"]


@pytest.mark.parametrize(
    ("choice", "cure"),
    [
        (ProviderChoice("gpu"), "write one of cpu, cuda, tensorrt, openvino"),
        (ProviderChoice("CUDAExecutionProvider"), "write one of cpu"),
        (ProviderChoice("cpu", "insist"), "write require or prefer"),
    ],
)
def test_an_unknown_word_is_told_with_the_known_ones(choice, cure):
    """An operator who misspelt a word reads the right one."""
    with pytest.raises(LoadRefused, match=cure):
        choose_provider(choice, [CPU])


def test_a_session_that_came_up_without_its_provider_is_noticed():
    """The runtime drops a provider whose libraries do not load; it is asked what it has."""
    chosen = choose_provider(ProviderChoice("cuda"), ["CUDAExecutionProvider", CPU])
    assert (False, True) == (was_got(chosen, [CPU]), was_got(chosen, ["CUDAExecutionProvider", CPU]))


def test_a_provider_that_fails_late_is_treated_as_one_that_is_missing():
    """`require` and `prefer` mean the same whenever it turns out."""
    with pytest.raises(LoadRefused, match="no session could be built on it"):
        missing(ProviderChoice("cuda", "require"), "no session could be built on it")
    assert "cuda was preferred, but it broke" == missing(ProviderChoice("cuda", "prefer"), "it broke").degraded


@pytest.mark.parametrize("name", ACCELERATORS)
def test_a_model_is_degraded_or_refused_on_a_machine_without_the_device(name, model_file, ask):
    """The whole way, on this machine."""
    if PROVIDERS[name].ort_name in ort.get_available_providers():
        pytest.skip(f"this machine has {name}")
    path = model_file("sum")
    with pytest.raises(LoadRefused, match=f"provider '{name}'"):
        load_model(path, ProviderChoice(name, "require"), threads=1, options=session_options())
    loaded = load_model(path, ProviderChoice(name, "prefer"), threads=1, options=session_options())
    (y,) = loaded.session.run(ask(x=np.ones((1, 4), "<f4")))
    assert ("cpu", True, [[4]]) == (loaded.provider.name, name in loaded.provider.degraded, y.array.tolist())


def test_a_provider_that_breaks_while_the_session_is_built_is_not_replaced_unseen(monkeypatch, model_file):
    """A driver that is too old gives the CPU under `prefer` alone, and says so."""
    build = ort.InferenceSession

    def broken(path, options, providers, **how):
        if providers[0][0] == "CUDAExecutionProvider":
            raise RuntimeError("CUDA failure 35: driver too old; /usr/lib/libcuda.so")
        return build(path, options, providers=providers, **how)

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    monkeypatch.setattr(ort, "preload_dlls", lambda directory: None)
    monkeypatch.setattr(ort, "InferenceSession", broken)
    path = model_file("sum")
    with pytest.raises(LoadRefused, match="CUDA failure 35"):
        load_model(path, ProviderChoice("cuda", "require"), threads=1, options=session_options())
    loaded = load_model(path, ProviderChoice("cuda", "prefer"), threads=1, options=session_options())
    told = "cuda was preferred, but no session could be built on it: CUDA failure 35: driver too old; (path)"
    assert ("cpu", told) == (loaded.provider.name, loaded.provider.degraded)


@pytest.mark.gpu
@pytest.mark.skipif("CUDAExecutionProvider" not in ort.get_available_providers(), reason="no CUDA here")
def test_a_model_runs_on_the_gpu_that_was_required(model_file, ask):
    """`require` and a GPU that works."""
    loaded = load_model(model_file("square"), ProviderChoice("cuda"), threads=1, options=session_options())
    (y,) = loaded.session.run(ask(x=np.eye(2, dtype="<f4")))
    assert ("cuda", "", [[1, 0], [0, 1]]) == (loaded.provider.name, loaded.provider.degraded, y.array.tolist())
