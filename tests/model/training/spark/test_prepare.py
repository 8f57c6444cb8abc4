import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from model.training.addresses import open_address
from model.training.history import HistoryError, UnreadableFileError
from model.training.prepare import CleaningError
from model.training.terms import Terms
from tests.model.training.histories import HASHER, TERMS, csv_text, payment, write_csv, write_parquet

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PRIVATE = {"transaction_id": "t-private-1", "customer_id": "c-private-2", "terminal_id": "p-private-3"}


def prepare(spark: "SparkSession", history: Path, out: Path, terms: Terms = TERMS, **asked: Any) -> Any:
    from model.training.spark.prepare import prepare_on_spark

    return prepare_on_spark(spark, history, out, terms, **asked)


def test_no_raw_id_is_written(spark: "SparkSession", tmp_path: Path) -> None:
    lines = csv_text([payment(1, **PRIVATE), payment(2, **PRIVATE), payment(3, **PRIVATE | {"tx_amount": -1.0})])
    history = write_csv(tmp_path / "h.csv", lines.encode() + b"c-private-2,\xff\nc-private-2,1\n")
    report = prepare(spark, history, tmp_path / "out", as_of="data")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len([path for path in written if path.suffix == ".parquet"]) >= 5
    assert not [path for path in written if b"private" in path.read_bytes()]
    text = repr([pq.read_table(path).to_pylist() for path in written if path.suffix == ".parquet"])
    assert "private" not in text + repr(report)
    assert str(HASHER.customer("c-private-2")) in text
    assert report.rows_read == 5


def test_nothing_is_kept_of_a_run(spark: "SparkSession", tmp_path: Path) -> None:
    history = write_csv(tmp_path / "h.csv", [payment(1, **PRIVATE)])
    before = spark.sparkContext._jsc.getPersistentRDDs().size()  # of tests that look at parts of a run
    prepare(spark, history, tmp_path / "out")
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == before


def test_a_second_run_replaces_the_first_and_a_failed_one_changes_nothing(
    spark: "SparkSession", tmp_path: Path
) -> None:
    prepare(spark, write_parquet(tmp_path / "1.parquet", [payment(i) for i in range(5)]), tmp_path / "out")
    place = open_address(tmp_path / "out")
    first = place.manifest()
    assert first is not None
    assert first.about["rows"]["transactions"] == 5
    unusable = write_parquet(tmp_path / "2.parquet", [payment(1, customer_id=-999_999)])
    with pytest.raises(CleaningError, match=r"2\.parquet: no usable transaction\n.*"):
        prepare(spark, unusable, tmp_path / "out")
    assert place.manifest() == first
    assert len(list((tmp_path / "out").iterdir())) == 2
    prepare(spark, write_parquet(tmp_path / "3.parquet", [payment(9)]), tmp_path / "out")
    second = place.manifest()
    assert second is not None
    assert second.about["rows"] == {"transactions": 1, "customer_tiles": 1, "terminal_tiles": 1}


def broken(folder: Path) -> Path:
    """Write three files, of which the second breaks off in its rows."""
    for name in ("a", "b", "c"):
        write_parquet(folder / f"{name}.parquet", [payment(i, **PRIVATE) for i in range(5000)])
    damaged = bytearray((folder / "b.parquet").read_bytes())
    pages = pq.ParquetFile(folder / "b.parquet").metadata.row_group(0).column(4)
    start = pages.dictionary_page_offset or pages.data_page_offset
    damaged[start : start + pages.total_compressed_size] = b"\xff" * pages.total_compressed_size
    (folder / "b.parquet").write_bytes(damaged)
    return folder


def test_a_file_that_breaks_off_is_named_and_nothing_is_written(spark: "SparkSession", tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"b\.parquet: not a readable parquet file") as caught:
        prepare(spark, broken(tmp_path / "history"), tmp_path / "out")
    assert "private" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert list((tmp_path / "out").glob("*")) == []


def test_a_file_that_breaks_off_is_skipped_if_asked_for(spark: "SparkSession", tmp_path: Path) -> None:
    report = prepare(spark, broken(tmp_path / "history"), tmp_path / "out", replace(TERMS, skip_unreadable=True))
    assert report.rows_read == 10_000
    assert [Path(name).name for name in report.files_skipped] == ["b.parquet"]


def test_a_gz_file_that_breaks_off_is_named(spark: "SparkSession", tmp_path: Path) -> None:
    write_csv(tmp_path / "history" / "a.csv", [payment(1)])
    path = write_csv(tmp_path / "history" / "b.csv.gz", [payment(i, customer_id=i * 7919 % 10007) for i in range(9000)])
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UnreadableFileError, match=r"b\.csv\.gz: not a readable csv\.gz file"):
        prepare(spark, tmp_path / "history", tmp_path / "out")


def test_a_file_that_spark_would_pass_over_is_said(spark: "SparkSession", tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "_hidden.parquet", [payment(1)])
    with pytest.raises(HistoryError, match=r"_hidden\.parquet: Spark passes over"):
        prepare(spark, path, tmp_path / "out")


def test_each_step_is_announced_once(spark: "SparkSession", tmp_path: Path) -> None:
    steps: list[str] = []
    history = write_parquet(tmp_path / "h.parquet", [payment(1)])
    prepare(spark, history, tmp_path / "out", as_of="data", progress=steps.append)
    assert len(steps) == len(set(steps)) == 7
    assert steps[:3] == ["reading ids", "classifying rows", "keeping transactions"]


def test_what_is_written_lies_in_folders_of_days(spark: "SparkSession", tmp_path: Path) -> None:
    history = write_parquet(tmp_path / "h.parquet", [payment(i * 1440) for i in range(3)])
    prepare(spark, history, tmp_path / "out")
    found = [path for path in (tmp_path / "out").rglob("transactions/date=*") if path.is_dir()]
    assert sorted(path.name for path in found) == [f"date=2026-03-0{day}" for day in (2, 3, 4)]
    assert all(re.fullmatch(r"_snapshot-.*", path.parent.parent.name) for path in found)
