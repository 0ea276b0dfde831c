import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from observability.sinks.key import read_or_create_key


def test_a_key_is_made_once_and_kept(tmp_path):
    """Units keep their names in the log over restarts."""
    path = tmp_path / "state" / "unit.key"
    assert read_or_create_key(path) == read_or_create_key(path)
    assert 32 == path.stat().st_size


def test_only_the_owner_can_read_the_key(tmp_path):
    """The key is what keeps the hashes from being guessed, so nobody else on the machine gets it."""
    before = os.umask(0)
    try:
        read_or_create_key(tmp_path / "unit.key")
    finally:
        os.umask(before)
    assert 0o600 == (tmp_path / "unit.key").stat().st_mode & 0o777


def test_two_installations_have_two_keys(tmp_path):
    """Keys are random."""
    assert read_or_create_key(tmp_path / "a") != read_or_create_key(tmp_path / "b")


def test_processes_that_start_together_share_one_key(tmp_path):
    """Whoever is first makes the key, everyone uses it, and no draft is left behind."""
    path = tmp_path / "unit.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(read_or_create_key, [path] * 64))
    assert {path.read_bytes()} == keys
    assert [path] == list(tmp_path.iterdir())


def test_an_operators_own_key_is_used_as_it_is(tmp_path):
    """A key from a secret store, up to 64 bytes long, is taken instead of a new one."""
    (tmp_path / "unit.key").write_bytes(b"k" * 64)
    assert b"k" * 64 == read_or_create_key(tmp_path / "unit.key")


@pytest.mark.parametrize("size", [0, 31, 65])
def test_a_file_that_is_no_key_is_refused(tmp_path, size):
    """A short key would be guessable and a long one impossible; the file is named, never overwritten."""
    (tmp_path / "unit.key").write_bytes(b"k" * size)
    with pytest.raises(ValueError, match=rf"unit\.key holds {size} bytes, a key has 32 to 64"):
        read_or_create_key(tmp_path / "unit.key")
    assert size == (tmp_path / "unit.key").stat().st_size


def test_a_key_that_cannot_be_kept_is_an_error_at_start(tmp_path):
    """A path that cannot hold a file is said at once, instead of hashing under a key nobody will have again."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        read_or_create_key(tmp_path / "file" / "unit.key")
