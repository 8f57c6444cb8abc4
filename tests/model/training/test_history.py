import csv
import gzip
import re
import tempfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.training.addresses import Days, open_address, snapshot
from model.training.database import connect
from model.training.history import (
    HistoryError,
    HistoryFile,
    UnreadableFileError,
    find_unreadable,
    history_sql,
    open_history,
)
from model.transaction import REPORT_COLUMN
from tests.model.training.histories import START, Row, csv_text, moment, payment, write_csv, write_parquet

PRIVATE = "customer-4711-private"


def read(history: Path) -> list[dict[str, Any]]:
    """Return all rows of a history in their one shape, by transaction id."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        answer = connection.execute(f"SELECT * FROM ({history_sql(open_history(history))}) AS rows")
        names = [column[0] for column in answer.description]
        rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
    return sorted(rows, key=lambda row: str(row["transaction_id"]))


def column(history: Path, name: str) -> list[Any]:
    return [row[name] for row in read(history)]


def one_value(folder: Path, name: str, value: Any, kind: pa.DataType | None = None) -> Any:
    """Return what becomes of one value of a Parquet column, beside a row that is as it should be."""
    target = name.replace("_datetime", "_seconds")
    path = write_parquet(folder / "one.parquet", [payment(1, **{name: value})], {name: kind} if kind else None)
    return column(path, target)[0]


def one_text(folder: Path, name: str, text: str) -> Any:
    """Return what becomes of one value of a CSV column, beside a row that is as it should be."""
    target = name.replace("_datetime", "_seconds")
    path = write_csv(folder / "one.csv", [payment(1, **{name: text}), payment(2)])
    return next(row for row in read(path) if row["transaction_id"] != "2")[target]


EXPECTED_ROW = {
    "readable": True,
    "transaction_id": "1",
    "tx_seconds": START + 60,
    "customer_id": "7",
    "terminal_id": "8",
    "tx_amount": 12.5,
    "tx_fraud": 0,
    "tx_fraud_scenario": 0,
    "report_seconds": None,
}


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["h.parquet", "h.csv", "h.csv.gz", "H.PARQUET", "H.CSV", "H.CSV.GZ"])
def test_each_format_gives_the_same_rows(name: str, tmp_path: Path) -> None:
    write = write_parquet if name.lower().endswith("parquet") else write_csv
    path = tmp_path / name.replace(".GZ", ".gz")  # the writer goes by the small suffix
    write(path, [payment(1)])
    path.rename(tmp_path / name)
    assert read(tmp_path / name) == [EXPECTED_ROW]


def test_a_folder_is_read_with_all_that_is_nested_in_it(tmp_path: Path) -> None:
    write_parquet(tmp_path / "date=2026-03-02/part-0.snappy.parquet", [payment(1)])
    write_parquet(tmp_path / "date=2026-03-03/more/part-1.parquet", [payment(2)])
    write_csv(tmp_path / "old/march.csv", [payment(3)])
    write_csv(tmp_path / "old/april.csv.gz", [payment(4)])
    write_parquet(tmp_path / "spark.parquet/part-0.parquet", [payment(5)])
    assert column(tmp_path, "transaction_id") == ["1", "2", "3", "4", "5"]


def test_hidden_files_notes_and_other_formats_are_left_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "good.parquet", [payment(1)])
    for name in (
        ".good.parquet.4711.tmp",
        ".hidden.parquet",
        "_metadata.parquet",
        "_temporary/0/part.parquet",
        ".ipynb_checkpoints/good.csv",
        "good.parquet.crc",
        "good.parquet.tmp",
        "_simulation.json",
        "simulation.json",
        "README.md",
        "_SUCCESS",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"not a history")
    assert [file.path.name for file in open_history(tmp_path)] == ["good.parquet"]


def test_a_file_that_is_asked_for_by_name_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "_work/.hidden.parquet", [payment(1)])
    assert read(path) == [EXPECTED_ROW]
    assert read(path.parent.parent / "_work/.hidden.parquet") == [EXPECTED_ROW]


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
@pytest.mark.parametrize("name", ["it's", "a b", "x[12]", "x*", "x?", "x{a,b}", "%20", "x\\y", "**", "~", "-", "é"])
def test_a_path_is_taken_as_it_is_written(name: str, suffix: str, tmp_path: Path) -> None:
    write = write_parquet if suffix == ".parquet" else write_csv
    folder = tmp_path / name
    write(folder / f"{name}{suffix}", [payment(1)])
    for decoy in ("x1", "xx"):  # what the names would match if they were patterns
        write(tmp_path / decoy / f"{decoy}{suffix}", [payment(2)])
        write(folder / f"{decoy}{suffix}", [payment(3)])
    assert column(folder / f"{name}{suffix}", "transaction_id") == ["1"]
    assert column(folder, "transaction_id") == ["1", "3", "3"]


def test_a_path_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "~h.parquet", [payment(1)])
    monkeypatch.chdir(tmp_path)
    assert read(Path("~h.parquet")) == [EXPECTED_ROW]
    assert [str(file.path) for file in open_history("~h.parquet")] == ["~h.parquet"]


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.float32(), pa.float64()]
)
def test_integers_of_any_width_are_one_id(kind: pa.DataType, tmp_path: Path) -> None:
    assert one_value(tmp_path, "customer_id", 7, kind) == "7"


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("7", pa.string(), "7"),
        (" 7\t", pa.string(), "7"),
        ("ab-7", pa.large_string(), "ab-7"),
        ("7.0", pa.string(), "7.0"),  # text in a typed file is that text
        ("7", pa.dictionary(pa.int8(), pa.string()), "7"),
        (7.0, pa.float64(), "7"),
        (-999999.0, pa.float64(), "-999999"),
        (7.5, pa.float64(), None),
        (float("nan"), pa.float64(), None),
        (float("inf"), pa.float64(), None),
        (Decimal("7.00"), pa.decimal128(10, 2), "7"),
        (2**64 - 1, pa.uint64(), "18446744073709551615"),
        (None, pa.null(), None),
        (None, pa.int64(), None),
    ],
)
def test_an_id_becomes_the_text_that_the_service_would_hash(
    value: Any, kind: pa.DataType, expected: str | None, tmp_path: Path
) -> None:
    for name in ("customer_id", "terminal_id", "transaction_id"):
        assert one_value(tmp_path, name, value, kind) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", "7"), ("7.0", "7"), (" 7 ", "7"), ("-999999.0", "-999999"), ("007", "007"), ("a,b", "a,b"), ('"q"', '"q"')],
)
def test_an_id_in_csv_is_text_and_7_0_means_7(text: str, expected: str, tmp_path: Path) -> None:
    assert one_text(tmp_path, "customer_id", text) == expected


HALF_PAST_ONE = datetime(2026, 3, 2, 13, 30, 15, 999_999)
SECONDS = int(HALF_PAST_ONE.replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
def test_a_moment_of_any_precision_and_zone_is_seconds_in_utc(unit: str, zone: str | None, tmp_path: Path) -> None:
    count = {
        "s": SECONDS,
        "ms": SECONDS * 1000 + 999,
        "us": SECONDS * 10**6 + 999_999,
        "ns": SECONDS * 10**9 + 10**9 - 1,
    }
    assert one_value(tmp_path, "tx_datetime", count[unit], pa.timestamp(unit, zone)) == SECONDS
    assert one_value(tmp_path, REPORT_COLUMN, count[unit], pa.timestamp(unit, zone)) == SECONDS


def test_moments_of_old_spark_are_read(tmp_path: Path) -> None:
    far = datetime(2500, 1, 1)  # beyond what nanoseconds in 64 bits can say
    rows = [payment(1, tx_datetime=HALF_PAST_ONE), payment(2, tx_datetime=far)]
    table = pa.table({name: [row[name] for row in rows] for name in rows[0]})
    pq.write_table(table, tmp_path / "h.parquet", use_deprecated_int96_timestamps=True)
    assert column(tmp_path, "tx_seconds")[0] == SECONDS


@pytest.mark.parametrize("count", [2**63 - 1, -(2**63) + 1, 253_402_300_800_000_000])
def test_a_moment_out_of_all_bounds_stops_nothing(count: int, tmp_path: Path) -> None:
    seconds = one_value(tmp_path, "tx_datetime", count, pa.timestamp("us"))
    assert seconds is None or not 0 <= seconds < 4_102_444_800


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02 13:30:15", SECONDS),
        ("2026-03-02T13:30:15Z", SECONDS),
        ("2026-03-02T13:30:15.999999", SECONDS),
        ("2026-03-02T13:30:15.999999999Z", SECONDS),
        ("2026-03-02T15:30:15+02:00", SECONDS),
        ("2026-03-02 15:30:15+0200", SECONDS),
        ("2026-03-02 08:00:15-05:30", SECONDS),
        ("  2026-03-02 13:30:15\t", SECONDS),
        ("2026-03-02T13:30Z", SECONDS - 15),
        ("2026-03-02", None),
        ("2026-03-02Z", None),
        ("2026-03-02  ", None),
        ("13:30:15", None),
        ("2026-02-30 13:30:15", None),
        ("2026-03-02 25:30:15", None),
        ("infinity", None),
        ("next tuesday at noon", None),
        ("1772458215", None),
        ("", None),
    ],
)
def test_text_is_a_moment_if_it_has_date_and_time(text: str, expected: int | None, tmp_path: Path) -> None:
    assert one_text(tmp_path, "tx_datetime", text) == expected
    rows = [payment(1, tx_datetime=text), payment(2, tx_datetime="2026-03-02 13:30:15")]
    write_parquet(tmp_path / "text.parquet", rows)
    assert column(tmp_path / "text.parquet", "tx_seconds") == [expected, SECONDS]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.5", 12.5),
        (" 12.5 ", 12.5),
        ("0", 0.0),
        ("1e2", 100.0),
        ("-3", -3.0),
        ("12,5", None),
        ("x", None),
        ("", None),
    ],
)
def test_text_that_is_no_amount_is_none(text: str, expected: float | None, tmp_path: Path) -> None:
    assert one_text(tmp_path, "tx_amount", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("1", 1), ("0.0", 0), ("1.0", 1), ("True", 1), ("false", 0), (" 1 ", 1), ("", None), ("NaN", None),
        ("0.7", -1), ("2", -1), ("yes", -1), ("-1", -1),
    ],
)  # fmt: skip
def test_a_label_is_0_or_1_or_missing_and_never_rounded(text: str, expected: int | None, tmp_path: Path) -> None:
    assert one_text(tmp_path, "tx_fraud", text) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (True, pa.bool_(), 1),
        (False, pa.bool_(), 0),
        (1, pa.int8(), 1),
        (1.0, pa.float64(), 1),
        (0.4, pa.float64(), -1),
        (2, pa.int64(), -1),
        (float("nan"), pa.float64(), None),
        (None, pa.int64(), None),
        (None, pa.null(), None),
        (Decimal(1), pa.decimal128(5, 0), 1),
    ],
)
def test_a_label_of_any_type_of_number_is_read(
    value: Any, kind: pa.DataType, expected: int | None, tmp_path: Path
) -> None:
    assert one_value(tmp_path, "tx_fraud", value, kind) == expected


@pytest.mark.parametrize("name", ["customer_id", "tx_datetime", "tx_amount", "tx_fraud", "tx_fraud_scenario"])
def test_a_file_where_a_column_is_all_gaps_is_read(name: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "full.parquet", [payment(1)])
    write_parquet(tmp_path / "gaps.parquet", [payment(2, **{name: None})])
    assert column(tmp_path, name.replace("_datetime", "_seconds"))[1] is None


def test_files_of_one_folder_may_differ_in_types_order_and_further_columns(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [payment(1)], {"customer_id": pa.int32()})
    write_parquet(tmp_path / "b.parquet", [payment(2, customer_id="7", merchant="x")])
    write_parquet(tmp_path / "c.parquet", [dict(reversed(payment(3).items()))])
    write_csv(tmp_path / "d.csv", [{"note": "n"} | dict(reversed(payment(4).items()))])
    write_csv(tmp_path / "e.csv", [payment(5)])
    expected = [EXPECTED_ROW | {"transaction_id": str(i), "tx_seconds": START + 60 * i} for i in range(1, 6)]
    assert read(tmp_path) == expected


def test_optional_columns_may_be_missing(tmp_path: Path) -> None:
    row = payment(1)
    del row["tx_fraud_scenario"]
    write_csv(tmp_path / "h.csv", [row])
    assert read(tmp_path)[0]["tx_fraud_scenario"] is None


def test_a_report_time_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "h.parquet", [payment(1, **{REPORT_COLUMN: HALF_PAST_ONE})])
    assert column(tmp_path, "report_seconds") == [SECONDS]


# --- lines of CSV -----------------------------------------------------------------------------------------------------


def with_line(line: bytes) -> bytes:
    """Return a CSV of three payments with a line of other content amid them."""
    header, *lines = csv_text([payment(i) for i in (1, 2, 3)]).encode().splitlines()
    return b"\n".join([header, lines[0], line, *lines[1:], b""])


@pytest.mark.parametrize(
    "line",
    [
        b"4,2026-03-02 00:04:00,7",
        b"4,2026-03-02 00:04:00,7,8,12.5,0,0,extra",
        b'4,"2026-03-02 00:04:00,7,8,12.5,0,0',
        b"?",
    ],
)
def test_a_line_that_is_no_row_spoils_no_other(line: bytes, tmp_path: Path) -> None:
    write_csv(tmp_path / "h.csv", with_line(line))
    rows = read(tmp_path)
    assert [row["transaction_id"] for row in rows if row["readable"]] == ["1", "2", "3"]
    assert [row["readable"] for row in rows].count(False) == 1


@pytest.mark.parametrize("line", [b"4,2026-03-02 00:04:00,\xff,8,12.5,0,0", b"\xfe" * 20])
def test_a_line_that_is_not_text_is_left_out(line: bytes, tmp_path: Path) -> None:
    write_csv(tmp_path / "h.csv", with_line(line))
    assert column(tmp_path, "transaction_id") == ["1", "2", "3"]


@pytest.mark.parametrize("line", [b"", b"   ", b"\r"])
def test_an_empty_line_is_no_row(line: bytes, tmp_path: Path) -> None:
    write_csv(tmp_path / "h.csv", with_line(line))
    assert column(tmp_path, "readable") == [True, True, True]


def test_quoted_fields_may_hold_commas_and_quotation_marks(tmp_path: Path) -> None:
    text = csv_text([payment(1, customer_id='a,"b"', terminal_id=""), payment(2, customer_id=",")])
    quoted = '"transaction_id","' + '","'.join(list(payment())[1:]) + '"\n' + text.split("\n", 1)[1]
    write_csv(tmp_path / "h.csv", quoted)
    assert column(tmp_path, "customer_id") == ['a,"b"', ","]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.text('ab", 70.', max_size=6), min_size=1, max_size=8),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_whatever_a_csv_writer_quotes_is_read_as_it_was(texts: list[str], quoting: int) -> None:
    rows = [payment(i, customer_id=text, terminal_id=text) for i, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        path = write_csv(Path(folder) / "h.csv", csv_text(rows, quoting=quoting))
        found = {row["transaction_id"]: row["customer_id"] for row in read(path)}
    expected = {str(i): re.sub(r"^(-?[0-9]+)[.]0+$", r"\1", text.strip()) for i, text in enumerate(texts)}
    assert {i: text.strip() for i, text in found.items()} == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with a byte order mark"])
def test_line_ends_and_byte_order_marks_are_no_matter(end: str, mark: bytes, tmp_path: Path) -> None:
    write_csv(tmp_path / "h.csv", mark + csv_text([payment(1)]).replace("\n", end).encode())
    assert read(tmp_path) == [EXPECTED_ROW]


# --- what is refused, before any work is done -------------------------------------------------------------------------


def refusal(history: Path) -> str:
    with pytest.raises(HistoryError) as caught:
        open_history(history)
    return str(caught.value)


def write(path: Path, rows: list[Row]) -> Path:
    return write_parquet(path, rows) if path.suffix == ".parquet" else write_csv(path, rows)


@pytest.mark.parametrize("name", ["bad.parquet", "bad.csv", "bad.csv.gz"])
@pytest.mark.parametrize(
    "missing", ["transaction_id", "tx_datetime", "customer_id", "terminal_id", "tx_amount", "tx_fraud"]
)
def test_a_missing_column_is_named_with_its_file(name: str, missing: str, tmp_path: Path) -> None:
    write(tmp_path / "good.parquet", [payment(1)])
    row = payment(2)
    del row[missing]
    write(tmp_path / name, [row])
    message = refusal(tmp_path)
    assert message.startswith(f"history {tmp_path / name}: column {missing} is missing; expected ")
    assert "; expected a" in message or "; expected 0 or 1" in message


@pytest.mark.parametrize(
    ("name", "value", "holds", "expected"),
    [
        ("customer_id", True, "bool", "an integer or text"),
        ("customer_id", date(2026, 1, 1), "date32[day]", "an integer or text"),
        ("tx_datetime", 1_772_458_215, "int64", "a date with a time"),
        ("tx_datetime", date(2026, 1, 1), "date32[day]", "a date with a time"),
        ("tx_amount", "12.5", "string", "a number"),
        ("tx_amount", True, "bool", "a number"),
        ("tx_fraud", "0", "string", "0 or 1"),
        ("tx_fraud_scenario", "none", "string", "a whole number"),
        (REPORT_COLUMN, 3.5, "double", "a date with a time"),
    ],
)
def test_a_column_of_another_type_is_named_with_its_file(
    name: str, value: Any, holds: str, expected: str, tmp_path: Path
) -> None:
    write_parquet(tmp_path / "a.parquet", [payment(1)])
    bad = write_parquet(tmp_path / "b.parquet", [payment(2, **{name: value})])
    message = refusal(tmp_path)
    assert message.startswith(f"history {bad}: column {name} holds {holds}; expected {expected}")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tx_datetime", "2026-03-02", "a date with a time"),
        ("tx_datetime", "1772458215", "a date with a time"),
        ("tx_datetime", "02.03.2026 13:30", "a date with a time"),
        ("tx_amount", "twelve", "a number"),
        ("tx_fraud", "maybe", "0 or 1"),
        ("tx_fraud_scenario", "none", "a whole number"),
        (REPORT_COLUMN, "never", "a date with a time"),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_text_of_which_nothing_can_be_read_is_of_another_type(
    name: str, value: str, expected: str, suffix: str, tmp_path: Path
) -> None:
    bad = write_csv(tmp_path / f"h.{suffix}", [payment(i, **{name: value}) for i in range(3)])
    message = refusal(tmp_path)
    assert message.startswith(
        f"history {bad}: column {name} holds no readable value in its first rows; expected {expected}"
    )
    assert value not in message.removeprefix(f"history {bad}")


def test_a_day_without_one_readable_time_is_refused_and_a_stray_row_is_left_to_cleaning(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", [payment(1)])
    write_csv(tmp_path / "b.csv", [payment(2, tx_datetime="soon")])
    assert column(tmp_path, "tx_seconds") == [START + 60, None]
    bad = write_csv(tmp_path / "c.csv", [payment(i, tx_datetime="soon") for i in range(3, 50)])
    assert refusal(tmp_path).startswith(f"history {bad}: column tx_datetime holds no readable value")


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    header, *rows = csv_text([payment(1)]).splitlines()
    write_csv(tmp_path / "h.csv", "\n".join([header + ",tx_amount", *(row + ",1" for row in rows), ""]))
    assert "h.csv: column tx_amount stands there 2 times; expected once" in refusal(tmp_path)


def test_no_such_path_is_said(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere") == f"history {tmp_path / 'nowhere'}: there is no such file or folder"


def test_a_folder_without_history_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert refusal(tmp_path) == f"history {tmp_path}: no file ends in .parquet, .csv, .csv.gz"
    assert "no file ends in .parquet" in refusal(tmp_path / "notes.txt")


def test_a_damaged_parquet_file_among_good_ones_is_named(tmp_path: Path) -> None:
    for i in range(3):
        write_parquet(tmp_path / f"{i}.parquet", [payment(i)])
    whole = (tmp_path / "1.parquet").read_bytes()
    for damaged in (b"", b"PAR1", whole[:-1], whole[: len(whole) // 2], b"x" * 100):
        (tmp_path / "1.parquet").write_bytes(damaged)
        assert f"history {tmp_path / '1.parquet'}: not a readable parquet file" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n\n", b"\xef\xbb\xbf"])
def test_an_empty_csv_is_refused(content: bytes, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "h.csv", content)
    assert refusal(tmp_path).startswith(f"history {path}: the file is empty; expected a line of column names: transac")


def test_a_csv_with_only_a_header_is_an_empty_history(tmp_path: Path) -> None:
    for end in ("\n", ""):
        write_csv(tmp_path / "h.csv", csv_text([payment(1)]).splitlines()[0] + end)
        assert read(tmp_path) == []


@pytest.mark.parametrize("keep", [0, 5, 15])
def test_a_gz_file_that_is_not_one_is_named(keep: int, tmp_path: Path) -> None:
    (tmp_path / "h.csv.gz").write_bytes(gzip.compress(csv_text([payment(1)]).encode())[:keep] + b"\x00")
    assert f"history {tmp_path / 'h.csv.gz'}: not a readable csv.gz file" in refusal(tmp_path)


def test_a_csv_with_other_separators_lacks_its_first_column(tmp_path: Path) -> None:
    write_csv(tmp_path / "h.csv", csv_text([payment(1)]).replace(",", ";"))
    assert "h.csv: column transaction_id is missing" in refusal(tmp_path)


def test_no_message_quotes_a_value(tmp_path: Path) -> None:
    messages = []
    for bad in ({"tx_datetime": "x"}, {"tx_amount": PRIVATE}, {"tx_fraud": PRIVATE}):
        write_csv(tmp_path / "h.csv", [payment(i, customer_id=PRIVATE, **bad) for i in range(30)])
        messages.append(refusal(tmp_path))
    assert not [message for message in messages if PRIVATE in message]
    assert len(messages) == 3


# --- while it is read -------------------------------------------------------------------------------------------------


def test_a_file_that_breaks_off_in_the_middle_is_found_and_named(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_parquet(tmp_path / f"{name}.parquet", [payment(i) for i in range(5000)])
    damaged = bytearray((tmp_path / "b.parquet").read_bytes())
    damaged[100:3000] = b"\xff" * 2900
    (tmp_path / "b.parquet").write_bytes(damaged)
    files = open_history(tmp_path)
    with duckdb.connect() as connection, pytest.raises(HistoryError, match=r"b\.parquet: not a readable parquet file"):
        find_unreadable(connection, files)


def test_one_unreadable_file_among_a_thousand_is_named_or_left_out_if_asked(tmp_path: Path) -> None:
    first = write_parquet(tmp_path / "day-0000.parquet", [payment(1)]).read_bytes()
    for number in range(1, 1000):
        (tmp_path / f"day-{number:04}.parquet").write_bytes(first if number != 617 else first[:-9])
    with pytest.raises(UnreadableFileError, match=r"day-0617\.parquet: not a readable parquet file") as caught:
        open_history(tmp_path)
    assert caught.value.path == tmp_path / "day-0617.parquet"
    skipped: list[str] = []
    assert len(open_history(tmp_path, skipped=skipped)) == 999
    assert skipped == [str(tmp_path / "day-0617.parquet")]


def test_where_nothing_can_be_read_nothing_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no Parquet")
    with pytest.raises(HistoryError, match=f"history {tmp_path}: none of its files can be read"):
        open_history(tmp_path, skipped=[])


def test_a_column_that_is_missing_is_no_reason_to_skip(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [payment(1)])
    write_parquet(tmp_path / "b.parquet", [{"transaction_id": 1}])
    with pytest.raises(HistoryError, match=r"b\.parquet: column tx_datetime is missing"):
        open_history(tmp_path, skipped=[])


# --- folders of days, and snapshots -----------------------------------------------------------------------------------


def test_folders_of_other_days_are_not_opened(tmp_path: Path) -> None:
    for day in range(1, 10):
        file = tmp_path / f"tx_date=2026-01-0{day}" / "part.parquet"
        if 4 <= day <= 7:
            write_parquet(file, [payment(day)])
        else:  # to open it would be an error
            write_csv(file, b"no Parquet")
    days = Days(date(2026, 1, 5), date(2026, 1, 6))
    assert [folder_of(file) for file in open_history(tmp_path, days=days)] == [
        f"tx_date=2026-01-0{n}" for n in range(4, 8)
    ]
    with pytest.raises(HistoryError, match="no folder is of the days asked for, 2027-01-05 to"):
        open_history(tmp_path, days=Days(date(2027, 1, 5)))


def folder_of(file: HistoryFile) -> str:
    assert isinstance(file.path, Path)
    return file.path.parent.name


def test_of_a_folder_with_a_manifest_its_snapshot_is_the_history(tmp_path: Path) -> None:
    write_parquet(tmp_path / "source.parquet", [payment(1)])
    place = open_address(tmp_path / "history")
    for number in (1, 2):
        with snapshot(place) as draft:
            draft.upload(f"date=2026-03-0{number}/a.parquet", tmp_path / "source.parquet")
        place.write_bytes("stray.parquet", b"no Parquet")
    assert [folder_of(file) for file in open_history(tmp_path / "history")] == ["date=2026-03-02"]


def test_a_whole_history_has_no_unreadable_file(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", with_line(b"\xff"))
    write_parquet(tmp_path / "b.parquet", [payment(1)])
    with duckdb.connect() as connection:
        find_unreadable(connection, open_history(tmp_path))


def test_a_scratch_database_keeps_to_its_limits_and_to_utc(tmp_path: Path) -> None:
    with connect(tmp_path / "it's here", memory_limit="300MB", threads=1) as connection:
        row = connection.execute(
            "SELECT current_setting('threads'), current_setting('TimeZone'), current_setting('temp_directory')"
        ).fetchone()
        limit = connection.execute("SELECT current_setting('memory_limit')").fetchone()
    assert row == (1, "UTC", str(tmp_path / "it's here/spill"))
    assert limit == ("286.1 MiB",)


def test_the_moment_of_a_row_is_as_python_reckons(tmp_path: Path) -> None:
    write_parquet(tmp_path / "h.parquet", [payment(i, tx_datetime=moment(START + i)) for i in range(10)])
    assert column(tmp_path, "tx_seconds") == [START + i for i in range(10)]
