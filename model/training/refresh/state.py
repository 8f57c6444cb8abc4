"""What a refresh keeps from hour to hour, in a DuckDB file: the cleaned rows that still matter, and sums over them.

There are no hourly tiles: a customer has hardly two payments in one hour, so that they would be as many as the rows.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa

from model.statistics import sums_schema
from model.training.history import history_sql
from model.training.prepare import cleaning_sql
from model.training.reading import OPTIONAL, REQUIRED, HistoryFile, quoted
from model.training.refresh.contract import RefreshBusyError, Rules, StateError
from model.training.refresh.incoming import REPORT_COLUMNS, ROW_COLUMNS, columns_sql
from model.training.refresh.sources import Changes, Source

FORMAT = 2
_TABLES = {
    "rows": ROW_COLUMNS,
    "reports": REPORT_COLUMNS,
    "repeated": {"transaction_id": "UBIGINT", "rows": "BIGINT"},
    "files": {
        "file_id": "INTEGER",
        "kind": "VARCHAR",
        "name": "VARCHAR",
        "size": "BIGINT",
        "mtime_ns": "BIGINT",
        "tag": "VARCHAR",
    },
    "notes": {"name": "VARCHAR", "value": "VARCHAR"},
}
_NOT_DAMAGE = ("No space left", "Could not write")


def recipe(rules: Rules, *, id_key_fingerprint: str) -> dict[str, str]:
    """Return all that the rows of a state hang on; a state with another recipe is of no use."""
    texts = [history_sql([_probe(kind)]) for kind in ("parquet", "csv", "csv.gz")]
    cleaning = cleaning_sql(label_delay_seconds=rules.label_delay)
    texts += [cleaning[name] for name in ("classified", "first_of_repeated", "transactions")]
    return {
        "state format": str(FORMAT),
        "id key": id_key_fingerprint,
        "label delay or longest report delay": json.dumps([asdict(rules), sums_schema()]),
        # Last, for the rules are in its texts as well.
        "version of the code": f"{version('antifraud')} {hashlib.sha256(json.dumps(texts).encode()).hexdigest()}",
    }


def _probe(kind: str) -> HistoryFile:
    return HistoryFile(Path("/probe"), kind, dict.fromkeys((*REQUIRED, *OPTIONAL), pa.string()))


@contextmanager
def state_errors() -> Iterator[None]:
    """Turn what a damaged file sets off into a `StateError`; a full disk or a want of memory is none of its fault.

    Raises
    ------
    StateError
        If the state cannot be used.
    RefreshBusyError
        If another program has the file open.
    """
    try:
        yield
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        if "Could not set lock" in reason or "Conflicting lock" in reason:
            raise RefreshBusyError(f"another program has the state of the refresh open: {reason}") from None
        if any(words in reason for words in _NOT_DAMAGE):
            raise
        raise StateError(f"the state could not be read ({reason})") from error


class State:
    """An attached state, as the schema `state` of a connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def create(self, kept: Mapping[str, str]) -> None:
        """Make the tables of a new state.

        Parameters
        ----------
        kept
            Its recipe.
        """
        for table, columns in _TABLES.items():
            self._connection.execute(f"CREATE TABLE state.{table} ({columns_sql(columns)})")
        for name, value in kept.items():
            self.note(name, value)

    def refuse_other(self, kept: Mapping[str, str]) -> None:
        """Raise `StateError` unless this state has this recipe."""
        for name, value in kept.items():
            if self.noted(name) != value:
                raise StateError(f"it was made with another {name}")

    def noted(self, name: str) -> str | None:
        """Return a note, None where there is none."""
        row = self._connection.execute("SELECT value FROM state.notes WHERE name = $name", {"name": name}).fetchone()
        return str(row[0]) if row else None

    def note(self, name: str, value: str) -> None:
        """Write a note, in the place of an earlier one of this name."""
        self._connection.execute("DELETE FROM state.notes WHERE name = $name", {"name": name})
        self._connection.execute("INSERT INTO state.notes VALUES ($name, $value)", {"name": name, "value": value})

    def known(self) -> dict[Source, int]:
        """Return the files whose rows are in the state, with their numbers."""
        files = self._connection.execute("SELECT kind, name, size, mtime_ns, tag, file_id FROM state.files").fetchall()
        return {Source(*facts): number for *facts, number in files}

    def numbered(self, changes: Changes, known: Mapping[Source, int]) -> dict[Source, int]:
        """Return a number for each new file, which no file that is known has."""
        first = max(known.values(), default=0) + 1
        return {source: first + place for place, source in enumerate(changes.new)}

    def count(self, table: str, condition: str = "TRUE") -> int:
        """Return how many rows a table of the state, or a part of it, has."""
        row = self._connection.execute(f"SELECT COUNT(*) FROM state.{table} WHERE {condition}").fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Keep all that is changed while the block runs, or nothing if it is cut short."""
        self._connection.execute("BEGIN")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        self._connection.execute("CHECKPOINT state")

    def advance(self, changes: Changes, numbers: Mapping[Source, int], rules: Rules, *, as_of_hour: int) -> None:
        """Take in what was read, let go of what is gone or too old."""
        is_new = not self.count("files")
        self._let_go(changes)
        self._take_in(numbers)
        self._connection.execute(f"DELETE FROM state.rows WHERE {rules.expired_sql(as_of_hour)}")
        self._connection.execute(f"DELETE FROM state.reports WHERE {rules.expired_report_sql(as_of_hour)}")
        self._find_repeated(all_rows=is_new)
        self.note("as of hour", str(as_of_hour))

    def _let_go(self, changes: Changes) -> None:
        if changes.gone:
            for table in ("rows", "reports", "files"):
                self._connection.execute(f"DELETE FROM state.{table} WHERE {gone_sql(changes)}")

    def _take_in(self, numbers: Mapping[Source, int]) -> None:
        for source, number in numbers.items():
            facts = [number, source.kind, source.name, source.size, source.mtime_ns, source.tag]
            self._connection.execute("INSERT INTO state.files VALUES (?, ?, ?, ?, ?, ?)", facts)
        self._connection.execute("INSERT INTO state.rows SELECT * FROM incoming_rows")
        self._connection.execute("INSERT INTO state.reports SELECT * FROM incoming_reports")

    def _find_repeated(self, *, all_rows: bool) -> None:
        """Note the ids that several rows have: only ids that just came, or were noted before, can be among them."""
        chosen = "SELECT transaction_id FROM incoming_rows UNION SELECT transaction_id FROM state.repeated"
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE found_repeated AS"
            " SELECT transaction_id, COUNT(*) AS rows FROM state.rows"
            f" WHERE {'TRUE' if all_rows else f'transaction_id IN ({chosen})'}"
            " GROUP BY transaction_id HAVING COUNT(*) > 1"
        )
        self._connection.execute("DELETE FROM state.repeated")
        self._connection.execute("INSERT INTO state.repeated SELECT transaction_id, rows FROM found_repeated")

    def _roll_back(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except duckdb.Error:
            return  # what failed has ended the transaction, or the whole database, already


def gone_sql(changes: Changes) -> str:
    """Return the condition for rows of files that are gone."""
    return f"file_id IN ({', '.join(str(int(number)) for number in changes.gone) or 'NULL'})"


@contextmanager
def attached(connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[State]:
    """Attach a state, a new one if there is no such file, and let go of it at the end.

    Raises
    ------
    StateError, RefreshBusyError
        See `state_errors`.
    """
    with state_errors():
        connection.execute(f"ATTACH {quoted(str(path))} AS state")
    try:
        yield State(connection)
    finally:
        detach(connection)


def detach(connection: duckdb.DuckDBPyConnection) -> None:
    """Close the file of the state, if it is open."""
    try:
        connection.execute("DETACH DATABASE IF EXISTS state")
    except duckdb.Error:
        return  # a damaged one ends with the connection


def put_in_place(new: Path, place: Path) -> None:
    """Let a complete new state take the place of the one before, if any.

    The log of changes goes first: with the new state it would be nonsense. Killed between, the one before is as it
    was at its last checkpoint, or cannot be read and is built anew.
    """
    place.with_name(f"{place.name}.wal").unlink(missing_ok=True)
    new.replace(place)
