"""Files that call themselves models and are none, told apart without being opened."""

import bz2
import gzip
import io
import lzma
import pickle
import zipfile
import zlib

import numpy as np
import pytest

from runners.onnx.disguises import disguise_of, likeness_of


def zipped(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


AT_ONCE = [
    (b"", "empty"),
    *[(pickle.dumps({"a": 1}, protocol), "a pickle") for protocol in (2, 3, 4, 5)],
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a pickle"),  # torch.save before 1.6
    (zipped("archive/data.pkl"), "a PyTorch archive"),
    (zipped("model.json"), "a zip archive"),
    (gzip.compress(b"x", mtime=0), "a gzip archive"),
    (bz2.compress(b"x"), "a bzip2 archive"),
    (lzma.compress(b"x"), "an xz archive"),
    (b"(\xb5/\xfd rest", "a zstd archive"),
    *[(zlib.compress(b"x", level), "zlib data") for level in (0, 6, 9)],
    (array(), "a NumPy array"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x7fELF\x02\x01\x01", "a shared library"),
    (b"\x18\x00\x00\x00ORTM\x00", "in ONNX Runtime's own ORT format"),
    (b"\x08\x08\x12\x04ORTM\x3a\x00", "in ONNX Runtime's own ORT format"),  # and valid ONNX as well
    (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
    (b"/annex/objects/SHA256E-s1--0.onnx\n", "a git-annex pointer"),
]


@pytest.mark.parametrize(("head", "is_a"), AT_ONCE, ids=[f"{n} {is_a}" for n, (_, is_a) in enumerate(AT_ONCE)])
def test_a_disguise_is_seen_through_at_once(head, is_a):
    """An operator reads what the file is, and nothing in it has been run."""
    found = disguise_of(head)
    assert (True, True) == (found.is_a.startswith(is_a), bool(found.cure))


def test_a_model_is_let_through(model):
    """What begins like ONNX is looked at further."""
    assert disguise_of(model("sum").SerializeToString()) is None


@pytest.mark.parametrize(
    ("head", "is_a"),
    [
        (b"<!DOCTYPE html><html>404</html>", "an HTML page"),
        (b"\n<HTML><body>", "an HTML page"),
        (b'{"error": "not found"}', "JSON text"),
        (b"[1, 2]", "JSON text"),
        (pickle.dumps({"a": 1}, 0), "text, perhaps an old pickle"),
        (b"cos\nsystem\n(S'true'\ntR.", "text, perhaps an old pickle"),
        (b"ir_version: 8\nproducer_name: 'me'\n", "text"),
        ("größer\n".encode() * 100, "text"),
        (("x" * 511 + "ß").encode() + b"x" * 100, "text"),
        (b"\x00\x01\x02\x03", "not ONNX"),
        (b"\xff\xfe\xfd" * 300, "not ONNX"),
        (b"   ", "not ONNX"),
    ],
)
def test_what_did_not_parse_is_likened_to_something(head, is_a):
    """A download that failed is called one."""
    assert likeness_of(head).is_a.startswith(is_a)
