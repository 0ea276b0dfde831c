"""The ends of replicas' logs, as they lie in the folder of Ray Serve."""

import os

import pytest

from runners.ray import logs
from runners.ray.logs import read_tails

APPLICATION = "turnout-0123abcd"


@pytest.fixture
def write(tmp_path):
    """A file of that replica, written to at that moment."""

    def written(replica, text, at=0, application=APPLICATION):
        file = tmp_path / f"replica_{application}_replica_{replica}.log"
        file.write_bytes(text)
        os.utime(file, (at, at))

    return written


def test_each_replica_has_its_last_lines_and_who_wrote_last_is_at_the_end(tmp_path, write):
    write("b7", b"one\ntwo\nthree\n", at=1)
    write("a9", b"four\n", at=2)
    tails = read_tails(tmp_path, APPLICATION, 2, "10.0.0.1")
    assert [("b7", ("two", "three")), ("a9", ("four",))] == [(each.replica, each.lines) for each in tails]
    assert {"10.0.0.1"} == {each.node for each in tails}


def test_other_applications_have_logs_of_their_own(tmp_path, write):
    write("a", b"theirs\n", application="turnout-0123abcd9")
    (tmp_path / "controller_1.log").write_text("not a replica")
    assert [] == read_tails(tmp_path, APPLICATION, 9, "")


def test_a_long_file_is_read_from_its_end_and_from_a_whole_line(tmp_path, write, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES", 12)
    write("a", b"first line\nsecond\nthird\n")
    assert [("third",)] == [each.lines for each in read_tails(tmp_path, APPLICATION, 9, "")]


def test_no_more_files_are_read_than_somebody_reads(tmp_path, write, monkeypatch):
    monkeypatch.setattr(logs, "FILES_N", 2)
    for number in range(4):
        write(f"r{number}", b"x\n", at=number)
    assert ["r2", "r3"] == [each.replica for each in read_tails(tmp_path, APPLICATION, 9, "")]


def test_what_is_no_text_is_read_all_the_same(tmp_path, write):
    write("a", b"\xff\n")
    assert [("�",)] == [each.lines for each in read_tails(tmp_path, APPLICATION, 9, "")]


def test_where_nothing_was_written_is_nothing(tmp_path):
    assert [] == read_tails(tmp_path / "absent", APPLICATION, 9, "")
