import json
from pathlib import Path

import pytest

from model.training.addresses import MANIFEST_NAME, AddressError, Draft, Place, open_address, snapshot, worked_on_here
from model.training.addresses.copies import fetched
from model.training.addresses.snapshot import verify


def seen(place: Place) -> dict[str, bytes]:
    """Return what a reader sees."""
    contents = {}
    for file in place.list_files():
        with file.open() as source:
            contents[file.name] = source.read()
    return contents


def publish(place: Place, **files: bytes) -> None:
    with snapshot(place) as draft:
        for name, content in files.items():
            with draft.writing(f"date=2026-01-01/{name}") as sink:
                sink.write(content)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return open_address(tmp_path / "out")


def test_readers_see_the_snapshot_before_until_the_next_is_whole(place: Place) -> None:
    publish(place, a=b"1", b=b"1")
    with snapshot(place, about={"as_of": "now"}) as draft:
        with draft.writing("date=2026-01-01/a") as sink:
            sink.write(b"2")
        assert seen(place) == {"date=2026-01-01/a": b"1", "date=2026-01-01/b": b"1"}
    assert seen(place) == {"date=2026-01-01/a": b"2"}
    manifest = place.manifest()
    assert manifest is not None
    assert manifest.about == {"as_of": "now"}


def test_before_the_first_snapshot_is_whole_readers_see_nothing(place: Place) -> None:
    with snapshot(place) as draft, draft.writing("a") as sink:
        sink.write(b"1")
        assert place.list_files() == []


def test_files_that_a_manifest_would_hide_are_not_hidden(place: Place) -> None:
    with place.writing("date=2026-01-01/history.parquet") as sink:
        sink.write(b"1")
    with pytest.raises(AddressError, match=r"date=2026-01-01/history.parquet for one.* nothing was written"):
        publish(place, a=b"2")
    assert seen(place) == {"date=2026-01-01/history.parquet": b"1"}
    assert list(place.below(hidden=True)) == ["date=2026-01-01/history.parquet"]


def break_off(draft: Draft) -> None:
    with draft.writing("a") as sink:
        sink.write(b"2")
    raise KeyError


def test_an_attempt_that_fails_changes_nothing(place: Place) -> None:
    publish(place, a=b"1")
    before = place.below(hidden=True)
    with pytest.raises(KeyError), snapshot(place) as draft:
        break_off(draft)
    assert place.below(hidden=True) == before


def test_the_next_attempt_removes_what_a_killed_one_left(place: Place) -> None:
    publish(place, a=b"1")
    place.write_bytes("_snapshot-20260101T000000-killed/a", b"half")
    publish(place, a=b"2")
    publish(place, a=b"3")
    kept = {name.partition("/")[0] for name in place.below(hidden=True)}
    assert len(kept) == 3  # the manifest, its snapshot, and the one before, which may still be read
    assert not place.exists("_snapshot-20260101T000000-killed")


def publish_slowly(place: Place) -> None:
    with snapshot(place) as draft:
        with draft.writing("a") as sink:
            sink.write(b"slow")
        publish(place, a=b"fast")


def test_of_two_writers_the_overtaken_one_fails_and_is_not_seen(place: Place) -> None:
    with pytest.raises(AddressError, match="another run writes to the same folder"):
        publish_slowly(place)
    assert seen(place) == {"date=2026-01-01/a": b"fast"}


def test_what_an_engine_wrote_by_itself_is_taken_in(place: Place) -> None:
    with snapshot(place) as draft:
        draft.place.write_bytes("part-0.parquet", b"by Spark")
        draft.place.write_bytes("_SUCCESS", b"")
    assert seen(place) == {"part-0.parquet": b"by Spark"}
    verify(place)


def test_a_snapshot_without_files_is_none(place: Place) -> None:
    with pytest.raises(AddressError, match="without a file"), snapshot(place):
        pass
    assert place.manifest() is None


def test_files_that_do_not_fit_the_manifest_are_named(place: Place) -> None:
    publish(place, a=b"11", b=b"2")
    path = next(Path(file.place.path) for file in place.list_files())
    path.write_bytes(b"12")
    with pytest.raises(AddressError, match="its content is not what _manifest"):
        verify(place)
    path.write_bytes(b"1")
    with pytest.raises(AddressError, match="is not there as _manifest"):
        place.list_files()


@pytest.mark.parametrize("content", ["", "{}", '{"format": 2, "files": []}', '{"format": 1, "files": [{"name": "a"}]}'])
def test_a_manifest_that_is_none_is_refused(place: Place, content: str) -> None:
    place.write_bytes(MANIFEST_NAME, content.encode())
    with pytest.raises(AddressError, match="not a manifest of this version"):
        place.list_files()


def test_a_manifest_cannot_lead_out_of_its_folder(place: Place) -> None:
    files = [{"name": "../secret", "size": 1, "sha256": ""}]
    place.write_bytes(MANIFEST_NAME, json.dumps({"format": 1, "files": files}).encode())
    with pytest.raises(AddressError, match="outside its folder"):
        place.list_files()


def test_a_path_is_worked_on_where_it_is(tmp_path: Path) -> None:
    with worked_on_here(tmp_path / "report", tmp_path / "work") as folder:
        assert folder == tmp_path / "report"
    assert fetched(tmp_path / "report", tmp_path / "copy") == tmp_path / "report"
