"""The query that brings history, in whatever files and types it comes, to one shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pat

from model.training.addresses import PlacedFile
from model.transaction import COLUMNS, REPORT_COLUMN

REQUIRED = (*COLUMNS, "tx_fraud")
OPTIONAL = ("tx_fraud_scenario", REPORT_COLUMN)
UNREADABLE_LINES = "unreadable_lines"  # table that DuckDB fills while it reads CSV: lines that are not UTF-8
WHITE = r"E' \t\r\n'"

# A row is a line, so that one stray quotation mark spoils one row and not all that follow it.
_FIELD = r'"(?:[^"]|"")*"|[^",][^,]*|'
_DATE_AND_TIME = r"^\s*[0-9]+[-/][0-9]+[-/][0-9]+[Tt ]\s*[0-9]"
_LINES = (
    "columns = {'line': 'VARCHAR'}, auto_detect = false, header = true, delim = '\x01', quote = '', escape = '',"
    " strict_mode = false, hive_partitioning = false, ignore_errors = true, store_rejects = true,"
    f" rejects_table = '{UNREADABLE_LINES}', rejects_scan = '{UNREADABLE_LINES}_scans'"
)
# Said and not left to be guessed: a question mark in a path hides the suffix from DuckDB.
_COMPRESSION = {"csv": "none", "csv.gz": "gzip"}
_LABEL_WORDS = ("('', 'nan', 'null')", "('0', '0.0', 'false')", "('1', '1.0', 'true')")


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """One checked file: its format (`parquet`, `csv` or `csv.gz`) and the types of its columns, all text in CSV.

    A query over files of a store needs `model.training.addresses.readable` around it.
    """

    path: Path | PlacedFile
    format: str
    columns: dict[str, pa.DataType]


def is_text(kind: pa.DataType | None) -> bool:
    """Return whether a column of this type holds text, which may or may not be what it should."""
    return kind is not None and bool(pat.is_string(kind) or pat.is_large_string(kind))


def history_sql(files: Sequence[HistoryFile]) -> str:
    """Return a DuckDB query over the files with one shape, whatever theirs is.

    Columns: `readable`, false for a line of CSV that has too few or too many fields; `transaction_id`, `customer_id`,
    `terminal_id` as text; `tx_seconds` and `report_seconds`, whole seconds since 1970 UTC, null where missing or
    unreadable; `tx_amount` double; `tx_fraud` 0, 1, null where missing and -1 where it is neither;
    `tx_fraud_scenario` integer. Lines that are not even text are left out and noted in the table `UNREADABLE_LINES`.
    """
    groups: dict[tuple[object, ...], list[HistoryFile]] = {}
    for file in files:
        shape = (file.format, *((name, str(kind)) for name, kind in file.columns.items()))
        groups.setdefault(shape, []).append(file)
    return "\nUNION ALL\n".join(_select(group[0], _source(group)) for group in groups.values())


def sample_sql(file: HistoryFile, names: Sequence[str], *, rows: int) -> str:
    """Return a query for how many first values of each text column are there, and how many of them can be read."""
    first = f"SELECT {', '.join(f'{_reference(file, name)} AS {name}' for name in names)} FROM {_source([file])}"
    shaped = {name: _brought_to_shape(name, name, pa.string()) for name in names}
    shaped["tx_fraud"] = f"NULLIF({shaped.get('tx_fraud')}, -1)"
    counts = ", ".join(f"COUNT(NULLIF(TRIM({name}, {WHITE}), '')), COUNT({shaped[name]})" for name in names)
    return f"SELECT {counts} FROM ({first} LIMIT {rows}) AS sample"


def lines_sql(file: HistoryFile, *, lines: str) -> str:
    """Return what `history_sql` answers for a file of CSV whose lines, without the first, are the column `line`."""
    return _select(file, _rows(file, lines))


def column_sql(name: str, kind: pa.DataType) -> str:
    """Return the expression that brings one column of Parquet to the shape of `history_sql`."""
    return _brought_to_shape(name, name, kind)


def _select(first: HistoryFile, source: str) -> str:
    columns = [
        f"{_brought_to_shape(_reference(first, name), name, first.columns.get(name, pa.null()))}"
        f" AS {name.replace('_datetime', '_seconds')}"
        for name in (*REQUIRED, *OPTIONAL)
    ]
    readable = "TRUE" if first.format == "parquet" else "fields IS NOT NULL"
    return f"SELECT\n    {readable} AS readable,\n    " + ",\n    ".join(columns) + f"\nFROM {source}"


def _reference(file: HistoryFile, name: str) -> str:
    """Return how the query over a file calls one of its columns."""
    if name not in file.columns:
        return "NULL"
    if file.format == "parquet":
        return name
    field = f"fields[{list(file.columns).index(name) + 1}]"
    if not name.endswith("_id"):
        return field
    # Text does not tell an integer from a float: what a table with gaps wrote as 7.0 is 7.
    whole = f"REGEXP_REPLACE(TRIM({field}, {WHITE}), '^(-?[0-9]+)[.]0+$', '\\1')"
    return f"CASE WHEN CONTAINS({field}, '.') THEN {whole} ELSE {field} END"


def _source(files: Sequence[HistoryFile]) -> str:
    paths = ", ".join(quoted(pattern(file.path)) for file in files)
    if files[0].format == "parquet":
        return f"read_parquet([{paths}], hive_partitioning = false)"
    return _rows(files[0], f"read_csv([{paths}], {_LINES}, compression = '{_COMPRESSION[files[0].format]}')")


def _rows(file: HistoryFile, lines: str) -> str:
    """Return the rows that a table of lines holds: their fields, or null where a line has too few or too many."""
    fields = f"""
        CASE
            WHEN NOT CONTAINS(line, '"') THEN STRING_SPLIT(line, ',')
            WHEN line[1] = '"' AND line[-1] = '"' AND LENGTH(line) > 1
                AND NOT CONTAINS(REPLACE(line[2:-2], '","', ''), '"') THEN STRING_SPLIT(line[2:-2], '","')
            WHEN REGEXP_FULL_MATCH(line, '({_FIELD})(?:,({_FIELD}))*') THEN LIST_TRANSFORM(
                REGEXP_EXTRACT_ALL(',' || line, ',({_FIELD})', 1),
                lambda field: CASE WHEN field[1] = '"' THEN REPLACE(field[2:-2], '""', '"') ELSE field END
            )
        END"""
    split = f"SELECT {fields} AS fields FROM {lines} AS lines WHERE TRIM(line, {WHITE}) <> ''"
    count = len(file.columns)
    return f"(SELECT CASE WHEN LEN(fields) = {count} THEN fields END AS fields FROM ({split}) AS split) AS rows"


def _brought_to_shape(value: str, name: str, kind: pa.DataType) -> str:
    """Return the expression that brings a column to the one shape."""
    if name.endswith("_id"):
        return _id(value, kind)
    if name.endswith("_datetime"):
        return _seconds(value, kind)
    if name == "tx_fraud":
        return _label(value, kind)
    return f"TRY_CAST({value} AS {'DOUBLE' if name == 'tx_amount' else 'BIGINT'})"


def _id(value: str, kind: pa.DataType) -> str:
    """Return an expression for the id as text; tables with gaps hold integers as `7.0`, and mean `7`."""
    if pat.is_integer(kind):
        return f"CAST({value} AS VARCHAR)"
    if pat.is_floating(kind) or pat.is_decimal(kind):
        return f"CASE WHEN {value} = FLOOR({value}) THEN CAST(TRY_CAST({value} AS HUGEINT) AS VARCHAR) END"
    return f"TRIM(CAST({value} AS VARCHAR), {WHITE})"


def _seconds(value: str, kind: pa.DataType) -> str:
    if pat.is_null(kind):
        return "CAST(NULL AS BIGINT)"
    if not pat.is_timestamp(kind):
        # A day without a time is no moment; text with an offset is honoured, text without one is UTC.
        moment = f"TRY_CAST(TRIM({value}, {WHITE}) AS TIMESTAMPTZ)"
        return f"CASE WHEN REGEXP_MATCHES({value}, '{_DATE_AND_TIME}') THEN EPOCH_US({moment}) // 1000000 END"
    if kind.unit == "ns":
        return f"EPOCH_NS({value}) // 1000000000"  # by way of microseconds a second's last nanoseconds were rounded up
    return f"EPOCH_US({value}) // 1000000"


def _label(value: str, kind: pa.DataType) -> str:
    if is_text(kind):
        word = f"LOWER(TRIM({value}, {WHITE}))"
        missing, honest, fraud = (f"{word} IN {words}" for words in _LABEL_WORDS)
    else:
        number = f"CAST({value} AS DOUBLE)"
        missing, honest, fraud = f"{number} IS NULL OR ISNAN({number})", f"{number} = 0", f"{number} = 1"
    return (
        f"CASE WHEN {missing} THEN NULL WHEN {honest} THEN 0 WHEN {fraud} THEN 1 WHEN {value} IS NOT NULL THEN -1 END"
    )


def pattern(path: Path | PlacedFile) -> str:
    """Return the path, or the address, as a DuckDB pattern that matches it alone."""
    text = str(path.absolute()) if isinstance(path, Path) else str(path)
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def quoted(text: str) -> str:
    """Return the text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
