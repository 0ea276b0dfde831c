"""From a reference to a file."""

import pytest

from runners.core.errors import LoadRefused
from runners.registry.resolve import resolve


@pytest.mark.parametrize("scheme", ["file", "constant"])
def test_plain_files_are_found_beneath_the_root(tmp_path, scheme):
    """`file:` and `constant:` read the same way."""
    (tmp_path / "a").write_bytes(b"a")
    found = resolve(f"{scheme}:a", tmp_path)
    assert (tmp_path / "a", "", "") == (found.path, found.version, found.digest)


@pytest.mark.parametrize("reference", ["a.onnx", "s3:a.onnx", "", "http://host/a.onnx", ":a", "FILE:a"])
def test_an_unknown_reference_is_told_with_the_known_ones(tmp_path, reference):
    """An operator reads what a reference begins with; nothing is fetched."""
    with pytest.raises(LoadRefused, match="begin it with one of file:, constant:, bento:"):
        resolve(reference, tmp_path)
