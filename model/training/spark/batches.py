"""What a task does with its own rows: DuckDB reads them there as it reads whole files elsewhere.

Splitting lines of CSV and reading moments out of text have so many corners that two engines would never agree on all.
So they are written once, in `model.training.reading`, and a task runs that query over its batches.
"""

from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from model.transaction import IdHasher, canonical_id

INPUT = "batches"
SHAPE = pa.schema(
    [
        ("readable", pa.bool_()),
        ("transaction_id", pa.string()),
        ("tx_seconds", pa.int64()),
        ("customer_id", pa.string()),
        ("terminal_id", pa.string()),
        ("tx_amount", pa.float64()),
        ("tx_fraud", pa.int32()),
        ("tx_fraud_scenario", pa.int64()),
        ("report_seconds", pa.int64()),
    ]
)
KEYS = pa.schema([("id", pa.string()), ("key", pa.int64())])
LINES = pa.schema([("line", pa.string())])
LONGEST_LINE = 2_000_000  # bytes; DuckDB refuses a longer one
END_OF_LINE = b"\x01"  # DuckDB is told that this letter separates columns of lines that have one; so nothing follows it
_NO_ROW = b'"'  # no writer of CSV makes such a line; it counts as one that cannot be read
_BATCH_ROWS = 50_000

Batches = Iterator[pa.RecordBatch]


def in_duckdb(query: str) -> Callable[[Batches], Batches]:
    """Return what brings the batches of a task to the one shape by a query over the table `batches`."""
    return lambda batches: _answer(query, batches)


def lines_in_duckdb(query: str) -> Callable[[Batches], Batches]:
    """Return the same for lines of text, whose first of each file holds the names of the columns and is left out."""
    return lambda batches: _answer(query, _as_text(batches), LINES)


def hashing(hasher: IdHasher, entity: str) -> Callable[[Batches], Batches]:
    """Return what hashes the ids of one column: columns `id` and `key`, which is null for ids that say nothing."""
    return lambda batches: _hashed(getattr(hasher, entity), batches)


def _hashed(hash_id: Callable[[str], int], batches: Batches) -> Batches:
    for batch in batches:
        raw = batch.column(0).to_pylist()
        keys = [None if (text := canonical_id(value)) is None else hash_id(text) for value in raw]
        yield pa.record_batch([pa.array(raw, pa.string()), pa.array(keys, pa.int64())], schema=KEYS)


def _answer(query: str, batches: Batches, schema: pa.Schema | None = None) -> Batches:
    first = next(batches, None)
    if first is None:
        return
    stream = pa.RecordBatchReader.from_batches(schema or first.schema, _again(first, batches))
    # A task has one core.
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register(INPUT, stream)
        for batch in connection.execute(query).to_arrow_reader(_BATCH_ROWS):
            yield batch.cast(SHAPE)


def _again(first: pa.RecordBatch, rest: Batches) -> Batches:
    yield first
    yield from rest


def _as_text(batches: Batches) -> Batches:
    """Leave out first lines, and put a line that cannot be read in the place of what is no text.

    Column `line` holds bytes; column `file` a number for the file in lines of its beginning, and null in all others.
    """
    known: set[int] = set()
    for batch in batches:
        lines, files = batch.column("line"), batch.column("file")
        beginnings = [int(file) for file in pc.unique(files).to_pylist() if file is not None]
        places = [pc.index(files, file).as_py() for file in beginnings if file not in known]
        known |= set(beginnings)
        if places:
            lines = lines.filter(pa.array([row not in places for row in range(len(lines))]))
        yield pa.record_batch([_text(lines)], schema=LINES)


def _text(lines: pa.Array) -> pa.Array:
    too_long = pc.greater(pc.binary_length(lines), LONGEST_LINE)
    if pc.any(too_long).as_py():
        lines = pc.if_else(too_long, _NO_ROW, lines)
    try:
        return lines.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_readable(line) for line in lines.to_pylist()], pa.string())


def _readable(line: bytes) -> str:
    try:
        return line.split(END_OF_LINE)[0].decode()
    except UnicodeDecodeError:
        return _NO_ROW.decode()
