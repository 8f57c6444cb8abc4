import os
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from model.training.addresses import AddressError, Days, open_address, with_tags


def test_a_written_file_is_there_whole_and_replaces_the_one_before(tmp_path: Path) -> None:
    place = open_address(tmp_path / "out")
    for content in (b"one", b"another"):
        with place.writing("a/b.bin") as sink:
            sink.write(content[:2])
            assert place.exists("a/b.bin") == (content == b"another")
            sink.write(content[2:])
        assert place.read_bytes("a/b.bin") == content
    assert [(file.name, file.size) for file in place.list_files()] == [("a/b.bin", 7)]


def break_off(sink: BinaryIO) -> None:
    sink.write(b"half")
    raise KeyError


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    place = open_address(tmp_path)
    place.write_bytes("b.bin", b"before")
    with pytest.raises(KeyError), place.writing("b.bin") as sink:
        break_off(sink)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b.bin": b"before"}


def test_the_next_write_of_a_name_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    old, young, other = (tmp_path / f".{name}.draft" for name in ("b.bin.old", "b.bin.young", "c.bin.old"))
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    open_address(tmp_path).write_bytes("b.bin", b"whole")
    assert not old.exists()
    assert young.exists()
    assert other.exists()


def test_where_nothing_can_be_written_the_address_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(AddressError, match=f"{tmp_path}/file/b.bin: cannot be written"):
        open_address(tmp_path / "file").write_bytes("b.bin", b"x")


def test_hidden_files_are_not_listed_and_folders_of_other_days_neither(tmp_path: Path) -> None:
    for name in ("date=2026-01-01/a", "date=2026-02-01/a", "_note", ".tmp/a", "b"):
        open_address(tmp_path).write_bytes(name, b"x")
    place = open_address(tmp_path)
    assert [file.name for file in place.list_files()] == ["b", "date=2026-01-01/a", "date=2026-02-01/a"]
    days = Days.of_seconds(None, 1_767_312_000)  # up to 2 January
    assert [file.name for file in place.list_files(days)] == ["b", "date=2026-01-01/a"]


def test_a_file_can_be_read_at_any_point(tmp_path: Path) -> None:
    place = open_address(tmp_path)
    place.write_bytes("a", bytes(range(100)))
    with place.open_input("a") as source:
        assert source.read(3) == b"\0\1\2"
        assert source.seek(-2, os.SEEK_END) == 98
        assert source.read(10) == b"\x62\x63"
        assert source.read(10) == b""
        assert source.read_at(50, 2) == b"\x32\x33"
        assert source.tell() == 100


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match=f"{tmp_path}/nothing: there is no such file"):
        open_address(tmp_path).open_input("nothing")
    with pytest.raises(AddressError, match=f"{tmp_path}/nothing: there is no such file or folder"):
        open_address(tmp_path / "nothing").list_files()


def test_an_address_of_one_file_lists_that_file(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("x")
    assert [file.name for file in open_address(tmp_path / "h.csv").list_files()] == ["h.csv"]


def test_files_on_disk_need_no_tag(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text("x")
    files = open_address(tmp_path).list_files()
    assert with_tags(files) == files


def test_what_is_deleted_is_gone_and_may_have_been_gone_before(tmp_path: Path) -> None:
    place = open_address(tmp_path)
    for name in ("folder/a", "b"):
        place.write_bytes(name, b"x")
    for name in ("folder", "b", "never"):
        place.delete(name)
    assert list(tmp_path.iterdir()) == []
