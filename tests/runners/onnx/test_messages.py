"""The runtime's errors, short and without paths."""

import pytest

from runners.onnx.messages import short_text

SOURCE = "/onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::Model(onnx::ModelProto&&, const X&) "
RUNNING = "Non-zero status code returned while running Gather node. Name:'take' Status Message: "
CASES = {
    "[ONNXRuntimeError] : 1 : FAIL : Fatal error: com.acme:Foo(-1) is not a registered function/op": (
        "Fatal error: com.acme:Foo(-1) is not a registered function/op"
    ),
    "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /srv/a.onnx failed:Protobuf parsing failed.": (
        "Protobuf parsing failed."
    ),
    f"[ONNXRuntimeError] : 1 : FAIL : {SOURCE}Unsupported model IR version: 99\n": "Unsupported model IR version: 99",
    f"[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : {RUNNING}out of bounds, idx=7": "Gather take: out of bounds, idx=7",
    "could not open /etc/shadow or /proc/self/fd/7, see a/b": "could not open (path) or (path), see a/b",
    "one\ntwo\x1b[31m": "one two [31m",
    "x" * 1000: "x" * 240 + "...",
    "": "ValueError",
}


@pytest.mark.parametrize("text", CASES)
def test_an_error_is_one_short_line_without_paths(text):
    """A caller reads what went wrong, not where this machine keeps its files."""
    assert CASES[text] == short_text(ValueError(text))
