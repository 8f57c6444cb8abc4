"""A history that was prepared before trains the same model as the raw one, or says why it cannot be used."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from model.training.addresses import MANIFEST_NAME, open_address, snapshot
from model.training.cleaned import clean
from model.training.database import connect
from model.training.dataset import Dataset, read_dataset
from model.training.fingerprint import fingerprint
from model.training.history import HistoryError, PreparedHistoryError, open_history
from model.training.prepare import prepare
from model.training.prepared import prepare_files
from model.training.terms import Terms
from model.transaction import IdHasher
from tests.model.training.histories import DAY, HASHER, START, TERMS, moment, payment, write_parquet


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three days with a little of each kind of dirt, frauds, and a report of its own time."""
    rows = [
        payment(
            number,
            tx_datetime=moment(START + number * 4001 % (3 * DAY)),
            customer_id=number % 17 if number % 31 else -999_999,
            terminal_id=number % 5,
            tx_amount=number / 7,
            tx_fraud=int(number % 13 == 0),
        )
        for number in range(1, 400)
    ]
    return write_parquet(tmp_path / "raw" / "h.parquet", [*rows, payment(3), payment(5)])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "scratch", memory_limit="1GB", threads=2) as connection:
        yield connection


@pytest.fixture
def prepared(tmp_path: Path, raw: Path, database: duckdb.DuckDBPyConnection) -> Path:
    out = tmp_path / "pre[pared]"  # what DuckDB would take for a pattern
    prepare_files(database, raw.parent, out, TERMS, scratch=tmp_path / "files", as_of="data")
    return out


def table(connection: duckdb.DuckDBPyConnection, name: str) -> tuple[list[Any], list[Any]]:
    described = [row[:2] for row in connection.execute(f"DESCRIBE {name}").fetchall()]
    return described, connection.execute(f"SELECT * FROM {name} ORDER BY ALL").fetchall()


def assert_same_rows(found: Dataset, expected: Dataset) -> None:
    """What a model is fitted on, in the same order."""
    assert len(found) == len(expected) > 300
    for name in ("features", "label", "report_hour", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_raw_and_prepared_become_the_same_tables_of_the_same_types(
    raw: Path, prepared: Path, database: duckdb.DuckDBPyConnection
) -> None:
    names = ("transactions", "customer_tiles", "terminal_tiles")
    report = prepare(database, raw.parent, TERMS)
    before, digest = [table(database, name) for name in names], fingerprint(database)
    rows = read_dataset(database, start=START, end=START + 3 * DAY)
    for name in names:
        database.execute(f"DROP TABLE {name}")
    said: list[str] = []
    again = clean(database, prepared, TERMS, progress=said.append)
    assert said == ["reading the prepared history"]
    assert [table(database, name) for name in names] == before
    assert fingerprint(database) == digest
    assert_same_rows(read_dataset(database, start=START, end=START + 3 * DAY), rows)
    assert again == report
    assert report.dropped["unusable_customer_id"] > 0


def test_a_raw_history_is_cleaned_as_ever(raw: Path, database: duckdb.DuckDBPyConnection) -> None:
    report = clean(database, raw.parent, TERMS)
    assert report == prepare(database, raw.parent, TERMS)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (Terms(IdHasher(b"another key of the tests"), DAY), "with another id key; run antifraud prepare again"),
        (Terms(HASHER, 0), "with a label delay of 86400 seconds, and none is asked for now"),
        (Terms(HASHER, DAY, Path("late.csv")), "with the reports of its own rows only, and late.csv is asked for now"),
    ],
)
def test_one_that_was_prepared_otherwise_is_refused(
    prepared: Path, database: duckdb.DuckDBPyConnection, asked: Terms, rule: str
) -> None:
    with pytest.raises(HistoryError, match=rule):
        clean(database, prepared, asked)


def test_one_of_another_version_or_with_rows_missing_is_refused(
    prepared: Path, database: duckdb.DuckDBPyConnection
) -> None:
    manifest = prepared / MANIFEST_NAME
    whole = json.loads(manifest.read_text())
    for changes, rule in (
        ({"sums": "of another version"}, "whose statistics are others; run antifraud prepare again"),
        ({"rows": whole["about"]["rows"] | {"customer_tiles": 1}}, "customer_tiles has not the rows"),
    ):
        manifest.write_text(json.dumps(whole | {"about": whole["about"] | changes}))
        with pytest.raises(HistoryError, match=rule):
            clean(database, prepared, TERMS)


def test_a_date_far_from_all_others_does_not_move_the_hour_of_the_statistics(
    tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    rows = [*(payment(number) for number in range(1, 1100)), payment(1100, tx_datetime=moment(START + 3000 * DAY))]
    history = write_parquet(tmp_path / "far" / "h.parquet", rows)
    prepare_files(database, history, tmp_path / "out", TERMS, scratch=tmp_path / "files", as_of="data")
    manifest = open_address(tmp_path / "out").manifest()
    assert manifest is not None
    assert manifest.about["as_of"] == "2026-03-02T19:00:00Z"


def test_what_was_left_out_stays_in_the_report(raw: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection) -> None:
    (raw.parent / "broken.parquet").write_bytes(b"PAR1 and no more")
    terms = Terms(HASHER, DAY, skip_unreadable=True)
    first = prepare_files(database, raw.parent, tmp_path / "out", terms, scratch=tmp_path / "files")
    again = clean(database, tmp_path / "out", TERMS)
    assert dataclasses.asdict(again) == dataclasses.asdict(first)
    assert len(again.files_skipped) == 1


def test_a_file_that_cannot_be_read_is_named(prepared: Path, database: duckdb.DuckDBPyConnection) -> None:
    (broken,) = prepared.rglob("terminal_tiles/*.parquet")
    broken.write_bytes(bytes(broken.stat().st_size))  # as long as the manifest says
    with pytest.raises(HistoryError) as refused:
        clean(database, prepared, TERMS)
    assert str(refused.value).startswith(f"history {prepared}: {broken} is not readable (")
    assert str(refused.value).endswith("; run antifraud prepare again")


# --- where a raw history is needed ------------------------------------------------------------------------------------


def test_what_needs_a_raw_history_says_which_one(prepared: Path, raw: Path) -> None:
    with pytest.raises(PreparedHistoryError) as refused:
        open_history(prepared)
    assert str(refused.value) == (
        f"history {prepared}: it is a prepared history, without the ids and files that are needed here; give the raw"
        f" history that antifraud prepare made it from, {raw.parent}"
    )


def test_reports_are_no_prepared_history(prepared: Path, raw: Path, database: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(HistoryError, match=r"^reports .*: it is a prepared history, which holds no lines of reports"):
        clean(database, raw.parent, Terms(HASHER, DAY, prepared))


def test_a_raw_snapshot_is_no_prepared_history(tmp_path: Path) -> None:
    with snapshot(open_address(tmp_path / "history")) as draft:
        draft.upload("h.parquet", write_parquet(tmp_path / "h.parquet", [payment(1)]))
        with draft.writing("cleaning.json") as sink:
            sink.write(b"{}")
    assert [str(file.path).rpartition("/")[2] for file in open_history(tmp_path / "history")] == ["h.parquet"]
