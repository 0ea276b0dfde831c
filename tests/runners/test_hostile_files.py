"""Files that mean harm: refused, with nothing imported, run, or opened beside them.

They are loaded in a process that watches itself: an audit hook, set once everything the runners need is imported, notes
every import, exec, compile and open. Python cannot see what native code opens, but native code is only ever given
memory: the model frozen, the weights beside it frozen.
"""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CHILD = """
import asyncio, json, os, sys
from pathlib import Path
from runners.constant import Constant
from runners.core.runner import ModelRef
from runners.embedded import Embedded

RUNNERS = {"file": Embedded(), "constant": Constant()}
FORBIDDEN = {"import", "exec", "compile", "os.system", "subprocess.Popen", "ctypes.dlopen", "socket.connect"}
seen = []
folder = None

def is_ours(path):
    # a bare name is opened from a directory descriptor, which was itself opened from the folder
    if isinstance(path, int) or "/" not in os.fsdecode(path) and os.fsdecode(path) not in ("..", "."):
        return True
    return Path(os.fsdecode(path)).resolve().is_relative_to(folder)

def hook(event, arguments):
    if folder and (event in FORBIDDEN or event == "open" and not is_ours(arguments[0])):
        seen.append(event)

async def load(scheme):
    BREACH
    try:
        endpoint = await RUNNERS[scheme].open(ModelRef(f"{scheme}:m.onnx", folder))
        await endpoint.close()
        return "opened"
    except Exception as error:
        return f"{type(error).__name__}: {error}"

async def main():
    global folder
    await asyncio.to_thread(int)  # the standard library imports its threads when they are first used
    sys.addaudithook(hook)
    outcomes = {}
    for name, where, scheme in json.loads(sys.stdin.read()):
        folder = Path(where)
        outcome = await load(scheme)
        folder = None
        outcomes[name] = outcome, list(seen)
        seen.clear()
    print(json.dumps(outcomes))

asyncio.run(main())
"""


class Exploit:
    """What unpickling this would do is to write a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def linear(**entries):
    """A model whose only weight lies where `entries` say."""
    text = '<ir_version: 9, opset_import: ["": 17]> m (float[N,2] x) => (float[N,2] y) { y = Mul(x, w) }'
    model = onnx.parser.parse_model(text)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    model.graph.initializer.append(tensor)
    return model


def torch_archive(mark):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Exploit(mark)))
        archive.writestr("archive/version", "3")
    return buffer.getvalue()


def custom_operator():
    node = helper.make_node("Run", ["x"], ["y"], domain="evil.example")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("evil.example", 1)]
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=9)


def python_operator():
    """The runtime's own node for calling into Python, as its training build has it."""
    node = helper.make_node("PythonOp", ["x"], ["c", "y"], domain="com.microsoft", func_name="os.system")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=9)


def engine():
    node = helper.make_node(
        "EPContext", ["x"], ["y"], domain="com.microsoft", ep_cache_context="../secret", embed_mode=0
    )
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=9)


def greedy():
    model = linear(location="unused")
    model.graph.initializer[0].CopyFrom(TensorProto(name="w", data_type=1, dims=[2**31, 2**31], raw_data=b"1234"))
    return model


def disguised_runtime_format():
    """Valid ONNX whose fifth to eighth byte are the mark of ONNX Runtime's own format."""
    return b"\x08\x09\x12\x04ORTM" + linear(location="../secret").SerializeToString()


# name -> (content made from the path of a mark, why it is refused)
FILES = {
    "pickle": (lambda mark: pickle.dumps(Exploit(mark)), "a pickle"),
    "pickle of protocol 0": (lambda mark: pickle.dumps(Exploit(mark), 0), "perhaps an old pickle"),
    "joblib, compressed": (lambda mark: gzip.compress(pickle.dumps(Exploit(mark))), "a gzip archive"),
    "torch archive": (torch_archive, "a PyTorch archive"),
    "shared library": (lambda mark: b"\x7fELF\x02\x01\x01" + bytes(100), "a shared library"),
    "python source": (lambda mark: f"import os; os.system('touch {mark}')".encode(), "is text"),
    "lfs pointer": (
        lambda mark: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "Git LFS pointer",
    ),
    "html": (lambda mark: b"<!doctype html><script>1</script>", "an HTML page"),
    "empty": (lambda mark: b"", "is empty"),
    "truncated": (lambda mark: linear(location="w" * 2000).SerializeToString()[:-500], "truncated"),
    "custom operator": (lambda mark: custom_operator(), "uses an operator that this runtime lacks"),
    "python operator": (lambda mark: python_operator(), "uses an operator that this runtime lacks"),
    "compiled engine": (lambda mark: engine(), "holds an engine compiled for one device"),
    "runtime's own format": (lambda mark: disguised_runtime_format(), "in ONNX Runtime's own ORT format"),
    "promise of 16 EiB": (lambda mark: greedy(), "declares 4611686018427387904 elements"),
    "external, up": (lambda mark: linear(location="../secret"), "leads out of the model's directory"),
    "external, down and up": (lambda mark: linear(location="a/../../secret"), "leads out of the model's directory"),
    "external, absolute": (lambda mark: linear(location="/etc/passwd"), "leads out of the model's directory"),
    "external, linked file": (lambda mark: linear(location="link"), "links are not followed"),
    "external, linked folder": (lambda mark: linear(location="folder/secret"), "links are not followed"),
    "external, hard link": (lambda mark: linear(location="hard"), "is hard-linked"),
    "external, device": (lambda mark: linear(location="pipe"), "is not a regular file"),
    "external, huge offset": (lambda mark: linear(location="w.bin", offset=str(2**62)), "lies beyond"),
    "external, huge length": (lambda mark: linear(location="w.bin", length=str(2**62)), "lies beyond"),
    "external, negative offset": (lambda mark: linear(location="w.bin", offset="-8"), "has the offset or length '-8'"),
    "external, memory": (lambda mark: linear(location="*/_ORT_MEM_ADDR_/*"), "an address in memory"),
}


def set_trap(folder, content):
    """A model's directory, with the model and all kinds of traps in it, and a secret beside it."""
    inside = folder / "models"
    (inside / "a").mkdir(parents=True)
    (folder / "secret").write_bytes(bytes(8))
    (inside / "w.bin").write_bytes(np.ones(2, "<f4").tobytes())
    (inside / "link").symlink_to(folder / "secret")
    (inside / "folder").symlink_to(folder)
    (inside / "hard").hardlink_to(folder / "secret")
    os.mkfifo(inside / "pipe")
    (inside / "m.onnx").write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return str(inside.resolve())


def load_all(loads, breach="pass"):
    """What became of each file, and what was done to find that out; `breach` is done before each."""
    command = [sys.executable, "-c", CHILD.replace("BREACH", breach)]
    ended = subprocess.run(command, input=json.dumps(loads), capture_output=True, text=True, timeout=100, check=False)
    assert 0 == ended.returncode, ended.stderr
    return json.loads(ended.stdout)


def embedded_weights():
    model = linear(location="unused")
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones(2, "<f4"), "w"))
    return model


GOOD = {"weights in the file": embedded_weights, "weights beside the file": lambda: linear(location="w.bin")}
CONSTANTS = ["pickle", "python source", "torch archive"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def outcomes(base):
    """Every file loaded once, one after the other, in one watched process."""
    contents = {name: make(base / "mark") for name, (make, _) in FILES.items()}
    contents |= {name: make() for name, make in GOOD.items()}
    traps = {name: set_trap(base / str(number), content) for number, (name, content) in enumerate(contents.items())}
    loads = [(name, trap, "file") for name, trap in traps.items()]
    return load_all(loads + [(f"constant {name}", traps[name], "constant") for name in CONSTANTS])


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_with_nothing_run_or_opened(name, outcomes, base):
    """Whoever can place a model file can place no code."""
    outcome, events = outcomes[name]
    assert (True, []) == (outcome.startswith("LoadRefused: m.onnx: "), events), outcome
    assert FILES[name][1] in outcome
    assert str(base) not in outcome


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_no_way_in_either(name, outcomes):
    """A file of answers is data."""
    outcome, events = outcomes[f"constant {name}"]
    assert (True, []) == (outcome.startswith("LoadRefused: m.onnx: is not a constant model"), events)


def test_no_file_left_its_mark(outcomes, base):
    """Nothing that was in them has been run."""
    assert (True, False) == (bool(outcomes), (base / "mark").exists())


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_is_opened_with_nothing_more(name, outcomes):
    """The hook sees as little of a model that is served, so silence above means something."""
    assert ["opened", []] == outcomes[name]


def test_the_hook_would_have_seen_it(base):
    """A watch that never barks is no watch."""
    trap = set_trap(base / "watched", linear(location="w.bin"))
    breach = "open('/etc/hostname').close(); exec('1')"
    _, events = load_all([("m", trap, "file")], breach)["m"]
    assert {"open", "compile", "exec"} == set(events)


def test_the_exploit_would_have_worked(tmp_path):
    """A trap that never springs proves nothing."""
    pickle.loads(pickle.dumps(Exploit(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()
