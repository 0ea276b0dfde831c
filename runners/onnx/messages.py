"""ONNX Runtime's error texts, fit for a log line or a caller: short, one line, without paths of this or its machine."""

import re

_LENGTH = 240
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LOADING = re.compile(r"Load model from .*? failed:")
# a source file of the runtime, and the C++ signature after it, which may hold one level of brackets
_SOURCE = re.compile(r"/\S*onnxruntime\S*:\d+ [^()]*\((?:[^()]|\([^()]*\))*\)(?: const)?\s*")
_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_PATH = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+[\w.+-]*")


def short_text(error: BaseException) -> str:
    """What `error` says, at most 240 characters of it; the class's name if it says nothing."""
    text = _CODE.sub("", str(error))
    text = _LOADING.sub("", text)
    text = _SOURCE.sub("", text)
    text = _NODE.sub(lambda found: f"{found[1]} {found[2]}".strip() + ": ", text)
    text = _PATH.sub("(path)", text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return (text if len(text) <= _LENGTH else text[:_LENGTH] + "...") or type(error).__name__
