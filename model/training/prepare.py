"""Raw history in, clean transactions out: unusable rows dropped and counted by cause, ids hashed, tiles summed up."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from string import Template

import duckdb
import pyarrow as pa

from model import statistics
from model.address import Location
from model.training.addresses import Days, readable
from model.training.history import (
    UnreadableFileError,
    find_unreadable,
    open_history,
    unreadable_files,
    unreadable_lines,
)
from model.training.reading import UNREADABLE_LINES, HistoryFile, history_sql
from model.training.reports import TABLES as REPORT_TABLES
from model.training.reports import judged_sql, open_reports, read_verdicts
from model.training.terms import Terms
from model.transaction import EARLIEST, LATEST, MAX_AMOUNT, MISSING_ID, canonical_id, epoch_seconds

CAUSES = {
    "unreadable_row": "line with too few or too many fields, or not UTF-8 text",
    "unusable_time": "time missing, unreadable or outside 1990 to 2100",
    "unusable_transaction_id": "transaction id missing or -999999",
    "unusable_customer_id": "customer id missing, -999999 or too long",
    "unusable_terminal_id": "terminal id missing, -999999 or too long",
    "unusable_amount": "amount missing, not finite, negative or above 10^12",
    "unusable_label": "label neither 0 nor 1",
    "repeated_transaction_id": "transaction id seen before; the earliest row stays",
}
_SQL = Path(statistics.__file__).parent / "sql"
_STEPS = {
    "classified": "classifying rows",
    "repeated": "finding repeated ids",
    "first_of_repeated": "",  # takes no time worth a name
    "transactions": "keeping transactions",
}
_RAW_TABLES = (
    *(f"{entity}_keys" for entity in statistics.ENTITIES),
    *(name for name in _STEPS if name != "transactions"),
    *REPORT_TABLES,
    UNREADABLE_LINES,
    f"{UNREADABLE_LINES}_scans",
)


class CleaningError(ValueError):
    """Nothing usable is left of a history."""


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """What cleaning read, kept and dropped, in rows.

    Attributes
    ----------
    dropped
        Rows by cause; the causes are the keys of `CAUSES` and a row counts under the first that applies.
    labels_missing, labels_against_scenario
        Rows that were kept although their label is missing (taken as not reported) or contradicts the scenario.
    report_lines, report_lines_unusable
        Lines of reports that came apart from the history.
    files_skipped
        Names of files that cannot be read and were left out, as was asked for.
    """

    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    labels_missing: int
    labels_against_scenario: int
    report_lines: int = 0
    report_lines_unusable: int = 0
    files_skipped: tuple[str, ...] = ()

    def render(self) -> str:
        """Return the report as a table for a terminal."""
        rows = [(f"dropped: {CAUSES[cause]}", count) for cause, count in self.dropped.items() if count]
        rows += [("kept although the label is missing (taken as not reported)", self.labels_missing)]
        rows += [("kept although the label contradicts the scenario", self.labels_against_scenario)]
        rows += [("lines of reports read", self.report_lines)]
        rows += [("lines of reports that cannot be used", self.report_lines_unusable)]
        rows = [("rows read", self.rows_read), *((text, count) for text, count in rows if count)]
        rows += [("transactions kept", self.rows_kept)]
        if self.files_skipped:
            rows += [("FILES THAT CANNOT BE READ, skipped as asked for", len(self.files_skipped))]
        width = max(len(text) for text, _ in rows)
        lines = [f"  {text:<{width}}  {count:>13,}" for text, count in rows]
        return "\n".join([*lines, *(f"    skipped: {name}" for name in self.files_skipped)])

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def prepare(
    connection: duckdb.DuckDBPyConnection,
    address: Location,
    terms: Terms,
    *,
    days: Days | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Clean a history into the tables `transactions`, `customer_tiles` and `terminal_tiles` of a database.

    Parameters
    ----------
    connection
        A scratch database, as `model.training.database.connect` opens it; tables of an earlier run are replaced.
    address
        A CSV or Parquet file, or a folder of them: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    days
        The days that matter: folders `date=YYYY-MM-DD/` of others are not opened.
    progress
        Called with the name of each step before it begins.

    Raises
    ------
    HistoryError
        If history or reports cannot be read.
    AddressError
        If a store fails.
    CleaningError
        If no row of it can be used.
    """
    skipped: list[str] | None = [] if terms.skip_unreadable else None
    files = open_history(address, days=days, skipped=skipped)
    report_files = [] if terms.reports is None else open_reports(terms.reports, skipped=skipped)
    report = _clean_all(connection, files, report_files, terms, skipped=skipped, progress=progress)
    if not report.rows_kept:
        raise CleaningError(f"history {address}: no usable transaction\n{report.render()}")
    for entity in statistics.ENTITIES:
        progress(f"summing hours per {entity}")
        _create(connection, f"{entity}_tiles", statistics.tiles_sql(entity, transactions="transactions"))
    return report


def _clean_all(
    connection: duckdb.DuckDBPyConnection,
    files: list[HistoryFile],
    report_files: list[HistoryFile],
    terms: Terms,
    *,
    skipped: list[str] | None,
    progress: Callable[[str], None],
) -> CleaningReport:
    """Clean the files, without those that break off further on than their columns if there is leave to skip them."""
    while True:
        try:
            report = _clean(connection, files, report_files, terms, progress=progress)
        except UnreadableFileError as first:
            if skipped is None:
                raise
            broken = {str(error.path) for error in unreadable_files(connection, [*files, *report_files])}
            broken.add(str(first.path))
            files, report_files = (
                [file for file in some if str(file.path) not in broken] for some in (files, report_files)
            )
            if not files:
                raise
            skipped += sorted(broken)
        else:
            return replace(report, files_skipped=tuple(skipped or ()))


def _clean(
    connection: duckdb.DuckDBPyConnection,
    files: list[HistoryFile],
    report_files: list[HistoryFile],
    terms: Terms,
    *,
    progress: Callable[[str], None],
) -> CleaningReport:
    """Make the table `transactions` of some files."""
    with _raw_tables(connection, [*files, *report_files]):
        lines = read_verdicts(connection, report_files) if report_files else (0, 0)
        progress("reading ids")
        connection.execute(f"CREATE OR REPLACE VIEW history AS {history_sql(files)}")
        for entity in statistics.ENTITIES:
            _hash_ids(connection, entity, getattr(terms.hasher, entity))
        _drop_tables(connection, UNREADABLE_LINES)  # so far it counts the lines of two readings
        for table, query in cleaning_sql(label_delay_seconds=terms.label_delay_seconds).items():
            if _STEPS[table]:
                progress(_STEPS[table])
            _create(connection, table, query)
            if table == "classified" and report_files:
                _create(connection, table, judged_sql())
        return _report(connection, lines=lines)


@contextmanager
def _raw_tables(connection: duckdb.DuckDBPyConnection, files: Sequence[HistoryFile]) -> Iterator[None]:
    """Leave no table with a raw id behind, and name the file where reading fails half-way."""
    # The least and the greatest value that a Parquet file notes of a column leave NaN out; DuckDB believes them.
    connection.execute("SET disabled_optimizers = 'statistics_propagation'")
    try:
        with readable(connection, [file.path for file in files]):
            try:
                yield
            except duckdb.Error:
                find_unreadable(connection, files)
                raise
    finally:
        connection.execute("RESET disabled_optimizers")
        connection.execute("DROP VIEW IF EXISTS history")
        _drop_tables(connection, *_RAW_TABLES)


def _drop_tables(connection: duckdb.DuckDBPyConnection, *names: str) -> None:
    for name in names:
        connection.execute(f"DROP TABLE IF EXISTS {name}")


def _create(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS {query}")


def cleaning_sql(*, label_delay_seconds: int) -> dict[str, str]:
    """Return the queries that clean a history, in order; the answer of each becomes the table of its name.

    They begin with the tables `history` (see `model.training.reading`), `customer_keys` and `terminal_keys`
    (columns `id` and `key`), and end with `transactions`.
    """
    values = {
        "earliest": epoch_seconds(EARLIEST),
        "latest": epoch_seconds(LATEST),
        "missing_id": MISSING_ID,
        "max_amount": MAX_AMOUNT,
        "label_delay": label_delay_seconds,
    }
    return {name: Template((_SQL / f"{name}.sql").read_text(encoding="utf-8")).substitute(values) for name in _STEPS}


def _hash_ids(connection: duckdb.DuckDBPyConnection, entity: str, hash_id: Callable[[str], int]) -> None:
    """Hash each different id once; rows then take its key by a join."""
    ids = connection.execute(f"SELECT DISTINCT {entity}_id FROM history WHERE {entity}_id IS NOT NULL")
    raw = [row[0] for row in ids.fetchall()]
    keys = [None if (text := canonical_id(value)) is None else hash_id(text) for value in raw]
    table = pa.table({"id": pa.array(raw, pa.string()), "key": pa.array(keys, pa.int64())})
    connection.register("hashed_ids", table)
    _create(connection, f"{entity}_keys", "SELECT id, key FROM hashed_ids")
    connection.unregister("hashed_ids")


def _report(connection: duckdb.DuckDBPyConnection, *, lines: tuple[int, int]) -> CleaningReport:
    counts = dict(connection.execute("SELECT cause, COUNT(*) FROM classified GROUP BY cause").fetchall())
    usable = counts.pop(None, 0)
    kept, missing, against = _one(
        connection,
        "SELECT COUNT(*), COUNT(*) FILTER (tx_fraud IS NULL),"
        " COUNT(*) FILTER ((tx_fraud = 1) <> (tx_fraud_scenario > 0)) FROM transactions",
    )
    dropped = {cause: counts.get(cause, 0) for cause in CAUSES} | {"repeated_transaction_id": usable - kept}
    dropped["unreadable_row"] += unreadable_lines(connection)
    return CleaningReport(
        rows_read=kept + sum(dropped.values()),
        rows_kept=kept,
        dropped=dropped,
        labels_missing=missing,
        labels_against_scenario=against,
        report_lines=lines[0],
        report_lines_unusable=lines[1],
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    return tuple(row)
