"""The snapshot: a whole revision or none, whatever happened to the file."""

import random
from pathlib import Path

from gateway.state.revision import Cause, Content, Revision
from gateway.state.snapshot import FILE, PREVIOUS, read_snapshot, write_snapshot


def revision(number: int) -> Revision:
    return Revision(number, "", float(number), "ann", Cause.APPLY, "", Content({"routes/a.yaml": f"text {number}"}))


def test_the_latest_snapshot_is_read_back(tmp_path: Path) -> None:
    """A process whose database is away starts with what it served last."""
    for number in (1, 2, 3):
        write_snapshot(tmp_path, revision(number))
    assert revision(3) == read_snapshot(tmp_path)


def test_without_a_snapshot_there_is_none(tmp_path: Path) -> None:
    assert None is read_snapshot(tmp_path / "nowhere")


def test_a_damaged_snapshot_gives_way_to_the_one_before(tmp_path: Path) -> None:
    """Truncated or with a bit flipped, two hundred times: the damaged one is never taken for good."""
    write_snapshot(tmp_path, revision(1))
    write_snapshot(tmp_path, revision(2))
    whole, chance = (tmp_path / FILE).read_bytes(), random.Random(3)
    for n in range(200):
        place = chance.randrange(len(whole))
        flipped = bytes([whole[place] ^ (1 << chance.randrange(8))])
        (tmp_path / FILE).write_bytes(whole[:place] + (b"" if n % 2 else flipped + whole[place + 1 :]))
        assert revision(1) == read_snapshot(tmp_path)


def test_a_damaged_snapshot_does_not_push_out_the_good_one(tmp_path: Path) -> None:
    """Writing over a damaged file keeps the last whole one behind it."""
    write_snapshot(tmp_path, revision(1))
    write_snapshot(tmp_path, revision(2))
    (tmp_path / FILE).write_bytes(b"garbage")
    write_snapshot(tmp_path, revision(3))
    (tmp_path / FILE).unlink()
    assert revision(1) == read_snapshot(tmp_path)


def test_nothing_else_is_left_in_the_folder(tmp_path: Path) -> None:
    write_snapshot(tmp_path, revision(1))
    write_snapshot(tmp_path, revision(2))
    assert {FILE, PREVIOUS} == {path.name for path in tmp_path.iterdir()}
