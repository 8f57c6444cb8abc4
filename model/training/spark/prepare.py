"""Clean a history in Spark, with the queries that DuckDB runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession, types
from pyspark.sql import functions as sql

from model.statistics import ENTITIES, tiles_sql
from model.training.history import open_history
from model.training.prepare import CAUSES, CleaningError, CleaningReport, cleaning_sql
from model.training.prepared import (
    LAST_HOUR,
    TRANSACTIONS,
    AsOf,
    Origin,
    begin,
    finish,
    hour_of,
    statistics_queries,
)
from model.training.reading import HistoryFile
from model.training.reports import USABLE_LINES, judged_sql, open_reports, report_lines_sql, verdicts_sql
from model.training.spark.batches import hashing
from model.training.spark.failures import named
from model.training.spark.place import HadoopFolder
from model.training.spark.reading import history_rows
from model.training.spark.session import MEANING
from model.transaction import IdHasher

# A table of so many ids, about 100 bytes each in memory, goes to every executor; rows then need not move to be joined.
BROADCAST_IDS = 2_000_000
INPUT_OF_A_PARTITION = 16 << 20  # bytes of files, several times as many in memory
_KEYS = types.StructType([types.StructField("id", types.StringType()), types.StructField("key", types.LongType())])
_KEPT = ("history", "classified", "report_lines", *(f"{entity}_keys" for entity in ENTITIES))
_DATE = "CAST(DATE_FROM_UNIX_DATE(CAST(tx_hour DIV 24 AS INT)) AS STRING) AS date"


@dataclass(frozen=True, slots=True)
class _Cleaned:
    counts: dict[str | None, int]
    lines: tuple[int, int]


def prepare_on_spark(
    spark: SparkSession,
    history: str | Path,
    out: str | Path,
    *,
    hasher: IdHasher,
    label_delay_seconds: int,
    as_of: AsOf = None,
    reports: Path | None = None,
    replace: bool = False,
    broadcast_ids: int = BROADCAST_IDS,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Clean a history in Spark and write what comes of it; parameters and errors as of `prepare_files`."""
    place = HadoopFolder(spark, str(out))
    files = open_history(history)
    report_files = [] if reports is None else open_reports(reports)
    begin(place, replace=replace)
    with named(history, [*files, *report_files]), _own_session(spark, files) as session:
        progress("reading ids")
        _history(session, files)
        for entity in ENTITIES:
            _hash_ids(session, entity, hasher, broadcast_ids)
        progress("classifying rows")
        cleaned = _clean(session, report_files, label_delay_seconds)
        progress("keeping transactions")
        rows = {TRANSACTIONS: _write_transactions(session, place)}
        report = _report(session, cleaned)
        if not report.rows_kept:
            place.delete(TRANSACTIONS)
            raise CleaningError(f"history {history}: no usable transaction\n{report.render()}")
        for entity in ENTITIES:
            progress(f"summing hours per {entity}")
            query = tiles_sql(entity, transactions="transactions")
            rows[f"{entity}_tiles"] = _write(session, place, f"{entity}_tiles", session.sql(query))
        hour = _last_hour(session) if as_of == LAST_HOUR else as_of
        for table, query in statistics_queries(hour).items():
            progress(f"writing {table.replace('_', ' ')}")
            rows[table] = _write(session, place, table, session.sql(query))
    origin = Origin("spark", str(history), hasher.fingerprint, label_delay_seconds, hour_of(hour))
    finish(place, origin=origin, report=report, rows=rows)
    return report


@contextmanager
def _own_session(spark: SparkSession, files: Sequence[HistoryFile]) -> Iterator[SparkSession]:
    """Open a session whose tables nobody else sees; what it kept with raw ids is forgotten in the end."""
    session = spark.newSession()
    for name, value in {**MEANING, "spark.sql.shuffle.partitions": _partitions(spark, files)}.items():
        session.conf.set(name, value)
    try:
        yield session
    finally:
        for table in _KEPT:
            if session.catalog.tableExists(table):
                session.table(table).unpersist()


def _partitions(spark: SparkSession, files: Sequence[HistoryFile]) -> str:
    """Return into how many parts rows are cut by key: what the files' size asks for, at least two a core."""
    size = sum(file.path.stat().st_size for file in files)
    return str(max(2 * spark.sparkContext.defaultParallelism, -(-size // INPUT_OF_A_PARTITION)))


def _history(session: SparkSession, files: Sequence[HistoryFile]) -> None:
    rows = history_rows(session, files)
    if any(file.format != "parquet" for file in files):
        # Lines have no columns to choose from: each of the readings that follow would split all of them again.
        rows = rows.persist(StorageLevel.DISK_ONLY)
    rows.createOrReplaceTempView("history")


def _hash_ids(session: SparkSession, entity: str, hasher: IdHasher, broadcast_ids: int) -> None:
    """Hash each different id once; rows then take its key by a join."""
    ids = session.sql(f"SELECT DISTINCT {entity}_id AS id FROM history WHERE {entity}_id IS NOT NULL")
    keys = ids.mapInArrow(hashing(hasher, entity), _KEYS).persist(StorageLevel.MEMORY_AND_DISK)
    # With fewer ids no row moves, however many of them one terminal has. With more, rows move by key, and adaptive
    # execution splits the partition of a key that has too many.
    table = sql.broadcast(keys) if keys.count() <= broadcast_ids else keys
    table.createOrReplaceTempView(f"{entity}_keys")


def _clean(session: SparkSession, report_files: list[HistoryFile], label_delay_seconds: int) -> _Cleaned:
    """Make the table `transactions`, which nothing has computed yet."""
    lines = _read_verdicts(session, report_files) if report_files else (0, 0)
    for table, query in cleaning_sql(label_delay_seconds=label_delay_seconds).items():
        session.sql(query).createOrReplaceTempView(table)
        if table == "classified" and report_files:
            session.sql(judged_sql()).createOrReplaceTempView(table)
        if table == "classified":
            session.table(table).persist(StorageLevel.DISK_ONLY)
    counts = session.sql("SELECT cause, COUNT(*) FROM classified GROUP BY cause").collect()
    return _Cleaned({row[0]: row[1] for row in counts}, lines)


def _read_verdicts(session: SparkSession, files: list[HistoryFile]) -> tuple[int, int]:
    history_rows(session, files).createOrReplaceTempView("lines_of_reports")
    lines = session.sql(report_lines_sql(lines="lines_of_reports")).persist(StorageLevel.DISK_ONLY)
    lines.createOrReplaceTempView("report_lines")
    session.sql(verdicts_sql(reports=USABLE_LINES)).createOrReplaceTempView("verdicts")
    row = session.sql("SELECT COUNT(*), COUNT(CASE WHEN NOT usable THEN 1 END) FROM report_lines").first()
    return row[0], row[1]


def _write_transactions(session: SparkSession, place: HadoopFolder) -> int:
    # Rows of one day come together in files of a good size, whatever order the history has.
    rows = session.sql(f"SELECT /*+ REBALANCE(date) */ * FROM (SELECT *, {_DATE} FROM transactions) AS dated")
    rows.write.partitionBy("date").parquet(place.path(TRANSACTIONS))
    return _read_back(session, place, TRANSACTIONS, rows)


def _write(session: SparkSession, place: HadoopFolder, table: str, rows: DataFrame) -> int:
    rows.write.parquet(place.path(table))
    return _read_back(session, place, table, rows)


def _read_back(session: SparkSession, place: HadoopFolder, table: str, rows: DataFrame) -> int:
    """Go on from the files of a table, so that nothing is computed twice."""
    written = session.read.schema(rows.schema).parquet(place.path(table))
    written.createOrReplaceTempView(table)
    return int(written.count())


def _last_hour(session: SparkSession) -> int:
    return int(session.sql("SELECT MAX(tx_hour) + 1 FROM transactions").first()[0])


def _report(session: SparkSession, cleaned: _Cleaned) -> CleaningReport:
    kept, missing, against = session.sql(
        "SELECT COUNT(*), COUNT(CASE WHEN tx_fraud IS NULL THEN 1 END),"
        " COUNT(CASE WHEN (tx_fraud = 1) <> (tx_fraud_scenario > 0) THEN 1 END) FROM transactions"
    ).first()
    usable = cleaned.counts.get(None, 0)
    dropped = {cause: cleaned.counts.get(cause, 0) for cause in CAUSES} | {"repeated_transaction_id": usable - kept}
    return CleaningReport(
        rows_read=kept + sum(dropped.values()),
        rows_kept=kept,
        dropped=dropped,
        labels_missing=missing,
        labels_against_scenario=against,
        report_lines=cleaned.lines[0],
        report_lines_unusable=cleaned.lines[1],
    )
