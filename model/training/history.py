"""Where raw history comes in: files are found, their columns checked, and rows brought to one shape.

This is the one seam between history as banks store it and the rest of training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pyarrow.types as pat

from model.transaction import COLUMNS, REPORT_COLUMN

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv"}
REQUIRED = (*COLUMNS, "tx_fraud")
OPTIONAL = ("tx_fraud_scenario", REPORT_COLUMN)
EXPECTED = {
    "transaction_id": "an integer or text",
    "customer_id": "an integer or text",
    "terminal_id": "an integer or text",
    "tx_datetime": "a date with a time, ISO 8601",
    "tx_amount": "a number",
    "tx_fraud": "0 or 1",
    "tx_fraud_scenario": "a whole number",
    REPORT_COLUMN: "a date with a time, ISO 8601",
}
_SAMPLE_BYTES = 1 << 16  # of a CSV file, read to see whether its columns are what they should be


class HistoryError(ValueError):
    """History that cannot be read: nothing there, a column missing, a column of the wrong type."""


@dataclass(frozen=True, slots=True)
class HistoryFile:
    """One checked file: its format (`parquet` or `csv`) and the types of its columns."""

    path: Path
    format: str
    columns: dict[str, pa.DataType]


def open_history(address: str | Path) -> list[HistoryFile]:
    """Find the files of a history, a file or a folder, and check the columns of each.

    Raises
    ------
    HistoryError
        If there is no such file, no CSV or Parquet file in the folder, or a file lacks a column or holds another type
        than expected; it names the file, the column and what was expected. No row has been read by then.
    """
    return [_checked(path, kind) for path, kind in _find(Path(address))]


def _find(path: Path) -> list[tuple[Path, str]]:
    if not path.exists():
        raise HistoryError(f"history {path}: there is no such file or folder")
    candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
    found = [(file, kind) for file in candidates for kind in _kind(file) if file.is_file() and file.name[0] not in "._"]
    if not found:
        raise HistoryError(f"history {path}: no file ends in {', '.join(SUFFIXES)}")
    return found


def _kind(path: Path) -> Iterator[str]:
    yield from (kind for suffix, kind in SUFFIXES.items() if path.name.lower().endswith(suffix))


def _checked(path: Path, kind: str) -> HistoryFile:
    try:
        columns = _parquet_columns(path) if kind == "parquet" else _csv_columns(path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise HistoryError(f"history {path}: not a readable {kind} file ({reason})") from error
    for name in REQUIRED:
        if name not in columns:
            raise HistoryError(f"history {path}: column {name} is missing; expected {EXPECTED[name]}")
    for name in (*REQUIRED, *OPTIONAL):
        if name in columns and not _fits(name, columns[name], text=kind == "csv"):
            raise HistoryError(f"history {path}: column {name} holds {columns[name]}; expected {EXPECTED[name]}")
    return HistoryFile(path, kind, columns)


def _parquet_columns(path: Path) -> dict[str, pa.DataType]:
    schema = pyarrow.parquet.read_schema(path)
    return {field.name: field.type for field in schema}


def _csv_columns(path: Path) -> dict[str, pa.DataType]:
    """Return the types that the first rows of a CSV file look like; a column of nothing but gaps is null."""
    options = pyarrow.csv.ReadOptions(block_size=_SAMPLE_BYTES)
    with pa.input_stream(path) as stream, pyarrow.csv.open_csv(stream, read_options=options) as reader:
        return {field.name: field.type for field in reader.schema}


def _fits(name: str, kind: pa.DataType, *, text: bool) -> bool:
    number = pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind)
    is_text = pat.is_string(kind) or pat.is_large_string(kind)
    if pat.is_null(kind):
        return True
    if name.endswith("_id"):
        return bool(pat.is_integer(kind) or pat.is_floating(kind) or is_text)
    if name.endswith("_datetime"):
        # A few unreadable moments make a whole CSV column look like text: those rows are dropped in cleaning.
        return bool(pat.is_timestamp(kind) or is_text)
    # In CSV a stray word makes a column look like text; cleaning drops the rows that do not parse.
    return bool(number or pat.is_boolean(kind) or (text and is_text and name == "tx_amount"))


def history_sql(files: Sequence[HistoryFile]) -> str:
    """Return a DuckDB query over the files with one shape, whatever theirs is.

    Columns: `transaction_id`, `customer_id`, `terminal_id` as text; `tx_seconds` and `report_seconds`, whole seconds
    since 1970 UTC, null where missing or unreadable; `tx_amount` double; `tx_fraud`, `tx_fraud_scenario` integers.
    """
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[HistoryFile]] = {}
    for file in files:
        shape = tuple(sorted((name, str(kind)) for name, kind in file.columns.items()))
        groups.setdefault((file.format, shape), []).append(file)
    return "\nUNION ALL\n".join(_select(group) for group in groups.values())


def _select(files: Sequence[HistoryFile]) -> str:
    first = files[0]
    text = first.format == "csv"
    paths = ", ".join(_quoted(str(file.path)) for file in files)
    source = f"read_csv([{paths}], all_varchar = true, header = true)" if text else f"read_parquet([{paths}])"
    columns = ",\n    ".join(_column(name, first.columns.get(name), text=text) for name in (*REQUIRED, *OPTIONAL))
    return f"SELECT\n    {columns}\nFROM {source}"


def _column(name: str, kind: pa.DataType | None, *, text: bool) -> str:
    if name.endswith("_id"):
        return f"{_id(name, kind, text=text)} AS {name}"
    if name.endswith("_datetime"):
        return f"{_seconds(name, kind)} AS {name.removesuffix('_datetime')}_seconds"
    target = "DOUBLE" if name == "tx_amount" else "BIGINT"
    return f"TRY_CAST({name if kind is not None else 'NULL'} AS {target}) AS {name}"


def _id(name: str, kind: pa.DataType | None, *, text: bool) -> str:
    """Return an expression for the id as text; tables with gaps hold integers as `7.0`, and mean `7`."""
    if text:
        return f"REGEXP_REPLACE(TRIM({name}), '^(-?[0-9]+)[.]0+$', '\\1')"
    if pat.is_floating(kind):
        return f"CASE WHEN {name} = FLOOR({name}) THEN CAST(TRY_CAST({name} AS BIGINT) AS VARCHAR) END"
    return f"TRIM(CAST({name} AS VARCHAR))"


def _seconds(name: str, kind: pa.DataType | None) -> str:
    if kind is None:
        return "CAST(NULL AS BIGINT)"
    moment = name
    if not pat.is_timestamp(kind):
        # A day without a time is no moment; text with an offset is honoured, text without one is UTC.
        moment = f"CASE WHEN LENGTH({name}) > 10 THEN TRY_CAST({name} AS TIMESTAMPTZ) END"
    return f"CAST(FLOOR(EPOCH({moment})) AS BIGINT)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def connect(folder: Path, *, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    """Open a scratch DuckDB database in a folder, with bounded memory; what does not fit is spilled beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(str(folder / "scratch.duckdb"))
    connection.execute(f"SET memory_limit = {_quoted(memory_limit)}")
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"SET temp_directory = {_quoted(str(folder / 'spill'))}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    return connection
