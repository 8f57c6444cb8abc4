"""Where raw history comes in: files are found, their columns checked, and rows brought to one shape.

This is the one seam between history as banks store it and the rest of training.
"""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.parquet
import pyarrow.types as pat

from model.address import Location, is_remote
from model.training.addresses import MANIFEST_NAME, Days, PlacedFile, open_address, raise_failed_read, readable
from model.training.changed_schema import Misfit, told
from model.training.prepared_layout import CLEANING, prepared_manifest
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
    "PreparedHistoryError",
    "UnreadableFileError",
    "check_files",
    "connect",
    "find_files",
    "find_unreadable",
    "history_sql",
    "open_history",
    "unreadable_files",
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
T = TypeVar("T")
FileAt = Path | PlacedFile
_AT_ONCE = 16  # files of a store that are asked for at a time
_HEADER_BYTES = 1 << 16
_SAMPLE_ROWS = 1000  # of a file with text, to see whether its columns hold what they should
_ENOUGH = 20  # unreadable values, and no readable one, say that the whole column is of another type
_FINE = (1, 1)  # values, and readable ones, of a column that is not text


class HistoryError(ValueError):
    """History that cannot be read: nothing there, a column missing, a column of the wrong type."""


class PreparedHistoryError(HistoryError):
    """A raw history is needed, and the address holds what `antifraud prepare` made of one."""


class UnreadableFileError(HistoryError):
    """A file that is no Parquet or CSV, or broken; `path` is where it lies."""

    def __init__(self, path: FileAt, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def open_history(address: Location, *, days: Days | None = None, skipped: list[str] | None = None) -> list[HistoryFile]:
    """Find the files of a history, a file or a folder, and check the columns of each.

    Files and folders inside it whose names begin with `.` or `_` are left out: they are being written, or notes. Where
    a folder has a manifest (`model.training.addresses.snapshot`), its files are those of the manifest.

    Parameters
    ----------
    address
        A path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    days
        The days that matter: folders `date=YYYY-MM-DD/` of others are not opened.
    skipped
        Takes the names of unreadable files, which are then left out; None: they raise.

    Raises
    ------
    AddressError
        If a store cannot be reached, or refuses.
    HistoryError
        If there is no such file, no CSV or Parquet file in the folder, or a file lacks a column or holds another type
        than expected; it names the file, the column and what was expected. Of the rows, only a sample is read.
    """
    files = check_files(find_files(address, days=days), skipped=skipped)
    if not files:
        raise HistoryError(f"history {address}: none of its files can be read")
    return files


def check_files(
    found: Sequence[tuple[FileAt, str]],
    *,
    required: Sequence[str] = REQUIRED,
    among_others: bool = False,
    skipped: list[str] | None = None,
) -> list[HistoryFile]:
    """Check the columns of some files, as `find_files` found them; errors as of `open_history`.

    Parameters
    ----------
    required
        The columns that each must have.
    among_others
        Whether they join files that were found readable before: a few odd values alone are then no wrong column.
    skipped
        As of `open_history`.
    """
    files, unreadable, misfits = [], [], []
    for file, odd in _each(found, partial(_opened, required=required)):
        if isinstance(file, HistoryFile):
            files.append(file)
            misfits += odd
        else:
            unreadable.append(file)
    if unreadable and skipped is None:
        raise unreadable[0]
    if misfits:
        raise HistoryError(told(misfits, files, expected=EXPECTED))
    if skipped is not None:
        skipped += [str(error.path) for error in unreadable]
    _check_text(files, among_others=among_others)
    return files


def find_files(address: Location, *, days: Days | None = None) -> list[tuple[FileAt, str]]:
    """Return the files of a history and their formats; a `HistoryError` says if there are none.

    Parameters
    ----------
    days
        As of `open_history`.

    Raises
    ------
    PreparedHistoryError
        If it is no raw history any more.
    """
    listed = _listed(address)
    if any(name == CLEANING for _, name in listed):
        _refuse_prepared(address)
    found = [(file, name, kind) for file, name in listed for kind in _kind(name)]
    if not found:
        raise HistoryError(f"history {address}: no file ends in {', '.join(SUFFIXES)}")
    chosen = [(file, kind) for file, name, kind in found if days is None or days.may_hold(name)]
    if not chosen:
        raise HistoryError(f"history {address}: no folder is of the days asked for, {days}")
    return chosen


def _refuse_prepared(address: Location) -> None:
    manifest = prepared_manifest(address)
    if manifest is not None:
        raise PreparedHistoryError(
            f"history {address}: it is a prepared history, without the ids and files that are needed here; give the"
            f" raw history that antifraud prepare made it from, {manifest.about.get('history')}"
        )


def _listed(address: Location) -> list[tuple[FileAt, str]]:
    """Return each file of an address with its path below it."""
    if is_remote(address):
        return [(file, file.name) for file in open_address(address).list_files()]
    path = Path(address)
    if not path.exists():
        raise HistoryError(f"history {path}: there is no such file or folder")
    if not path.is_dir():
        return [(path, path.name)]
    if (path / MANIFEST_NAME).is_file():
        return [(Path(str(file)), file.name) for file in open_address(path).list_files()]
    public = [file for file in sorted(path.rglob("*")) if _is_public(file, path)]
    return [(file, file.relative_to(path).as_posix()) for file in public if file.is_file()]


def _is_public(file: Path, folder: Path) -> bool:
    return not any(part[0] in "._" for part in file.relative_to(folder).parts)


def _kind(name: str) -> Iterator[str]:
    yield from (kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix))


def _each(found: Sequence[tuple[FileAt, str]], work: Callable[[tuple[FileAt, str]], T]) -> Iterator[T]:
    """Do something with each file in order; many files of a store are asked for at once."""
    if len(found) < 2 or isinstance(found[0][0], Path):
        yield from map(work, found)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(work, found)


def _opened(
    found: tuple[FileAt, str], *, required: Sequence[str]
) -> tuple[HistoryFile | UnreadableFileError, list[Misfit]]:
    """Return a file with its columns, and what is wrong with these; or why it cannot be read."""
    path, kind = found
    try:
        columns = _parquet_columns(path) if kind == "parquet" else _csv_columns(path, kind)
    except UnreadableFileError as error:
        return error, []
    except (pa.ArrowException, OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0][:200]}" if str(error) else type(error).__name__
        return UnreadableFileError(path, f"history {path}: not a readable {kind} file ({reason})"), []
    file = HistoryFile(path, kind, dict(columns))
    return file, [Misfit(file, *odd) for odd in _odd(columns, kind, required)]


def _odd(columns: Sequence[tuple[str, pa.DataType]], kind: str, required: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the columns that are not as they must be, with the words for it."""
    names = Counter(name for name, _ in columns)
    for name in required:
        if name not in names:
            yield name, f"is missing; expected {EXPECTED[name]}"
    for name, found in columns:
        if name in EXPECTED and names[name] > 1:
            yield name, f"stands there {names[name]} times; expected once"
        elif name in EXPECTED and kind == "parquet" and not _fits(name, found):
            yield name, f"holds {found}; expected {EXPECTED[name]}"


@contextmanager
def _open(path: FileAt) -> Iterator[Any]:
    """Open a file to read its bytes."""
    with path.open("rb") if isinstance(path, Path) else path.open() as source:
        yield source


def _parquet_columns(path: FileAt) -> list[tuple[str, pa.DataType]]:
    with ExitStack() as stack:
        # A path is opened by Arrow itself, which is faster than by way of Python.
        source = path if isinstance(path, Path) else stack.enter_context(path.open())
        file = stack.enter_context(pyarrow.parquet.ParquetFile(source))
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


def _csv_columns(path: FileAt, kind: str) -> list[tuple[str, pa.DataType]]:
    with _open(path) as source, gzip.open(source) if kind == "csv.gz" else source as stream:
        head = stream.read(_HEADER_BYTES).decode("utf-8-sig", errors="replace")
    if not head.strip():
        names = ", ".join(REQUIRED)
        raise UnreadableFileError(path, f"history {path}: the file is empty; expected a line of column names: {names}")
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
        with readable(connection, [file.path for file in files]):
            samples = [(file, _sample(connection, file)) for file in files]
    for name in (*REQUIRED, *OPTIONAL):
        none_readable = not among_others and not any(
            name in file.columns and sample.get(name, _FINE)[1] for file, sample in samples
        )
        for file, sample in samples:
            filled, understood = sample.get(name, _FINE)
            if filled and not understood and (filled >= _ENOUGH or none_readable):
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
        raise_failed_read(connection)
        # Only the first line: those after it may quote a row, and a row holds ids.
        reason = str(error).splitlines()[0][:200]
        raise UnreadableFileError(
            file.path, f"history {file.path}: not a readable {file.format} file ({reason})"
        ) from None


def find_unreadable(connection: duckdb.DuckDBPyConnection, files: Sequence[HistoryFile]) -> None:
    """Read every file alone to its end, and raise `UnreadableFileError` for the first where that fails.

    After a failed query: where it was a store that failed, its `AddressError` is raised.
    """
    for error in unreadable_files(connection, files):
        raise error


def unreadable_files(
    connection: duckdb.DuckDBPyConnection, files: Sequence[HistoryFile]
) -> Iterator[UnreadableFileError]:
    """Read every file alone to its end, and yield the error of each where that fails; raises as `find_unreadable`."""
    raise_failed_read(connection)
    with readable(connection, [file.path for file in files]):
        for file in files:
            query = f"SELECT MAX(COLUMNS(*)) FROM ({history_sql([file])}) AS rows"
            try:
                _guarded(file, connection, query).fetchone()
            except UnreadableFileError as error:
                yield error


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
