"""Models as plain files."""

import os

import pytest

from runners.core.errors import LoadRefused
from runners.registry.directory import find


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / "models").mkdir(parents=True)
    (tmp_path / "root" / "models" / "a.onnx").write_bytes(b"a")
    (tmp_path / "outside.onnx").write_bytes(b"o")
    return tmp_path / "root"


def refusal(path, root):
    with pytest.raises(LoadRefused) as caught:
        find(path, root)
    assert str(root.parent) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", ["models/a.onnx", "./models/a.onnx", "models/../models/a.onnx"])
def test_a_path_is_relative_to_the_root(root, path):
    """A configuration can be moved with its models."""
    assert root / "models" / "a.onnx" == find(path, root).path


def test_an_absolute_path_is_taken_as_it_is(root):
    """Whoever writes one means it."""
    assert root.parent / "outside.onnx" == find(str(root.parent / "outside.onnx"), root).path


def test_a_link_within_the_root_is_followed(root):
    """Kubernetes mounts configurations as links."""
    (root / "current.onnx").symlink_to("models/a.onnx")
    assert root / "models" / "a.onnx" == find("current.onnx", root).path


@pytest.mark.parametrize("path", ["../outside.onnx", "models/../../outside.onnx", "../{root}/../outside.onnx"])
def test_a_path_that_climbs_out_is_refused(root, path):
    """A document names no file beside the configuration by accident."""
    assert "leads out of the configuration's root; write the absolute path if meant" in refusal(
        path.format(root=root.name), root
    )


def test_a_link_that_leads_out_is_refused(root):
    """Nor does a link."""
    (root / "out.onnx").symlink_to(root.parent / "outside.onnx")
    (root / "dir").symlink_to(root.parent)
    assert "leads out" in refusal("out.onnx", root)
    assert "leads out" in refusal("dir/outside.onnx", root)


@pytest.mark.parametrize("path", ["%2e%2e/outside.onnx", "..%2foutside.onnx", "..\\outside.onnx", "models/b.onnx"])
def test_what_is_encoded_is_not_decoded(root, path):
    """A name is a name."""
    assert "no such file" in refusal(path, root)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_names_nothing_is_refused(root, path):
    """An empty reference is a mistake."""
    assert "names no file" in refusal(path, root)


def test_links_in_a_circle_are_refused(root):
    """And not followed for ever."""
    (root / "one").symlink_to("two")
    (root / "two").symlink_to("one")
    assert "no such file" in refusal("one", root)


def test_what_is_no_regular_file_is_refused(root):
    """Neither a folder nor a pipe is a model."""
    os.mkfifo(root / "pipe")
    assert "is not a regular file" in refusal("models", root)
    assert "is not a regular file" in refusal("pipe", root)
