"""How an operator writes that calls may share a run."""

from pathlib import Path

import pytest

from gateway.config.compile import compile_route
from gateway.config.directory import NO_LAYERS, load_route
from gateway.config.problems import ConfigRefused
from gateway.config.yaml import YamlText
from runners.core.runner import Batching


def loaded(batching, model="file:a.onnx"):
    text = (
        f'turnout: v1\nroute: a\narms: {{x: {{model: "{model}", role: baseline, {batching}}}}}\n'
        "strategy: {kind: baseline}\ntimeout: 500ms\n"
    )
    return load_route(YamlText(Path("a.yaml"), text))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("version: '1'", Batching(64, 0.0, 0.0)),
        ("batching: off", Batching(1, 0.0, 0.0)),
        ("batching: false", Batching(1, 0.0, 0.0)),
        ("batching: {max_rows: 8, max_wait_ms: 2.5, tolerance: 1.0e-6}", Batching(8, 0.0025, 1e-6)),
    ],
)
def test_what_is_written_reaches_the_model(written, meant):
    """With defaults for what is not."""
    assert meant == compile_route(loaded(written), root=Path(), layers=NO_LAYERS).arms[0].model.batching


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("batching: on", "arms.x.batching: must be a group of named values"),
        ("batching: {max_rows: 0}", "arms.x.batching.max_rows: Input should be greater than or equal to 1"),
        ("batching: {max_rows: 5000}", "arms.x.batching.max_rows: Input should be less than or equal to 4096"),
        ("batching: {max_wait: 1}", "did you mean 'max_wait_ms'?"),
        ("batching: {max_wait_ms: 500}", "max_wait_ms: calls would be held back for 500 ms, as long as the timeout"),
        ("batching: {tolerance: -1}", "arms.x.batching.tolerance: Input should be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(written, told):
    """With its place and its cure."""
    with pytest.raises(ConfigRefused) as refused:
        loaded(written)
    assert told in str(refused.value)


def test_another_server_batches_as_it_likes():
    """The word would have no effect there."""
    with pytest.raises(ConfigRefused, match=r"arms\.x\.batching: the other server decides how it runs its models"):
        loaded("url: 'http://a:1', batching: off", "remote:m")
