"""Histories for tests: rows as a bank would write them, into the files that a bank would send."""

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from model.training.database import connect
from model.training.prepare import CleaningReport, prepare
from model.training.terms import Terms
from model.transaction import IdHasher

HASHER = IdHasher(b"a key of the tests only")
DAY = 24 * 3600
TERMS = Terms(HASHER, DAY)
START = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp())  # a Monday

Row = dict[str, Any]


def moment(seconds: int) -> datetime:
    """Return seconds since 1970 as a naive moment, which is UTC."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def payment(number: int = 1, **changes: Any) -> Row:
    """Return one clean row of history, with changes."""
    return {
        "transaction_id": number,
        "tx_datetime": moment(START + 60 * number),
        "customer_id": 7,
        "terminal_id": 8,
        "tx_amount": 12.5,
        "tx_fraud": 0,
        "tx_fraud_scenario": 0,
    } | changes


def write_parquet(path: Path, rows: Sequence[Row], types: Mapping[str, pa.DataType] | None = None) -> Path:
    """Write rows as Parquet; a column has the type that Arrow finds, or the one given."""
    names = list(rows[0])
    kinds = types or {}
    table = pa.table({name: pa.array([row[name] for row in rows], kinds.get(name)) for name in names})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def csv_text(rows: Sequence[Row], *, quoting: int = csv.QUOTE_MINIMAL) -> str:
    """Return rows as CSV, as any program would write it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n", quoting=quoting)  # type: ignore[arg-type]
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Sequence[Row] | str | bytes) -> Path:
    """Write rows, or a text as it is, as CSV; compressed where the name says so."""
    content = rows if isinstance(rows, str | bytes) else csv_text(rows)
    body = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


@contextmanager
def prepared(history: Path, *, label_delay: int = DAY) -> Iterator[tuple[duckdb.DuckDBPyConnection, CleaningReport]]:
    """Clean a history into a scratch database beside it."""
    folder = history.parent / "scratch"
    with connect(folder, memory_limit="1GB", threads=2) as connection:
        yield connection, prepare(connection, history, Terms(HASHER, label_delay))
