"""New files in, cleaned rows out, by exactly the SQL that cleans a history for training.

Everything happens in a scratch database, the only place that ever holds raw ids. Its tables `incoming_rows` and
`incoming_reports` hold hashed ids alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from model.statistics import ENTITIES
from model.training.addresses import readable
from model.training.history import UnreadableFileError, check_files, find_unreadable, history_sql
from model.training.prepare import cleaning_sql
from model.training.reading import REQUIRED, UNREADABLE_LINES, HistoryFile
from model.training.refresh.contract import ReportLines, Rules
from model.training.refresh.sources import HISTORY, REPORTS, Found, Source
from model.training.reports import REQUIRED_OF_REPORTS, usable_line_sql
from model.transaction import IdHasher, canonical_id

ROW_COLUMNS = {
    "file_id": "INTEGER",
    "transaction_id": "UBIGINT",
    "tx_seconds": "BIGINT",
    "customer_key": "BIGINT",
    "terminal_key": "BIGINT",
    "tx_amount": "DOUBLE",
    "tx_fraud": "TINYINT",
    "tx_fraud_scenario": "BIGINT",
    "report_seconds": "BIGINT",
}
REPORT_COLUMNS = {name: ROW_COLUMNS[name] for name in ("file_id", "transaction_id", "tx_fraud", "report_seconds")}

# Of 10^8 transactions two share a hash of 8 bytes with a probability of one in four thousand.
_HASHED_ID = "md5_number_lower($salt || transaction_id)"
# Longer than any id that is accepted, so that it is nobody's.
_SALT_OF = "what stands before a transaction id that is hashed for the state of a refresh".ljust(200, ".")


@dataclass(frozen=True, slots=True)
class Incoming:
    """What was read: rows of history by the cause why they cannot be used (None: they can), and lines of reports.

    `skipped` are the sources that cannot be read, with their places; nothing of them was.
    """

    causes: Mapping[str | None, int]
    reports: ReportLines
    skipped: Mapping[Source, str]


def columns_sql(columns: Mapping[str, str]) -> str:
    """Return the columns of a table with their types."""
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


class Reader:
    """Read files, one after the other, into the scratch tables.

    A raw id is hashed once, in whatever number of files it stands; the tables with raw ids go when the block ends.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, hasher: IdHasher, rules: Rules, *, skip_unreadable: bool = False
    ) -> None:
        self._connection = connection
        self._hasher = hasher
        self._salt = "".join(f"{part(_SALT_OF) % 2**64:016x}" for part in (hasher.customer, hasher.terminal))
        self._classified = cleaning_sql(label_delay_seconds=rules.label_delay)["classified"]
        self._skipped: dict[Source, str] | None = {} if skip_unreadable else None
        self._causes: Counter[str | None] = Counter()
        self._lines: Counter[bool] = Counter()

    def __enter__(self) -> "Reader":
        for table, columns in (("incoming_rows", ROW_COLUMNS), ("incoming_reports", REPORT_COLUMNS)):
            self._connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns_sql(columns)})")
        for entity in ENTITIES:
            self._connection.execute(f"CREATE OR REPLACE TABLE {entity}_keys (id VARCHAR, key BIGINT)")
        # The least and the greatest value that a Parquet file notes of a column leave NaN out; DuckDB believes them.
        self._connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute("RESET disabled_optimizers")
        self._drop("history", "classified", *(f"{entity}_keys" for entity in ENTITIES))

    def read(
        self,
        sources: Mapping[Source, Found],
        numbers: Mapping[Source, int],
        *,
        among_others: bool,
        on_file: Callable[[], None],
    ) -> Incoming:
        """Read all of these files.

        Parameters
        ----------
        numbers
            The `file_id` of each.
        among_others
            See `model.training.history.check_files`.
        on_file
            Called after each file.

        Raises
        ------
        HistoryError
            If one cannot be read, or lacks a column.
        """
        for source, file in _checked(sources, among_others=among_others, skipped=self._skipped):
            read = self._read_rows if source.kind == HISTORY else self._read_reports
            if self._is_brought_in(source, file):
                read(numbers[source])
            on_file()
        lines = ReportLines(self._lines.total(), self._lines[False])
        return Incoming(dict(self._causes), lines, self._skipped or {})

    def _is_brought_in(self, source: Source, file: HistoryFile) -> bool:
        """Read a file, and return whether it could be; one that cannot be is noted where there is leave to skip it."""
        try:
            self._bring_in(file)
        except UnreadableFileError as error:
            if self._skipped is None:
                raise
            self._skipped[source] = str(error.path)
            return False
        return True

    def _bring_in(self, file: HistoryFile) -> None:
        """Read a file once: all further work sees the same rows, even if somebody is writing to it."""
        self._drop(UNREADABLE_LINES, f"{UNREADABLE_LINES}_scans")
        with readable(self._connection, [file.path]):
            try:
                self._connection.execute(f"CREATE OR REPLACE TEMP TABLE history AS {history_sql([file])}")
            except duckdb.Error:
                find_unreadable(self._connection, [file])
                raise

    def _read_rows(self, number: int) -> None:
        for entity in ENTITIES:
            self._hash_new_ids(entity, getattr(self._hasher, entity))
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE classified AS {self._classified}")
        counts = self._connection.execute("SELECT cause, COUNT(*) FROM classified GROUP BY cause").fetchall()
        self._causes.update(dict(counts))
        self._causes["unreadable_row"] += self._unreadable_lines()
        self._insert("incoming_rows", ROW_COLUMNS, number, "classified WHERE cause IS NULL")

    def _read_reports(self, number: int) -> None:
        usable = usable_line_sql()
        counts = self._connection.execute(f"SELECT {usable} AS usable, COUNT(*) FROM history GROUP BY usable")
        self._lines.update(dict(counts.fetchall()))
        self._lines[False] += self._unreadable_lines()
        # Who reports a transaction and says no more means a fraud.
        lines = f"(SELECT * REPLACE (COALESCE(tx_fraud, 1) AS tx_fraud) FROM history WHERE {usable}) AS usable"
        self._insert("incoming_reports", REPORT_COLUMNS, number, lines)

    def _insert(self, table: str, columns: Iterable[str], number: int, rows: str) -> None:
        special = {"file_id": str(int(number)), "transaction_id": _HASHED_ID}
        values = ", ".join(special.get(name, name) for name in columns)
        self._connection.execute(f"INSERT INTO {table} SELECT {values} FROM {rows}", {"salt": self._salt})

    def _hash_new_ids(self, entity: str, hash_id: Callable[[str], int]) -> None:
        new = self._connection.execute(
            f"SELECT DISTINCT {entity}_id FROM history"
            f" WHERE {entity}_id IS NOT NULL AND {entity}_id NOT IN (SELECT id FROM {entity}_keys)"
        )
        raw = [row[0] for row in new.fetchall()]
        keys = [None if (text := canonical_id(value)) is None else hash_id(text) for value in raw]
        table = pa.table({"id": pa.array(raw, pa.string()), "key": pa.array(keys, pa.int64())})
        self._connection.register("hashed_ids", table)
        self._connection.execute(f"INSERT INTO {entity}_keys SELECT id, key FROM hashed_ids")
        self._connection.unregister("hashed_ids")

    def _unreadable_lines(self) -> int:
        """Return how many lines of CSV were not even text; without CSV there is no table of them."""
        tables = {row[0] for row in self._connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if UNREADABLE_LINES not in tables:
            return 0
        lines = self._connection.execute(f"SELECT COUNT(*) FROM (SELECT DISTINCT line FROM {UNREADABLE_LINES})")
        return int(lines.fetchall()[0][0])

    def _drop(self, *tables: str) -> None:
        for name in tables:
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")


def _checked(
    sources: Mapping[Source, Found], *, among_others: bool, skipped: dict[Source, str] | None
) -> list[tuple[Source, HistoryFile]]:
    """Check the columns of all files before any is read; those that cannot be read are noted if they may be skipped."""
    checked: list[tuple[Source, HistoryFile]] = []
    for kind, required in ((HISTORY, REQUIRED), (REPORTS, REQUIRED_OF_REPORTS)):
        chosen = {source: place for source, place in sources.items() if source.kind == kind}
        if chosen:
            places = [(place.path, place.format) for place in chosen.values()]
            names: list[str] | None = None if skipped is None else []
            files = check_files(places, required=required, among_others=among_others, skipped=names)
            # By their text: a place in a store has a client of its own, which cannot be hashed.
            known = {str(file.path): file for file in files}
            checked += [(source, known[str(at.path)]) for source, at in chosen.items() if str(at.path) in known]
            if skipped is not None:
                skipped |= {source: str(at.path) for source, at in chosen.items() if str(at.path) not in known}
    return checked
