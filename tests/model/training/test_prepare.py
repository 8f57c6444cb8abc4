import itertools
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.statistics import ENTITIES
from model.training.database import connect
from model.training.history import HistoryError
from model.training.prepare import CAUSES, CleaningError, CleaningReport, prepare
from model.training.simulation import PROFILES, simulate
from model.training.terms import Terms
from model.transaction import MAX_AMOUNT, REPORT_COLUMN
from tests.model.training.histories import (
    DAY,
    HASHER,
    START,
    TERMS,
    Row,
    csv_text,
    moment,
    payment,
    prepared,
    write_csv,
    write_parquet,
)

HOUR = 3600
ID_COLUMNS = ("transaction_id", "customer_id", "terminal_id")
MISSING = -999_999
TRANSACTIONS = (
    "tx_seconds", "tx_hour", "customer_key", "terminal_key", "tx_amount", "amount_hundredths", "tx_fraud",
    "tx_fraud_scenario", "report_hour",
)  # fmt: skip


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path / "scratch", memory_limit="1GB", threads=2) as connection:
        yield connection


def clean(connection: duckdb.DuckDBPyConnection, history: Path, *, label_delay: int = DAY) -> CleaningReport:
    return prepare(connection, history, Terms(HASHER, label_delay))


def table(connection: duckdb.DuckDBPyConnection, name: str = "transactions") -> list[tuple[Any, ...]]:
    return sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)


def dropped(report: CleaningReport) -> dict[str, int]:
    return {cause: count for cause, count in report.dropped.items() if count}


# --- one row ----------------------------------------------------------------------------------------------------------


def test_a_clean_row_is_kept_with_hashed_ids_and_whole_hundredths(tmp_path: Path) -> None:
    write_parquet(tmp_path / "h.parquet", [payment(1, tx_amount=0.285, tx_fraud=1, tx_fraud_scenario=2)])
    with prepared(tmp_path / "h.parquet") as (connection, report):
        (row,) = table(connection)
        names = [column[0] for column in connection.execute("SELECT * FROM transactions").description]
    assert tuple(names) == TRANSACTIONS
    hour = START // HOUR
    assert row == (START + 60, hour, HASHER.customer("7"), HASHER.terminal("8"), 0.285, 28, 1, 2, hour + 24)
    assert report == CleaningReport(1, 1, dict.fromkeys(CAUSES, 0), 0, 0)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"tx_datetime": None}, "unusable_time"),
        ({"tx_datetime": moment(631_151_999)}, "unusable_time"),  # a second before 1990
        ({"tx_datetime": moment(4_102_444_800)}, "unusable_time"),  # 2100
        ({"transaction_id": None}, "unusable_transaction_id"),
        ({"transaction_id": MISSING}, "unusable_transaction_id"),
        ({"customer_id": None}, "unusable_customer_id"),
        ({"customer_id": MISSING}, "unusable_customer_id"),
        ({"terminal_id": None}, "unusable_terminal_id"),
        ({"terminal_id": MISSING}, "unusable_terminal_id"),
        ({"tx_amount": None}, "unusable_amount"),
        ({"tx_amount": math.nan}, "unusable_amount"),
        ({"tx_amount": math.inf}, "unusable_amount"),
        ({"tx_amount": -math.inf}, "unusable_amount"),
        ({"tx_amount": -0.01}, "unusable_amount"),
        ({"tx_amount": math.nextafter(MAX_AMOUNT, math.inf)}, "unusable_amount"),
        ({"tx_fraud": 2}, "unusable_label"),
        ({"tx_fraud": -1}, "unusable_label"),
    ],
)
def test_each_kind_of_dirt_is_dropped_under_its_own_cause(
    changes: Row, cause: str, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    rows = [payment(1), payment(2, **changes), payment(3)]
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", rows))
    assert (report.rows_read, report.rows_kept, dropped(report)) == (3, 2, {cause: 1})
    assert len(table(scratch)) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *itertools.product(ID_COLUMNS, ["", " ", "\t", "-999999", "-999999.0", " -999999 "]),
        ("customer_id", "x" * 129),
        ("terminal_id", "x" * 129),
    ],
)
def test_ids_of_text_that_say_nothing_are_dropped(
    name: str, text: str, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    report = clean(scratch, write_csv(tmp_path / "h.csv", [payment(1), payment(2, **{name: text})]))
    assert dropped(report) == {f"unusable_{name}": 1}


@pytest.mark.parametrize("value", [0.0, 1.0, 12.5])
def test_nan_is_found_where_the_file_notes_that_all_values_are_alike(
    value: float, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    rows = [payment(i, tx_amount=value, customer_id=1.0) for i in range(4)]
    rows[1]["tx_amount"] = math.nan
    rows[2]["customer_id"] = math.nan
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", rows))
    assert dropped(report) == {"unusable_customer_id": 1, "unusable_amount": 1}


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_label_of_nan_is_missing_where_the_file_notes_that_all_labels_are_alike(
    label: float, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    rows = [payment(i, tx_fraud=value) for i, value in enumerate((label, math.nan, label))]
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", rows))
    assert (report.rows_kept, report.labels_missing, dropped(report)) == (3, 1, {})
    assert sorted(row[6] is None for row in table(scratch)) == [False, False, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"tx_datetime": moment(631_152_000)},
        {"tx_datetime": moment(4_102_444_799)},
        {"tx_amount": 0.0},
        {"tx_amount": -0.0},
        {"tx_amount": MAX_AMOUNT},
        {"customer_id": 0},
        {"customer_id": -1},
    ],
)
def test_what_is_just_within_the_rules_is_kept(
    changes: Row, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", [payment(1, **changes)]))
    assert (report.rows_kept, dropped(report)) == (1, {})


def test_a_row_with_all_kinds_of_dirt_counts_once_under_the_first_cause(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    remedies: list[Row] = [
        {"tx_datetime": moment(START)}, {"transaction_id": 1}, {"customer_id": 7}, {"terminal_id": 8},
        {"tx_amount": 1.0}, {"tx_fraud": 0},
    ]  # fmt: skip
    row = payment(
        1, tx_datetime=None, transaction_id=MISSING, customer_id=MISSING, terminal_id=None, tx_amount=-1.0, tx_fraud=7
    )
    rows = [row]
    for remedy in remedies:
        row = row | remedy
        rows.append(row)
    write_parquet(tmp_path / "a.parquet", rows)
    write_csv(tmp_path / "b.csv", csv_text(rows[:1]) + "1,2\n")
    report = clean(scratch, tmp_path)
    assert report.rows_kept == 1
    assert report.rows_read == len(rows) + 2
    counts = {cause: 1 for cause in CAUSES if cause != "repeated_transaction_id"} | {"unusable_time": 2}
    assert dropped(report) == counts
    assert list(report.dropped) == list(CAUSES)


def test_lines_that_are_no_rows_are_counted_whether_they_are_text_or_not(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    text = csv_text([payment(1), payment(2)]).encode()
    write_csv(tmp_path / "a.csv", text + b"3,\xff\n\xfe\n4,5\n\n")
    write_csv(tmp_path / "b.csv.gz", text.replace(b"\n1,", b"\n11,").replace(b"\n2,", b"\n12,") + b'\xff\n"\n')
    report = clean(scratch, tmp_path)
    assert (report.rows_read, report.rows_kept, dropped(report)) == (9, 4, {"unreadable_row": 5})


# --- repeated ids -----------------------------------------------------------------------------------------------------


def test_of_rows_with_one_id_the_earliest_stays_wherever_it_stands(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    write_parquet(tmp_path / "a.parquet", [payment(1, tx_datetime=moment(START + s)) for s in (50, 20, 30)])
    write_parquet(tmp_path / "b.parquet", [payment(1, tx_datetime=moment(START + s)) for s in (10, 40)])
    report = clean(scratch, tmp_path)
    assert [row[0] for row in table(scratch)] == [START + 10]
    assert dropped(report) == {"repeated_transaction_id": 4}


def test_of_identical_rows_one_stays(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    gaps = {"tx_fraud": None, "tx_fraud_scenario": None}
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", [*[payment(1)] * 3, *[payment(2, **gaps)] * 2]))
    assert len(table(scratch)) == 2
    assert dropped(report) == {"repeated_transaction_id": 3}


def test_which_of_several_rows_of_one_moment_stays_depends_on_what_they_say_alone(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    when = moment(START)
    rows = [payment(1, tx_datetime=when, tx_amount=a, tx_fraud=f) for a in (3.0, 2.0) for f in (None, 1, 0)]
    kept = []
    for order in (rows, rows[::-1]):
        clean(scratch, write_parquet(tmp_path / "h.parquet", order))
        kept.append(table(scratch))
    assert kept[0] == kept[1]
    assert [(row[4], row[6]) for row in kept[0]] == [(2.0, 0)]


def test_the_forms_of_one_id_are_repetitions_too(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    write_parquet(tmp_path / "a.parquet", [payment(1)])
    write_parquet(tmp_path / "b.parquet", [payment(1)], {"transaction_id": pa.float64(), "customer_id": pa.float32()})
    write_csv(tmp_path / "c.csv", [payment(1, transaction_id=" 1.0 ", customer_id="7.0", terminal_id=" 8")])
    report = clean(scratch, tmp_path)
    assert (report.rows_kept, dropped(report)) == (1, {"repeated_transaction_id": 2})
    assert {row[2:4] for row in table(scratch)} == {(HASHER.customer("7"), HASHER.terminal("8"))}


def test_an_unusable_row_is_no_first_of_its_id(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    rows = [payment(1, tx_amount=-1.0), payment(1, tx_datetime=moment(START + 900)), payment(1, customer_id=MISSING)]
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", rows))
    assert [row[0] for row in table(scratch)] == [START + 900]
    assert dropped(report) == {"unusable_amount": 1, "unusable_customer_id": 1}


# --- labels and reports -----------------------------------------------------------------------------------------------


def test_labels_that_contradict_the_scenario_are_kept_and_counted(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    labels = [(0, 0), (1, 2), (0, 2), (1, 0), (1, None), (None, 0), (None, 3)]
    rows = [payment(i, tx_fraud=label, tx_fraud_scenario=scenario) for i, (label, scenario) in enumerate(labels)]
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", [*rows, rows[2], rows[6]]))
    assert report.rows_kept == len(labels)
    assert report.labels_against_scenario == 2  # what is missing contradicts nothing
    assert report.labels_missing == 2
    assert dropped(report) == {"repeated_transaction_id": 2}
    assert {(row[6], row[7]) for row in table(scratch)} == set(labels)


@pytest.mark.parametrize(
    ("delay", "reported", "hour"),
    [
        (DAY, None, START // HOUR + 24),
        (0, None, START // HOUR),
        (90 * 60, None, START // HOUR + 1),
        (DAY, START + 5 * HOUR, START // HOUR + 5),
        (DAY, START + 5 * HOUR - 1, START // HOUR + 4),
        (DAY, START - 9 * HOUR, START // HOUR),  # no report can come before its payment
    ],
)
def test_a_fraud_is_known_from_its_report_or_after_the_label_delay(
    delay: int, reported: int | None, hour: int, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    rows = [payment(1, tx_datetime=moment(START), tx_fraud=1)]
    if reported is not None:
        rows[0][REPORT_COLUMN] = moment(reported)
    clean(scratch, write_parquet(tmp_path / "h.parquet", rows), label_delay=delay)
    assert [row[8] for row in table(scratch)] == [hour]


# --- the report -------------------------------------------------------------------------------------------------------


def test_the_report_is_a_table_of_what_was_found(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    rows = [payment(1), payment(1), payment(2, tx_datetime=None), payment(3, tx_fraud=None), payment(4, tx_fraud=1)]
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", rows))
    text = report.render()
    assert [" ".join(line.split()) for line in text.splitlines()] == [
        "rows read 5",
        "dropped: time missing, unreadable or outside 1990 to 2100 1",
        "dropped: transaction id seen before; the earliest row stays 1",
        "kept although the label is missing (taken as not reported) 1",
        "kept although the label contradicts the scenario 1",
        "transactions kept 3",
    ]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_report_of_a_clean_history_is_short(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", [payment(1)]))
    assert [line.split() for line in report.render().splitlines()] == [
        ["rows", "read", "1"],
        ["transactions", "kept", "1"],
    ]


def test_the_report_is_written_as_json(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    report = clean(scratch, write_parquet(tmp_path / "h.parquet", [payment(1), payment(2, tx_amount=-1.0)]))
    report.write(tmp_path / "cleaning.json")
    assert json.loads((tmp_path / "cleaning.json").read_text()) == {
        "rows_read": 2,
        "rows_kept": 1,
        "dropped": dict.fromkeys(CAUSES, 0) | {"unusable_amount": 1},
        "labels_missing": 0,
        "labels_against_scenario": 0,
        "report_lines": 0,
        "report_lines_unusable": 0,
        "files_skipped": [],
    }


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_history_of_which_nothing_can_be_used_says_why(
    suffix: str, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    path = tmp_path / f"h.{suffix}"
    rows = [payment(i, customer_id=MISSING) for i in range(3)]
    write_parquet(path, rows) if suffix == "parquet" else write_csv(path, rows)
    with pytest.raises(CleaningError, match=rf"(?s)h\.{suffix}: no usable transaction\n.*customer id missing.* 3\n"):
        clean(scratch, path)


def test_a_history_without_rows_has_no_usable_transaction(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    write_csv(tmp_path / "h.csv", csv_text([payment(1)]).splitlines()[0])
    with pytest.raises(CleaningError, match="no usable transaction"):
        clean(scratch, tmp_path)


# --- what is left behind ----------------------------------------------------------------------------------------------


def everything(connection: duckdb.DuckDBPyConnection) -> str:
    """Return all that can be asked of a database, as text."""
    names = [row[0] for row in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()]
    rows = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in names]
    return repr(
        (sorted(names), rows, connection.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall())
    )


PRIVATE = {"transaction_id": "t-private-1", "customer_id": "c-private-2", "terminal_id": "p-private-3"}


def test_no_raw_id_is_left_in_any_table_or_said_in_the_report(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    lines = csv_text([payment(1, **PRIVATE), payment(2, **PRIVATE), payment(3, **PRIVATE | {"tx_amount": -1.0})])
    broken = b"c-private-2,\xff\nc-private-2,1\n"
    report = clean(scratch, write_csv(tmp_path / "h.csv", lines.encode() + broken))
    left = everything(scratch)
    assert "transactions" in left
    assert "customer_tiles" in left
    assert "private" not in left
    assert "private" not in report.render() + repr(report)
    assert report.rows_read == 5


def test_no_raw_id_is_left_when_nothing_can_be_used(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    write_csv(
        tmp_path / "h.csv", csv_text([payment(1, **PRIVATE | {"tx_amount": -1.0})]).encode() + b"c-private-2,\xff\n"
    )
    with pytest.raises(CleaningError) as caught:
        clean(scratch, tmp_path)
    assert "private" not in everything(scratch) + str(caught.value)


def test_a_file_that_breaks_off_is_named_and_leaves_no_raw_id(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    for name in ("a", "b", "c"):
        write_parquet(tmp_path / f"{name}.parquet", [payment(i, **PRIVATE) for i in range(5000)])
    damaged = bytearray((tmp_path / "b.parquet").read_bytes())
    pages = pq.ParquetFile(tmp_path / "b.parquet").metadata.row_group(0).column(4)
    start = pages.dictionary_page_offset or pages.data_page_offset
    damaged[start : start + pages.total_compressed_size] = b"\xff" * pages.total_compressed_size
    (tmp_path / "b.parquet").write_bytes(damaged)
    with pytest.raises(HistoryError, match=r"b\.parquet: not a readable parquet file") as caught:
        clean(scratch, tmp_path)
    assert "private" not in everything(scratch) + str(caught.value)


def test_a_gz_file_that_breaks_off_is_named(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    write_csv(tmp_path / "a.csv", [payment(1)])
    path = write_csv(tmp_path / "b.csv.gz", [payment(i, customer_id=i * 7919 % 10007) for i in range(200_000)])
    path.write_bytes(path.read_bytes()[:-200_000])
    with pytest.raises(HistoryError, match=r"b\.csv\.gz: not a readable csv\.gz file"):
        clean(scratch, tmp_path)


def test_a_second_run_replaces_the_first(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    first = write_parquet(tmp_path / "1.parquet", [payment(i) for i in range(5)])
    second = write_csv(tmp_path / "2.csv", csv_text([payment(9)]) + "1,2\n")
    clean(scratch, first)
    for _ in range(2):
        report = clean(scratch, second)
        assert (report.rows_read, report.rows_kept, dropped(report)) == (2, 1, {"unreadable_row": 1})
        assert len(table(scratch)) == 1
        assert len(table(scratch, "customer_tiles")) == 1


def test_each_step_is_announced_once(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    steps: list[str] = []
    history = write_parquet(tmp_path / "h.parquet", [payment(1)])
    prepare(scratch, history, TERMS, progress=steps.append)
    assert steps == [
        "reading ids",
        "classifying rows",
        "finding repeated ids",
        "keeping transactions",
        "summing hours per customer",
        "summing hours per terminal",
    ]


# --- the same bank ----------------------------------------------------------------------------------------------------

BANK = replace(PROFILES["small"], customers=60, terminals=40, days=8, radius=30.0, seed=5)


def test_the_simulators_dirt_is_cleaned_back_to_exactly_its_clean_rows(
    tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    simulate(BANK, tmp_path / "clean", progress=False)
    simulate(replace(BANK, dirt=0.1), tmp_path / "dirty", progress=False)
    dirty = pq.read_table(sorted((tmp_path / "dirty").glob("*.parquet"))).to_pylist()
    lost = [row for row in dirty if row["tx_datetime"] is None or MISSING in [row[name] for name in ID_COLUMNS]]
    survivors = {row["transaction_id"] for row in dirty if row not in lost}
    whole = pq.read_table(sorted((tmp_path / "clean").glob("*.parquet"))).to_pylist()
    write_parquet(tmp_path / "survivors/h.parquet", [row for row in whole if row["transaction_id"] in survivors])

    report = clean(scratch, tmp_path / "dirty")
    from_dirt = [table(scratch, name) for name in ("transactions", "customer_tiles", "terminal_tiles")]
    again = clean(scratch, tmp_path / "survivors")
    from_survivors = [table(scratch, name) for name in ("transactions", "customer_tiles", "terminal_tiles")]

    assert from_dirt == from_survivors
    assert report.rows_read == len(dirty)
    assert report.rows_kept == len(survivors) == again.rows_kept
    assert report.dropped["repeated_transaction_id"] == len(dirty) - len(lost) - len(survivors) > 50
    assert sum(report.dropped.values()) == len(dirty) - len(survivors)
    assert report.labels_against_scenario == 0


def test_files_formats_and_the_order_of_rows_change_no_bit(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    simulate(replace(BANK, days=3, dirt=0.1), tmp_path / "days", progress=False)
    whole = pq.read_table(sorted((tmp_path / "days").glob("*.parquet")))
    backwards = whole.take(list(range(len(whole)))[::-1])
    pq.write_table(backwards, tmp_path / "one.parquet", row_group_size=97)
    write_csv(tmp_path / "text.csv.gz", backwards.to_pylist())
    found = []
    for history in ("days", "one.parquet", "text.csv.gz"):
        report = clean(scratch, tmp_path / history)
        found.append([report, *(table(scratch, name) for name in ("transactions", "customer_tiles", "terminal_tiles"))])
    assert found[0] == found[1] == found[2]


def test_tiles_hold_each_hour_of_a_key_once(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    simulate(replace(BANK, days=3), tmp_path / "days", progress=False)
    clean(scratch, tmp_path / "days")
    for entity in ENTITIES:
        rows, keys = scratch.execute(f"SELECT COUNT(*), COUNT(DISTINCT (key, hour)) FROM {entity}_tiles").fetchall()[0]
        assert rows == keys > 100
        counted = scratch.execute(f"SELECT SUM(transactions), SUM(amount) FROM {entity}_tiles").fetchall()
        assert counted == scratch.execute("SELECT COUNT(*), SUM(amount_hundredths) FROM transactions").fetchall()


# --- reports that come apart from the history -------------------------------------------------------------------------


def labels(connection: duckdb.DuckDBPyConnection) -> dict[int, tuple[int | None, int]]:
    rows = connection.execute("SELECT (tx_seconds - ?) // 60, tx_fraud, report_hour FROM transactions", [START])
    return {int(number): (label, hour - START // HOUR) for number, label, hour in rows.fetchall()}


def test_what_reports_say_takes_the_place_of_what_rows_say(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    rows = [payment(1), payment(2, tx_fraud=1), payment(3, tx_fraud=1), payment(4, tx_fraud=None)]
    history = write_parquet(tmp_path / "h.parquet", rows)
    lines: list[Row] = [
        {"transaction_id": 1, "report_datetime": moment(START + 5 * HOUR), "tx_fraud": None},
        {"transaction_id": 2, "report_datetime": moment(START + 6 * HOUR), "tx_fraud": 0},
        {"transaction_id": 4, "report_datetime": moment(START + 90 * HOUR), "tx_fraud": 1},
        {"transaction_id": 99, "report_datetime": moment(START + HOUR), "tx_fraud": 1},  # of no payment here
        {"transaction_id": 3, "report_datetime": None, "tx_fraud": 0},
        {"transaction_id": MISSING, "report_datetime": moment(START + HOUR), "tx_fraud": 1},
    ]
    text = csv_text(lines).encode() + b"\xff is no text\n"
    reports = write_csv(tmp_path / "reports" / "1.csv", text).parent
    report = prepare(scratch, history, Terms(HASHER, DAY, reports))
    assert labels(scratch) == {1: (1, 5), 2: (0, 24), 3: (1, 24), 4: (1, 90)}
    assert (report.report_lines, report.report_lines_unusable, report.rows_read) == (7, 3, 4)
    assert re.search(r"lines of reports that cannot be used +3\n", report.render())
    left = {row[0] for row in scratch.execute("SHOW TABLES").fetchall()}
    assert left == {"transactions", "customer_tiles", "terminal_tiles"}


def test_a_folder_of_reports_may_be_empty_but_must_be_there(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    history = write_parquet(tmp_path / "h.parquet", [payment(1)])
    with pytest.raises(HistoryError, match="there is no such file or folder"):
        prepare(scratch, history, Terms(HASHER, DAY, tmp_path / "reports"))
    (tmp_path / "reports").mkdir()
    report = prepare(scratch, history, Terms(HASHER, DAY, tmp_path / "reports"))
    assert (report.rows_kept, report.report_lines) == (1, 0)


def test_reports_without_a_time_column_are_refused_by_name(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    history = write_parquet(tmp_path / "h.parquet", [payment(1)])
    reports = write_csv(tmp_path / "reports" / "1.csv", "transaction_id,tx_fraud\n1,1\n")
    with pytest.raises(HistoryError, match=r"1\.csv.*report_datetime"):
        prepare(scratch, history, Terms(HASHER, DAY, reports))


# --- files that cannot be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [slice(0, None), slice(100, 3000)])  # from its first byte, or in its middle only
def test_unreadable_files_are_skipped_only_if_asked_and_never_silently(
    broken: slice, tmp_path: Path, scratch: duckdb.DuckDBPyConnection
) -> None:
    history = tmp_path / "history"
    for number, name in enumerate("abc"):
        write_parquet(history / f"{name}.parquet", [payment(5000 * number + i) for i in range(5000)])
    content = bytearray((history / "b.parquet").read_bytes())
    content[broken] = b"\xff" * len(content[broken])
    (history / "b.parquet").write_bytes(content)
    with pytest.raises(HistoryError, match=r"b\.parquet: not a readable parquet file"):
        clean(scratch, history)
    report = prepare(scratch, history, Terms(HASHER, DAY, skip_unreadable=True))
    assert report.rows_kept == 10_000
    assert report.files_skipped == (str(history / "b.parquet"),)
    assert "FILES THAT CANNOT BE READ, skipped as asked for" in report.render()
    assert f"skipped: {history / 'b.parquet'}" in report.render()


def test_unreadable_reports_are_skipped_too(tmp_path: Path, scratch: duckdb.DuckDBPyConnection) -> None:
    history = write_parquet(tmp_path / "h.parquet", [payment(1), payment(2)])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/a.parquet").write_bytes(b"no Parquet")
    write_parquet(tmp_path / "reports/b.parquet", [{"transaction_id": 1, "report_datetime": moment(START + DAY)}])
    report = prepare(scratch, history, Terms(HASHER, DAY, tmp_path / "reports", skip_unreadable=True))
    assert (report.report_lines, len(report.files_skipped)) == (1, 1)
