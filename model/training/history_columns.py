"""Whether files have the columns of a history: each there, once, and of a type that can be what it should."""

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

from model.training.addresses import readable
from model.training.changed_schema import Misfit, told
from model.training.history_errors import FileAt, HistoryError, UnreadableFileError
from model.training.reading import OPTIONAL, REQUIRED, HistoryFile, is_text, sample_sql
from model.training.unreadable import guarded
from model.transaction import REPORT_COLUMN

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
_AT_ONCE = 16  # files of a store that are asked for at a time
_HEADER_BYTES = 1 << 16
_SAMPLE_ROWS = 1000  # of a file with text, to see whether its columns hold what they should
_ENOUGH = 20  # unreadable values, and no readable one, say that the whole column is of another type
_FINE = (1, 1)  # values, and readable ones, of a column that is not text


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
    row = guarded(file, connection, sample_sql(file, names, rows=_SAMPLE_ROWS)).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    return {name: (row[2 * i], row[2 * i + 1]) for i, name in enumerate(names)}
