import json
import subprocess
import sys
import textwrap

import pytest

from observability.sinks.file import SegmentFiles, SegmentLimits

LINE = b'{"n":%6d}\n'  # 13 bytes
SMALL = SegmentLimits(segment_bytes=130, total_bytes=650)  # ten lines a segment, five segments


def lines(first, count):
    return b"".join(LINE % n for n in range(first, first + count))


def numbers(directory):
    """Every record in every segment, in the order of the segments' numbers."""
    return [
        json.loads(line)["n"]
        for path in sorted(directory.glob("*.jsonl"), key=lambda path: int(path.stem))
        for line in path.read_bytes().splitlines()
    ]


@pytest.fixture
def files(tmp_path):
    opened = SegmentFiles(tmp_path, "gate-1", SMALL)
    yield opened
    opened.close()


def test_segments_lie_under_the_gateways_name(tmp_path, files):
    """An operator finds DIRECTORY/GATEWAY/00000001.jsonl."""
    files.write(lines(0, 3))
    assert [tmp_path / "gate-1" / "00000001.jsonl"] == list(tmp_path.rglob("*.jsonl"))
    assert [0, 1, 2] == numbers(tmp_path / "gate-1")


def test_nothing_is_made_before_the_first_line(tmp_path, files):
    """A gateway without traffic leaves no empty files."""
    assert [] == list(tmp_path.iterdir())


def test_each_start_begins_a_segment_of_its_own(tmp_path):
    """What an earlier process wrote is never appended to."""
    for start in range(3):
        files = SegmentFiles(tmp_path, "gate-1", SMALL)
        files.write(lines(start, 1))
        files.close()
    assert ["00000001", "00000002", "00000003"] == sorted(path.stem for path in files.directory.iterdir())


def test_numbers_go_on_after_segments_were_sealed_elsewhere(tmp_path, files):
    """A number is used once, even if its lines have meanwhile become another kind of file."""
    (tmp_path / "gate-1").mkdir()
    (tmp_path / "gate-1" / "00000041.parquet").touch()
    files.write(lines(0, 1))
    assert (tmp_path / "gate-1" / "00000042.jsonl").exists()


def test_a_full_segment_is_followed_by_the_next(files):
    """No file grows past the limit, and no record is split between two."""
    for n in range(25):
        files.write(lines(n, 1))
    assert [130, 130, 65] == [path.stat().st_size for path in sorted(files.directory.iterdir())]
    assert list(range(25)) == numbers(files.directory)


def test_the_oldest_segments_are_deleted_and_counted(files):
    """The log never takes more disk than it was given; the newest records are the ones kept."""
    for n in range(200):
        files.write(lines(n, 1))
        assert sum(path.stat().st_size for path in files.directory.iterdir()) <= 650
    assert list(range(150, 200)) == numbers(files.directory)
    assert 15 == files.segments_deleted_n


def test_segments_of_earlier_starts_count_too(tmp_path):
    """Restarting does not add up to a full disk."""
    for start in range(12):
        files = SegmentFiles(tmp_path, "gate-1", SMALL)
        files.write(lines(start * 10, 10))
        files.close()
    assert list(range(70, 120)) == numbers(files.directory)


def test_a_segment_that_another_process_writes_is_never_deleted(tmp_path, files):
    """Two processes under one name may share a directory; neither deletes what the other is writing."""
    other = SegmentFiles(tmp_path, "gate-1", SMALL)
    other.write(lines(900, 1))
    for n in range(200):
        files.write(lines(n, 1))
    other.write(lines(901, 1))
    other.close()
    assert [900, 901, *range(160, 200)] == numbers(files.directory)


def test_files_of_others_are_left_alone(tmp_path, files):
    """Only numbered segments of this gateway are ever deleted."""
    (tmp_path / "gate-2").mkdir()
    kept = [tmp_path / "gate-2" / "00000001.jsonl", tmp_path / "gate-1" / "notes.jsonl"]
    (tmp_path / "gate-1").mkdir()
    for path in kept:
        path.write_bytes(b"x" * 10_000)
    for n in range(100):
        files.write(lines(n, 1))
    assert [10_000, 10_000] == [path.stat().st_size for path in kept]


def test_a_segment_deleted_by_hand_is_followed_by_a_new_one(files):
    """Whoever tidies up by hand does not silence the log."""
    files.write(lines(0, 1))
    for path in files.directory.iterdir():
        path.unlink()
    files.directory.rmdir()
    files.write(lines(1, 1))
    assert [1] == numbers(files.directory)


def test_a_directory_that_cannot_be_made_is_said_and_tried_again(tmp_path, files):
    """A wrong mount loses rows, never the gateway; once it is right, writing starts."""
    (tmp_path / "gate-1").write_bytes(b"in the way")
    assert 0 == files.write(lines(0, 1))
    assert "File exists" == files.trouble
    (tmp_path / "gate-1").unlink()
    assert 13 == files.write(lines(1, 1))
    assert ([1], "") == (numbers(files.directory), files.trouble)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../up", "a\nb", "a b"])
def test_a_name_that_would_leave_the_directory_is_refused(tmp_path, name):
    """A gateway's name comes from configuration and must not choose where files go."""
    with pytest.raises(ValueError, match="must be letters"):
        SegmentFiles(tmp_path, name)


def test_a_segment_must_fit_into_the_total(tmp_path):
    """Limits that contradict each other are an error at start."""
    with pytest.raises(ValueError, match="no larger than total_bytes"):
        SegmentFiles(tmp_path, "gate-1", SegmentLimits(segment_bytes=2, total_bytes=1))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB, real and soon full."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs privileges")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk_loses_whole_rows_and_no_more(small_disk):
    """On ENOSPC the rows that fit are kept, the torn one is cut off, and the missing ones are told exactly."""
    (small_disk / "ballast").write_bytes(b"x" * 32_768)
    files = SegmentFiles(small_disk, "gate-1", SegmentLimits(segment_bytes=10**6, total_bytes=10**7))
    offered = lines(0, 3000)  # 39,000 bytes
    kept = files.write(offered)
    assert 0 < kept < len(offered)
    assert 0 == kept % 13
    assert "No space left on device" == files.trouble
    assert list(range(kept // 13)) == numbers(files.directory)
    (small_disk / "ballast").unlink()
    assert 130 == files.write(lines(5000, 10))
    files.close()
    assert [*range(kept // 13), *range(5000, 5010)] == numbers(files.directory)
    assert 1 == len(list(files.directory.iterdir()))


def test_a_limit_on_file_size_moves_on_to_the_next_segment(tmp_path):
    """When one file can take no more, for whatever reason of its own, the log goes on in another."""
    script = f"""
        import resource
        from pathlib import Path
        from observability.sinks.file import SegmentFiles
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        files = SegmentFiles(Path({str(tmp_path)!r}), "gate-1")
        lines = [b'{{"n":%6d}}\\n' % n for n in range(120)]
        kept = [files.write(b"".join(lines[first : first + 30])) for first in (0, 30, 60, 90)]
        files.close()
        print(sum(kept) // 13)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True)
    kept = numbers(tmp_path / "gate-1")
    assert int(ran.stdout) == len(kept)
    assert [*range(76), *range(90, 120)] == kept
