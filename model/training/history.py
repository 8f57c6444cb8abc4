"""Where raw history comes in: files are found, their columns checked, and rows brought to one shape.

This is the one seam between history as banks store it and the rest of training.
"""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pyarrow.types as pat

from model.training.reading import (
    OPTIONAL,
    REQUIRED,
    UNREADABLE_LINES,
    HistoryFile,
    history_sql,
    is_text,
    quoted,
    sample_sql,
)
from model.transaction import REPORT_COLUMN

__all__ = [
    "HistoryError",
    "HistoryFile",
    "check_files",
    "connect",
    "find_files",
    "find_unreadable",
    "history_sql",
    "open_history",
]

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv.gz"}
_MOMENT = "a date with a time, ISO 8601 such as 2026-01-31T13:45:00Z"
EXPECTED = {
    "transaction_id": "an integer or text",
    "customer_id": "an integer or text",
    "terminal_id": "an integer or text",
    "tx_datetime": _MOMENT,
    "tx_amount": "a number",
    "tx_fraud": "0 or 1",
    "tx_fraud_scenario": "a whole number",
    REPORT_COLUMN: _MOMENT,
}
_HEADER_BYTES = 1 << 16
_SAMPLE_ROWS = 1000  # of a file with text, to see whether its columns hold what they should
_ENOUGH = 20  # unreadable values, and no readable one, say that the whole column is of another type
_FINE = (1, 1)  # values, and readable ones, of a column that is not text


class HistoryError(ValueError):
    """History that cannot be read: nothing there, a column missing, a column of the wrong type."""


def open_history(address: str | Path) -> list[HistoryFile]:
    """Find the files of a history, a file or a folder, and check the columns of each.

    Files and folders inside it whose names begin with `.` or `_` are left out: they are being written, or notes.

    Raises
    ------
    HistoryError
        If there is no such file, no CSV or Parquet file in the folder, or a file lacks a column or holds another type
        than expected; it names the file, the column and what was expected. Of the rows, only a sample is read.
    """
    return check_files(find_files(address))


def check_files(
    found: Sequence[tuple[Path, str]], *, required: Sequence[str] = REQUIRED, among_others: bool = False
) -> list[HistoryFile]:
    """Check the columns of some files, as `find_files` found them; errors as of `open_history`.

    Parameters
    ----------
    required
        The columns that each must have.
    among_others
        Whether they join files that were found readable before: a few odd values alone are then no wrong column.
    """
    files = [_checked(path, kind, required) for path, kind in found]
    _check_text(files, among_others=among_others)
    return files


def find_files(address: str | Path) -> list[tuple[Path, str]]:
    """Return the files of a history and their formats; a `HistoryError` says if there are none."""
    path = Path(address)
    if not path.exists():
        raise HistoryError(f"history {path}: there is no such file or folder")
    candidates = [file for file in sorted(path.rglob("*")) if _is_public(file, path)] if path.is_dir() else [path]
    found = [(file, kind) for file in candidates for kind in _kind(file) if file.is_file()]
    if not found:
        raise HistoryError(f"history {path}: no file ends in {', '.join(SUFFIXES)}")
    return found


def _is_public(file: Path, folder: Path) -> bool:
    return not any(part[0] in "._" for part in file.relative_to(folder).parts)


def _kind(path: Path) -> Iterator[str]:
    yield from (kind for suffix, kind in SUFFIXES.items() if path.name.lower().endswith(suffix))


def _checked(path: Path, kind: str, required: Sequence[str]) -> HistoryFile:
    try:
        columns = _parquet_columns(path) if kind == "parquet" else _csv_columns(path, kind)
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}" if str(error) else type(error).__name__
        raise HistoryError(f"history {path}: not a readable {kind} file ({reason})") from error
    names = Counter(name for name, _ in columns)
    for name in required:
        if name not in names:
            raise HistoryError(f"history {path}: column {name} is missing; expected {EXPECTED[name]}")
    for name, found in columns:
        if name in EXPECTED and names[name] > 1:
            raise HistoryError(f"history {path}: column {name} stands there {names[name]} times; expected once")
        if name in EXPECTED and kind == "parquet" and not _fits(name, found):
            raise HistoryError(f"history {path}: column {name} holds {found}; expected {EXPECTED[name]}")
    return HistoryFile(path, kind, dict(columns))


def _parquet_columns(path: Path) -> list[tuple[str, pa.DataType]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        stored = {
            column.name: column.physical_type for column in (file.schema.column(i) for i in range(len(file.schema)))
        }
        # Old Spark's 96-bit moments look like nanoseconds to Arrow; DuckDB reads them as microseconds.
        return [
            (field.name, pa.timestamp("us") if stored.get(field.name) == "INT96" else _plain(field.type))
            for field in file.schema_arrow
        ]


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pat.is_dictionary(kind) else kind


def _csv_columns(path: Path, kind: str) -> list[tuple[str, pa.DataType]]:
    with gzip.open(path) if kind == "csv.gz" else path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    if not head.strip():
        raise HistoryError(f"history {path}: the file is empty; expected a line of column names: {', '.join(REQUIRED)}")
    return [(name.strip(), pa.string()) for name in next(csv.reader(head.splitlines()[:1]))]


def _fits(name: str, kind: pa.DataType) -> bool:
    is_number = pat.is_integer(kind) or pat.is_floating(kind) or pat.is_decimal(kind)
    if pat.is_null(kind):
        return True
    if name.endswith("_id"):
        return bool(is_number or is_text(kind))
    if name.endswith("_datetime"):
        return bool(pat.is_timestamp(kind) or is_text(kind))
    return bool(is_number or (name == "tx_fraud" and pat.is_boolean(kind)))


def _check_text(files: Sequence[HistoryFile], *, among_others: bool) -> None:
    """Raise where a column of text holds no value that can be read; single ones that cannot are left to cleaning."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        samples = [(file, _sample(connection, file)) for file in files]
    for name in (*REQUIRED, *OPTIONAL):
        none_readable = not among_others and not any(
            name in file.columns and sample.get(name, _FINE)[1] for file, sample in samples
        )
        for file, sample in samples:
            filled, readable = sample.get(name, _FINE)
            if filled and not readable and (filled >= _ENOUGH or none_readable):
                raise HistoryError(
                    f"history {file.path}: column {name} holds no readable value in its first rows;"
                    f" expected {EXPECTED[name]}"
                )


def _sample(connection: duckdb.DuckDBPyConnection, file: HistoryFile) -> dict[str, tuple[int, int]]:
    """Return for each column of text that could be another thing how many first values there are, and are readable."""
    names = [name for name in EXPECTED if is_text(file.columns.get(name)) and not name.endswith("_id")]
    if not names:
        return {}
    row = _guarded(file, connection, sample_sql(file, names, rows=_SAMPLE_ROWS)).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    return {name: (row[2 * i], row[2 * i + 1]) for i, name in enumerate(names)}


def _guarded(file: HistoryFile, connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    try:
        return connection.execute(query)
    except duckdb.Error as error:
        # Only the first line: those after it may quote a row, and a row holds ids.
        reason = str(error).splitlines()[0][:200]
        raise HistoryError(f"history {file.path}: not a readable {file.format} file ({reason})") from None


def find_unreadable(connection: duckdb.DuckDBPyConnection, files: Sequence[HistoryFile]) -> None:
    """Read every file alone to its end, and raise `HistoryError` for the first where that fails."""
    for file in files:
        _guarded(file, connection, f"SELECT MAX(COLUMNS(*)) FROM ({history_sql([file])}) AS rows").fetchone()


def unreadable_lines(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many lines of CSV were not even text; without CSV there is no table of them."""
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if UNREADABLE_LINES not in tables:
        return 0
    query = f"SELECT COUNT(*) FROM (SELECT DISTINCT file_id, line FROM {UNREADABLE_LINES}) AS lines"
    return int(connection.execute(query).fetchall()[0][0])


def connect(folder: Path, *, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    """Open a scratch DuckDB database in a folder, with bounded memory; what does not fit is spilled beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(str(folder / "scratch.duckdb"))
    connection.execute(f"SET memory_limit = {quoted(memory_limit)}")
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"SET temp_directory = {quoted(str(folder / 'spill'))}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    return connection
