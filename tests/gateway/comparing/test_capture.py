"""Answers as text, cut to a bound."""

import json

import numpy as np

from gateway.comparing.capture import TEXT_LIMIT, captured
from runners.core.tensor import InferenceResponse, Tensor


def answer(values: object, dtype: str) -> InferenceResponse:
    return InferenceResponse((Tensor("y", dtype, np.asarray(values)),))


def test_both_answers_are_json_by_output():
    bf16 = answer(np.array([[0x3F80, 0x4000]], np.uint16), "BF16")
    texts = captured(bf16, answer(np.array([b"cat", b"\xff"], object), "BYTES"))

    assert json.loads(texts[0]) == {"y": [1.0, 2.0]}
    assert list(json.loads(texts[1])) == ["y"]


def test_however_large_an_answer_is_its_text_is_short():
    large = answer(np.random.default_rng(7).random(10_000_000), "FP64")
    assert [len(text) for text in captured(large, large)] == [TEXT_LIMIT, TEXT_LIMIT]
    assert len(captured(answer(np.array([b"x" * 5_000_000], object), "BYTES"), large)[0]) == TEXT_LIMIT
