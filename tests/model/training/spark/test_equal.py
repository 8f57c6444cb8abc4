"""The two engines give the same answers to the last bit, whatever is wrong with a history."""

import json
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.training.addresses import open_address
from model.training.addresses.snapshot import verify
from model.training.cleaned import clean
from model.training.database import connect
from model.training.fingerprint import DataFingerprint, fingerprint
from model.training.history import history_sql, open_history, unreadable_lines
from model.training.prepared import prepare_files
from model.training.prepared_layout import CLEANING, STATISTICS, TABLES
from model.training.terms import Terms
from model.transaction import REPORT_COLUMN
from tests.model.training.histories import (
    DAY,
    HASHER,
    START,
    TERMS,
    Row,
    csv_text,
    moment,
    payment,
    write_csv,
    write_parquet,
)
from tests.model.training.spark.dirty import write_dirty

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AS_OF = START // 3600 + 60
Table = Counter[tuple[Any, ...]]


def rows_of_duckdb(history: Path) -> Table:
    """Return the raw rows as DuckDB reads them, with one that cannot be read for each line that is no text."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(f"SELECT * FROM ({history_sql(open_history(history))}) AS rows").fetchall()
        count = unreadable_lines(connection)
    return Counter([*map(_exact, found), *[(False, *[None] * 8)] * count])


def rows_of_spark(spark: "SparkSession", history: Path) -> Table:
    from model.training.spark.reading import history_rows

    return Counter(_exact(tuple(row)) for row in history_rows(spark, open_history(history)).collect())


def _exact(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(repr(value) if isinstance(value, float) else value for value in row)


def prepared_by_both(spark: "SparkSession", history: Path, folder: Path, *, reports: Path | None = None) -> list[Path]:
    """Prepare a history in both engines, and return the two folders."""
    from model.training.spark.prepare import prepare_on_spark

    terms = Terms(HASHER, DAY, reports)
    by_duckdb, by_spark = folder / "by-duckdb", folder / "by-spark"
    with connect(folder / "scratch", memory_limit="1GB", threads=2) as connection:
        prepare_files(connection, history, by_duckdb, terms, scratch=folder / "files", as_of=AS_OF)
    prepare_on_spark(spark, history, by_spark, terms, as_of=AS_OF)
    return [by_duckdb, by_spark]


def trained_on(folder: Path, scratch: Path) -> tuple[DataFingerprint, list[Any]]:
    """Return what training would make a model from, with the types of its columns."""
    with connect(scratch / "scratch", memory_limit="1GB", threads=2) as connection:
        clean(connection, folder, TERMS)
        tables = ("transactions", "customer_tiles", "terminal_tiles")
        return fingerprint(connection), [connection.execute(f"DESCRIBE {table}").fetchall() for table in tables]


def table_of(folder: Path, name: str) -> pa.Table:
    return pq.ParquetDataset(snapshot_of(folder) / name, partitioning="hive").read()


def snapshot_of(folder: Path) -> Path:
    """Return the folder of the present snapshot."""
    manifest = open_address(folder).manifest()
    assert manifest is not None
    (name,) = manifest.folders
    return folder / name


def rows_in(folder: Path, name: str) -> Table:
    table = table_of(folder, name)
    return Counter(_exact(tuple(row.values())) for row in table.select(sorted(table.column_names)).to_pylist())


def assert_equal(folders: list[Path]) -> None:
    """Hold two prepared histories equal: each row of each table, the cleaning report, and what manifests count."""
    cleaning = [json.loads((snapshot_of(folder) / CLEANING).read_text()) for folder in folders]
    assert cleaning[0] == cleaning[1]
    for name in TABLES:
        assert rows_in(folders[0], name) == rows_in(folders[1], name), name
        schemas = [dict(zip(t.column_names, t.schema.types, strict=True)) for t in (table_of(f, name) for f in folders)]
        assert schemas[0] == schemas[1], name
    manifests = [open_address(folder).manifest() for folder in folders]
    counts = [manifest.about["rows"] for manifest in manifests if manifest is not None]
    assert counts[0] == counts[1]
    assert counts[0] == {name: sum(rows_in(folders[0], name).values()) for name in TABLES}
    for folder in folders:
        verify(open_address(folder))  # the digest of every file is as its manifest says


@pytest.mark.parametrize("seed", range(5))
def test_a_random_dirty_history_comes_out_of_both_engines_alike(
    seed: int, spark: "SparkSession", tmp_path: Path
) -> None:
    history = write_dirty(tmp_path / "history", seed)
    assert rows_of_spark(spark, history) == rows_of_duckdb(history)
    folders = prepared_by_both(spark, history, tmp_path)
    assert_equal(folders)
    dropped = json.loads((snapshot_of(folders[0]) / CLEANING).read_text())["dropped"]
    assert all(dropped.values()), "a history that lacks a kind of dirt proves little"
    assert all(len(rows_in(folders[0], name)) > 5 for name in TABLES)
    assert trained_on(folders[0], tmp_path) == trained_on(folders[1], tmp_path)


def test_means_are_equal_since_their_sums_are(spark: "SparkSession", tmp_path: Path) -> None:
    folders = prepared_by_both(spark, write_dirty(tmp_path / "history", 99), tmp_path)
    for name in STATISTICS:
        found = [
            {
                row["key"]: row["amount_30d"] / row["transactions_30d"]
                for row in table_of(folder, name).to_pylist()
                if row["transactions_30d"]
            }
            for folder in folders
        ]
        assert found[0].keys() == found[1].keys()
        assert all(abs(found[0][key] - found[1][key]) <= 1e-9 for key in found[0])


def test_reports_that_come_apart_count_alike(spark: "SparkSession", tmp_path: Path) -> None:
    history = write_dirty(tmp_path / "history", 5, rows=60)
    lines: list[Row] = [
        {"transaction_id": number, REPORT_COLUMN: moment(START + 3600 * number), "tx_fraud": label}
        for number in range(120)
        for label in ((1,), (0,), (1, 0), (None,), (2,))[number % 5]
    ]
    reports = write_csv(tmp_path / "reports" / "1.csv", csv_text(lines).encode() + b"\xff\nx\n").parent
    assert_equal(prepared_by_both(spark, history, tmp_path, reports=reports))


LETTERS = b'ab"", 70.\x01\x00\xff\xc3\xa9\r'


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([bytes([b]) for b in LETTERS]), max_size=9).map(b"".join), max_size=60))
def test_whatever_bytes_a_line_holds_both_engines_read_the_same(spark: "SparkSession", lines: list[bytes]) -> None:
    text = csv_text([payment(1)]).encode()
    good = text.splitlines()[1]
    head, tail = good.split(b",7,", 1)
    whole = [head + b"," + line + b"," + tail for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / "h.csv", text + b"\n".join([*lines, good, *whole]))
        assert rows_of_spark(spark, path) == rows_of_duckdb(path)


HALF_PAST_ONE = datetime(2026, 3, 2, 13, 30, 15, 999_999)
SECONDS = int(HALF_PAST_ONE.replace(tzinfo=UTC).timestamp())
TYPED: list[tuple[str, pa.DataType, list[Any]]] = [
    *(("customer_id", kind, [7, 0, None]) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16())),
    ("customer_id", pa.uint32(), [2**32 - 1]),
    ("customer_id", pa.uint64(), [2**64 - 1, 7]),
    ("customer_id", pa.float32(), [7.0, 7.5, float("nan"), float("inf"), 16777216.0, None]),
    ("customer_id", pa.float64(), [-999999.0, 2.0**70, 1e22, 2.0**53, float("-inf"), -0.0, 1e300]),
    ("customer_id", pa.string(), [" 7\t", "7.0", "\u00a07", "", None]),
    ("customer_id", pa.large_string(), ["ab-7"]),
    ("customer_id", pa.dictionary(pa.int8(), pa.string()), ["7", "8"]),
    ("transaction_id", pa.null(), [None]),
    ("tx_datetime", pa.null(), [None]),
    ("tx_datetime", pa.timestamp("us"), [2**63 - 1, -(2**63) + 1, 253_402_300_800_000_000, -1, -1_500_000]),
    ("tx_datetime", pa.timestamp("ns"), [SECONDS * 10**9 + 999_999_999, -1, 2**63 - 1]),
    ("tx_datetime", pa.timestamp("ms", "Europe/Berlin"), [SECONDS * 1000 + 999, -1]),
    (REPORT_COLUMN, pa.timestamp("us", "UTC"), [2**63 - 1, SECONDS * 10**6, None]),
    ("tx_amount", pa.int64(), [12, 2**62 + 1, None]),
    ("tx_amount", pa.float32(), [0.1, None]),
    ("tx_amount", pa.null(), [None]),
    ("tx_fraud", pa.null(), [None]),
    ("tx_fraud", pa.float32(), [0.0, 1.0, 0.5, float("nan"), None]),
    ("tx_fraud", pa.bool_(), [True, False, None]),
    ("tx_fraud", pa.uint64(), [0, 1, 2**64 - 1]),
    ("tx_fraud_scenario", pa.uint64(), [2**64 - 1, 3]),
    ("tx_fraud_scenario", pa.float64(), [1.5, 2.5, float("nan"), 1e30, None]),
    ("tx_fraud_scenario", pa.null(), [None]),
]


def test_columns_of_every_type_are_read_alike(spark: "SparkSession", tmp_path: Path) -> None:
    for number, (name, kind, values) in enumerate(TYPED):
        rows = [payment(i, **{REPORT_COLUMN: None}) | {name: value} for i, value in enumerate(values)]
        write_parquet(tmp_path / f"{number}.parquet", rows, {name: kind})
    assert rows_of_spark(spark, tmp_path) == rows_of_duckdb(tmp_path)


def test_old_sparks_moments_are_read_alike(spark: "SparkSession", tmp_path: Path) -> None:
    table = pa.table({name: [value] for name, value in payment(1, tx_datetime=HALF_PAST_ONE).items()})
    pq.write_table(table, tmp_path / "old.parquet", use_deprecated_int96_timestamps=True)
    pq.write_table(table, tmp_path / "new.parquet")
    assert rows_of_spark(spark, tmp_path) == rows_of_duckdb(tmp_path)


def test_the_first_line_of_each_file_is_left_out_and_no_other(spark: "SparkSession", tmp_path: Path) -> None:
    text = csv_text([payment(i) for i in range(1, 300)])
    for number in range(5):
        write_csv(tmp_path / f"{number}.csv{'.gz' if number % 2 else ''}", text + text)
    session = spark.newSession()
    session.conf.set("spark.sql.files.maxPartitionBytes", "2000")  # files in pieces, and pieces of files together
    session.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    assert rows_of_spark(session, tmp_path) == rows_of_duckdb(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
def test_a_path_is_taken_as_it_is_written(suffix: str, spark: "SparkSession", tmp_path: Path) -> None:
    write = write_parquet if suffix == ".parquet" else write_csv
    for name in ("it's", "a b", "x[12]", "x*", "x?", "x{a,b}", "%20", "x\\y", "**", "~", "é", "a#b", "date=1"):
        write(tmp_path / name / f"{name}{suffix}", [payment(1, customer_id=name)])
    assert rows_of_spark(spark, tmp_path) == rows_of_duckdb(tmp_path)
