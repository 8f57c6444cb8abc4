"""Addresses on a real HDFS: whole files by renaming, snapshots, a history read, and a name node that goes away."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from model.statistics import HOUR, Snapshot
from model.training.addresses import AddressError, Place, open_address, snapshot
from model.training.addresses.snapshot import verify
from model.training.database import connect
from model.training.dataset import read_snapshot
from model.training.prepare import CleaningReport, prepare
from model.training.simulation import PROFILES, simulate
from stack.servers import Hdfs
from tests.integration.started import started
from tests.model.training.histories import TERMS

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BANK = replace(PROFILES["small"], days=6, customers=300, terminals=300)
DAY = 24 * HOUR


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    with started(Hdfs(tmp_path_factory.mktemp("hdfs"))) as server:
        yield server


@pytest.fixture
def place(server: Hdfs, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return an empty folder of the test's own."""
    monkeypatch.setenv("FRAUD_WEBHDFS", server.webhdfs)
    monkeypatch.setenv("HADOOP_USER_NAME", "bank")
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "3")
    return open_address(f"{server.hdfs}/bank/{request.node.name}")


def test_a_written_file_is_listed_and_read_and_replaced(place: Place) -> None:
    for content in (b"one", b"another", b"", b"x" * 5_000_000):
        place.write_bytes("date=2026-01-01/a b?#%.bin.gz", content)
        assert place.read_bytes("date=2026-01-01/a b?#%.bin.gz") == content
    assert [(file.name, file.size) for file in place.list_files()] == [("date=2026-01-01/a b?#%.bin.gz", 5_000_000)]
    assert list(place.below(hidden=True)) == ["date=2026-01-01/a b?#%.bin.gz"]
    with place.open_input("date=2026-01-01/a b?#%.bin.gz") as source:
        assert source.read_at(4_999_998, 10) == b"xx"


def test_a_write_that_fails_is_never_seen(place: Place) -> None:
    place.write_bytes("a", b"before")
    with pytest.raises(KeyError), place.writing("a") as sink:
        fill(sink)
    assert place.below(hidden=True).keys() == {"a"}
    assert place.read_bytes("a") == b"before"


def fill(sink: Any) -> None:
    sink.write(bytes(1000))
    raise KeyError


def test_a_snapshot_is_switched_by_its_manifest(place: Place) -> None:
    for content in (b"1", b"2", b"3"):
        with snapshot(place) as draft, draft.writing("date=2026-01-01/a") as sink:
            sink.write(content)
        verify(place)
        assert [place.filesystem.open_input_file(file.place.path).read() for file in place.list_files()] == [content]


def test_what_is_not_there_is_said(place: Place) -> None:
    for act in (place.list_files, lambda: place.read_bytes("a")):
        with pytest.raises(AddressError, match=f"^{place}.*: there is no such file"):
            act()
    place.delete("never there")


def test_a_history_is_simulated_and_cleaned_as_here(place: Place, tmp_path: Path) -> None:
    for target in (place.address, tmp_path / "history"):
        simulate(BANK, target, progress=False)
    assert {name: place.read_bytes(name) for name in place.below()} == {
        path.name: path.read_bytes() for path in (tmp_path / "history").glob("*.parquet")
    }
    there, here = cleaned(place.address, tmp_path / "a"), cleaned(tmp_path / "history", tmp_path / "b")
    assert there[0] == here[0]
    assert there[1].customer.sums.tobytes() == here[1].customer.sums.tobytes()
    assert there[1].terminal.sums.tobytes() == here[1].terminal.sums.tobytes()


def cleaned(address: str | Path, folder: Path) -> tuple[CleaningReport, Snapshot]:
    with connect(folder, memory_limit="1GB", threads=2) as connection:
        report = prepare(connection, address, TERMS)
        rows = connection.execute("SELECT MAX(tx_seconds) FROM transactions").fetchall()[0][0]
        return report, read_snapshot(connection, as_of_hour=rows // HOUR + 1)


def test_a_broken_file_is_named(place: Place, tmp_path: Path) -> None:
    simulate(BANK, place.address, progress=False)
    place.write_bytes("transactions-2026-01-03.parquet", b"PAR1 no Parquet at all PAR1")
    with pytest.raises(ValueError, match=f"{place}/transactions-2026-01-03.parquet: not a readable parquet file"):
        cleaned(place.address, tmp_path)


def test_pyarrow_reads_what_an_address_opens(place: Place) -> None:
    simulate(BANK, place.address, progress=False)
    with place.open_input("transactions-2026-01-02.parquet") as source:
        assert pq.read_table(source, columns=["tx_amount"]).num_rows > 0


def test_a_name_node_that_went_away_is_named_and_one_that_returns_is_used_again(
    place: Place, server: Hdfs, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_bytes("a", b"content")
    server.kill()
    try:
        with pytest.raises(AddressError, match=r"the store did not answer as it should.*check FRAUD_WEBHDFS"):
            place.read_bytes("a")
        with pytest.raises(AddressError, match="the store did not answer"):
            place.write_bytes("b", b"x")
    finally:
        server.start()
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "90")  # it starts in safe mode
    returned = open_address(place.address)
    returned.write_bytes("b", b"new")
    assert {name: returned.read_bytes(name) for name in returned.below()} == {"a": b"content", "b": b"new"}
