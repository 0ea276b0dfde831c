"""Weights beside a model: handed over as memory, from nowhere but beside the model."""

import hashlib

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from runners.core.errors import LoadRefused
from runners.core.frozen import freeze
from runners.core.runner import ProviderChoice
from runners.onnx.session import load_model, session_options

WEIGHTS = np.arange(8, dtype="<f4").reshape(4, 2)
BYTES = WEIGHTS.tobytes()
TEXT = '<ir_version: 9, opset_import: ["": 17]> m (float[N,4] x) => (float[N,2] y) { y = MatMul(x, w) }'


@pytest.fixture
def save(tmp_path):
    """Writes a model that keeps its weights at a location of one's choice, and what lies there."""

    def write(location="w.bin", content=BYTES, **entries):
        model = onnx.parser.parse_model(TEXT)
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4, 2], data_location=TensorProto.EXTERNAL)
        for key, value in ({"location": location} | entries).items():
            tensor.external_data.add(key=key, value=value)
        model.graph.initializer.append(tensor)
        (tmp_path / "models").mkdir(exist_ok=True)
        path = tmp_path / "models" / "m.onnx"
        path.write_bytes(model.SerializeToString())
        if content is not None:
            (tmp_path / "models" / "w.bin").write_bytes(content)
        return path

    return write


def load(path):
    return load_model(path, ProviderChoice(), threads=1, options=session_options())


def refusal(path):
    with pytest.raises(LoadRefused) as caught:
        load(path)
    assert "m.onnx" == caught.value.what
    return str(caught.value)


def test_weights_beside_a_model_are_its_weights(save, ask):
    """A model above two gigabytes is served like any other."""
    loaded = load(save())
    (y,) = loaded.session.run(ask(x=np.eye(4, dtype="<f4")))
    assert WEIGHTS.tolist() == y.array.tolist()


def test_weights_may_share_a_file(save, ask):
    """Offset and length are kept to."""
    loaded = load(save(content=bytes(64) + WEIGHTS.tobytes() + bytes(9), offset="64", length="32"))
    (y,) = loaded.session.run(ask(x=np.eye(4, dtype="<f4")))
    assert WEIGHTS.tolist() == y.array.tolist()


def test_weights_belong_to_the_digest(save):
    """A digest that ignored the weights would say nothing."""
    path = save()
    listing = "".join(
        f"{hashlib.sha256((path.parent / name).read_bytes()).hexdigest()}  {shown}\n"
        for name, shown in (("m.onnx", "model.onnx"), ("w.bin", "w.bin"))
    )
    before = load(path).digest
    assert hashlib.sha256(listing.encode()).hexdigest() == before
    save(content=bytes(32))
    assert before != load(path).digest


def test_what_onnx_itself_saves_is_loaded(tmp_path, ask):
    """Many tensors in a file in a folder, as the onnx package writes them."""
    model = onnx.parser.parse_model(TEXT)
    model.graph.initializer.append(numpy_helper.from_array(WEIGHTS, "w"))
    onnx.save_model(model, tmp_path / "m.onnx", save_as_external_data=True, location="deep.bin", size_threshold=0)
    (y,) = load(tmp_path / "m.onnx").session.run(ask(x=np.eye(4, dtype="<f4")))
    assert WEIGHTS.tolist() == y.array.tolist()


@pytest.mark.parametrize("location", ["../w.bin", "a/../../w.bin", "/etc/passwd", "", ".", "a\\..\\w.bin"])
def test_a_location_outside_the_models_directory_is_refused(save, location):
    """A model file names no other file of this machine."""
    assert "leads out of the model's directory" in refusal(save(location))


def test_weights_that_are_not_there_are_told(save):
    """Half of a model was copied."""
    assert "external data 'w.bin' no such file" in refusal(save(content=None))


def test_linked_weights_are_refused(save, tmp_path):
    """Neither a linked file, nor one in a linked folder, nor a second name of a file."""
    path = save(content=None)
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    (path.parent / "w.bin").symlink_to(tmp_path / "secret")
    assert "links are not followed" in refusal(path)
    (path.parent / "w.bin").unlink()
    (path.parent / "w.bin").hardlink_to(tmp_path / "secret")
    assert "is hard-linked" in refusal(path)
    (path.parent / "out").symlink_to(tmp_path)
    assert "links are not followed" in refusal(save("out/secret"))


@pytest.mark.parametrize(
    "entries",
    [{"offset": "33"}, {"offset": "8", "length": "32"}, {"length": str(2**63)}, {"offset": str(2**63), "length": "32"}],
)
def test_weights_beyond_the_end_of_their_file_are_refused(save, entries):
    """The runtime is never asked to read past an end."""
    assert "lies beyond the 32 bytes of 'w.bin'" in refusal(save(**entries))


def test_weights_that_are_too_few_for_their_shape_are_refused(save):
    """A matrix is not filled up with whatever follows."""
    assert "tensor 'w' needs 32 bytes and 16 are kept for it" in refusal(save(length="16"))


def test_an_address_in_memory_is_no_location(save, tmp_path):
    """The runtime's own mark for memory of this process, in a file that somebody else wrote."""
    path = save("*/_ORT_MEM_ADDR_/*", offset="4096", length="32")
    (path.parent / "*" / "_ORT_MEM_ADDR_").mkdir(parents=True)
    (path.parent / "*" / "_ORT_MEM_ADDR_" / "*").write_bytes(bytes(8192))
    assert "which is an address in memory" in refusal(path)


def test_the_runtime_would_not_have_found_the_weights_itself(save):
    """It is given a path from which no relative one leads anywhere, so what it reads is what was checked."""
    with freeze(save(), limit_bytes=1 << 20) as file, pytest.raises(Exception, match="path validation failed"):
        ort.InferenceSession(file.path, session_options(), providers=["CPUExecutionProvider"], enable_fallback=0)
