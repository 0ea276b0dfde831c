"""Answers as text, cut to a bound: what an operator may ask to see of those that differ."""

from msgspec import json

from runners.core.checks import wide
from runners.core.tensor import InferenceResponse

TEXT_LIMIT = 1_024  # characters of one answer
ELEMENTS_N = 256  # of one output, so that no more is turned into text than could be kept


def captured(served: InferenceResponse, shadow: InferenceResponse) -> tuple[str, str]:
    """Both answers as {"output": [values, flat]}; JSON unless it is cut off at TEXT_LIMIT characters."""
    return _text_of(served), _text_of(shadow)


def _text_of(answer: InferenceResponse) -> str:
    found = {tensor.name: wide(tensor).reshape(-1)[:ELEMENTS_N].tolist() for tensor in answer.outputs}
    return json.encode(found, enc_hook=str).decode()[:TEXT_LIMIT]
