"""The files that a range of records becomes: always the same for the same records."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from model.training.landing.contract import Record, Span
from model.training.landing.kinds import Kind, RejectedError, Row, read_row
from model.transaction import EARLIEST, LATEST

REJECTED_FOLDER = "_rejected"  # readers of folders leave out names that begin with _
_NO_DATE = "__HIVE_DEFAULT_PARTITION__"  # what DuckDB and Spark read as no date


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that breaks a rule of its topic: where it stands and why it was not taken.

    Its value stays in the topic. Nobody knows what a broken record holds, and an id of a customer must not be landed.
    """

    partition: int
    record: Record
    reason: str

    def line(self) -> bytes:
        """Return the line of JSON that is landed in its place."""
        value = self.record.value or b""
        fields = {
            "partition": self.partition,
            "offset": self.record.offset,
            "timestamp_ms": self.record.timestamp_ms,
            "reason": self.reason,
            "bytes": len(value),
            "sha256": hashlib.sha256(value).hexdigest(),
        }
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Landed:
    """What a range of records becomes: files by name, below the address; how many rows they hold; what was rejected."""

    files: dict[str, bytes]
    rows: int
    rejected: list[Rejected]


def files_of(kind: Kind, partition: int, span: Span, records: Sequence[Record]) -> Landed:
    """Return the files of the records of a range, one for each day of their times, and one of those rejected."""
    days: dict[str, list[Row]] = {}
    rejected: list[Rejected] = []
    for record in records:
        try:
            row = read_row(kind, record.value)
        except RejectedError as error:
            rejected.append(Rejected(partition, record, str(error)))
            continue
        moment = _moment(record.timestamp_ms)
        row |= {"partition": partition, "offset": record.offset, "timestamp": moment}
        days.setdefault(_NO_DATE if moment is None else moment.date().isoformat(), []).append(row)
    name = span.file_name(partition, ".parquet")
    files = {f"date={day}/{name}": _parquet(kind, rows) for day, rows in sorted(days.items())}
    if rejected:
        files[f"{REJECTED_FOLDER}/{span.file_name(partition, '.jsonl')}"] = b"".join(one.line() for one in rejected)
    return Landed(files, sum(map(len, days.values())), rejected)


def _moment(milliseconds: int) -> datetime | None:
    """Return the producer's time, or None where there is none that can be true."""
    seconds = milliseconds / 1000
    if not EARLIEST.timestamp() <= seconds < LATEST.timestamp():
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _parquet(kind: Kind, rows: list[Row]) -> bytes:
    columns = {name: [row[name] for row in rows] for name in kind.schema.names}
    table = pa.table(columns, schema=kind.schema)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()
