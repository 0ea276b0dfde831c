"""Files that cannot change between being hashed and being loaded."""

import hashlib
import os
from pathlib import Path

import pytest

from runners.core.errors import LoadRefused
from runners.core.frozen import freeze, freeze_beneath

LIMIT = 1 << 20


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights" * 1000)
    return path


def test_the_digest_is_the_files(file):
    """What `sha256sum` prints is what is reported."""
    with freeze(file, limit_bytes=LIMIT) as frozen:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == frozen.digest()


def test_what_is_loaded_is_what_was_hashed(file):
    """Whoever rewrites a model while it is loaded changes nothing."""
    before = file.read_bytes()
    with freeze(file, limit_bytes=LIMIT) as frozen:
        with file.open("r+b") as opened:
            opened.write(b"TAMPERED")
        file.unlink()
        assert before == Path(frozen.path).read_bytes() == bytes(frozen.view)


def test_frozen_bytes_cannot_be_written_to(file):
    """Not even by whoever holds the frozen path."""
    with freeze(file, limit_bytes=LIMIT) as frozen, pytest.raises(OSError, match="not permitted"):
        Path(frozen.path).write_bytes(b"TAMPERED")


def test_an_empty_file_freezes_too(tmp_path):
    """Nothing is a thing one may look at."""
    (tmp_path / "none").touch()
    with freeze(tmp_path / "none", limit_bytes=LIMIT) as frozen:
        assert (b"", 0) == (frozen.view, frozen.size)


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path):
    """A file of a terabyte costs nothing."""
    with (tmp_path / "huge").open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(LoadRefused, match="above the limit"):
        freeze(tmp_path / "huge", limit_bytes=LIMIT)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    """A load never hangs on something that is no file."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadRefused, match="not a regular file"):
        freeze(tmp_path / "pipe", limit_bytes=LIMIT)


def test_a_directory_is_refused(tmp_path):
    """A folder is no model."""
    with pytest.raises(LoadRefused, match="not a regular file"):
        freeze(tmp_path, limit_bytes=LIMIT)


def test_a_missing_file_is_named_without_its_directory(tmp_path):
    """An error names the file, not where this machine keeps it."""
    with pytest.raises(LoadRefused) as caught:
        freeze(tmp_path / "gone.onnx", limit_bytes=LIMIT)
    assert "gone.onnx: no such file; paths are relative to the configuration's root" == str(caught.value)


def open_files():
    return sorted(Path("/proc/self/fd").iterdir())


def test_nothing_stays_open(file):
    """A gateway that loads for years does not run out of descriptors."""
    before = open_files()
    with freeze(file, limit_bytes=LIMIT):
        pass
    with pytest.raises(LoadRefused):
        freeze(file, limit_bytes=1)
    with pytest.raises(LoadRefused):
        freeze_beneath(file.parent, "nowhere/w.bin", limit_bytes=LIMIT)
    assert before == open_files()


def test_a_file_beneath_a_directory_freezes(file):
    """Weights may lie in a folder beside the model."""
    (file.parent / "deep" / "down").mkdir(parents=True)
    file.rename(file.parent / "deep" / "down" / "w.bin")
    with freeze_beneath(file.parent, "deep/./down/w.bin", limit_bytes=LIMIT) as frozen:
        assert 7000 == frozen.size


@pytest.mark.parametrize("location", ["../w", "a/../../w", "/etc/passwd", "", "a\0b", "..\\w", "."])
def test_a_location_that_leads_out_is_refused_unopened(tmp_path, location):
    """No path in a model file leads anywhere else."""
    with pytest.raises(LoadRefused):
        freeze_beneath(tmp_path, location, limit_bytes=LIMIT)


def test_a_link_to_a_file_is_not_followed(tmp_path, file):
    """A link planted beside a model shows nothing of what it points to."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "w.bin").symlink_to(file)
    with pytest.raises(LoadRefused, match="links are not followed"):
        freeze_beneath(tmp_path / "beside", "w.bin", limit_bytes=LIMIT)


def test_a_link_to_a_directory_is_not_followed(tmp_path, file):
    """Nor does a linked folder."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "out").symlink_to(tmp_path)
    with pytest.raises(LoadRefused, match="links are not followed"):
        freeze_beneath(tmp_path / "beside", f"out/{file.name}", limit_bytes=LIMIT)


def test_a_hard_link_is_refused(tmp_path, file):
    """A second name of somebody else's file is not taken for our own."""
    (tmp_path / "w.bin").hardlink_to(file)
    with pytest.raises(LoadRefused, match="hard-linked"):
        freeze_beneath(tmp_path, "w.bin", limit_bytes=LIMIT)
