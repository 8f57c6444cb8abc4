import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from model.training.addresses import AddressError, Place, readable
from model.training.addresses.duckdb_window import Window, _WatchedFile

ROWS = 300_000


@pytest.fixture
def place() -> Iterator[Place]:
    """Return a store in memory."""
    store = MemoryFileSystem()
    yield Place("memory://bank", pafs.PyFileSystem(pafs.FSSpecHandler(store)), "/bank", 0.0)
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def put(place: Place, name: str, content: bytes) -> None:
    place.filesystem.create_dir(place.path)
    with place.filesystem.open_output_stream(f"{place.path}/{name}", compression=None) as sink:
        sink.write(content)


def table() -> pa.Table:
    rng = np.random.default_rng(1)
    return pa.table({name: rng.integers(0, 10**9, ROWS) for name in "abcdefgh"})


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink, row_group_size=10_000)
    return bytes(sink.getvalue())


def test_threads_that_share_a_file_read_what_each_asked_for(place: Place) -> None:
    put(place, "h.parquet", parquet())
    files = place.list_files()
    with duckdb.connect(config={"threads": 8}) as connection, readable(connection, files):
        for _ in range(5):
            found = connection.execute("SELECT SUM(COLUMNS(*)) FROM read_parquet('memory://bank/h.parquet')").fetchone()
    expected = table().to_pandas().sum().tolist()
    assert found is not None
    assert [int(one) for one in found] == expected


def test_a_seek_is_for_the_next_read_of_its_own_thread(place: Place) -> None:
    put(place, "x", bytes(range(200)))
    file = _WatchedFile(Window("memory"), place.list_files()[0])
    barrier = threading.Barrier(2, timeout=10)

    def read(at: int) -> bytes:
        file.seek(at)
        barrier.wait()
        return file.read(3)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(read, (10, 150))) == [bytes((10, 11, 12)), bytes((150, 151, 152))]


def test_a_read_goes_on_where_the_last_one_ended(place: Place) -> None:
    put(place, "x", bytes(range(200)))
    file = _WatchedFile(Window("memory"), place.list_files()[0])
    assert [file.read(2), file.read(1)] == [b"\0\1", b"\2"]
    assert file.seek(100) == 100
    assert file.tell() == 100
    assert [file.read(2), file.read(1), file.tell()] == [b"\x64\x65", b"\x66", 103]


def test_a_name_with_signs_of_a_pattern_means_that_file_alone(place: Place) -> None:
    for name in ("a[1]*.csv", "a1x.csv"):
        put(place, name, f"n\n{name}\n".encode())
    with duckdb.connect() as connection, readable(connection, place.list_files()):
        query = "SELECT n FROM read_csv('memory://bank/a[[]1][*].csv')"
        assert connection.execute(query).fetchall() == [("a[1]*.csv",)]


def test_only_files_that_were_listed_can_be_read_and_none_written(place: Place) -> None:
    put(place, "h.parquet", parquet())
    with duckdb.connect() as connection, readable(connection, place.list_files()):
        with pytest.raises(duckdb.Error):
            connection.execute("SELECT * FROM read_parquet('memory://bank/other.parquet')")
        with pytest.raises(duckdb.Error):
            connection.execute("COPY (SELECT 1) TO 'memory://bank/h.parquet' (FORMAT parquet)")
    assert place.read_bytes("h.parquet") == parquet()


def test_a_file_that_vanished_is_named(place: Place) -> None:
    put(place, "h.parquet", parquet())
    files = place.list_files()
    place.filesystem.delete_file("/bank/h.parquet")
    with duckdb.connect() as connection, pytest.raises(AddressError, match=r"^memory://bank/h\.parquet: there is no"):
        count(connection, files)


def test_what_is_wrong_with_a_query_is_left_as_it_is(place: Place) -> None:
    put(place, "h.parquet", b"no Parquet")
    with duckdb.connect() as connection, pytest.raises(duckdb.Error, match=r"h\.parquet"):
        count(connection, place.list_files())


def count(connection: duckdb.DuckDBPyConnection, files: Sequence[object]) -> None:
    with readable(connection, files):
        connection.execute("SELECT COUNT(a) FROM read_parquet('memory://bank/h.parquet')").fetchall()


def test_blocks_stand_within_each_other_and_leave_nothing_behind(place: Place, tmp_path: Path) -> None:
    put(place, "h.parquet", parquet())
    files = place.list_files()
    with duckdb.connect() as connection:
        with readable(connection, files):
            with readable(connection, [*files, tmp_path]):
                pass
            assert connection.list_filesystems() == ["memory"]
        assert connection.list_filesystems() == []
