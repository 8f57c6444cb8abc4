"""Clean a history in Spark, with the queries that DuckDB runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession, types
from pyspark.sql import functions as sql

from model.address import Location
from model.statistics import ENTITIES, tiles_sql
from model.training.addresses import Draft, open_address, snapshot
from model.training.dataset import DAYS_SQL, end_hour, range_of_days
from model.training.history import UnreadableFileError, open_history
from model.training.prepare import CAUSES, CleaningError, CleaningReport, cleaning_sql
from model.training.prepared import LAST_HOUR, AsOf, note, origin, statistics_queries
from model.training.prepared_layout import TABLES, TRANSACTIONS
from model.training.reading import HistoryFile
from model.training.reports import USABLE_LINES, judged_sql, open_reports, report_lines_sql, verdicts_sql
from model.training.spark.batches import hashing
from model.training.spark.failures import named
from model.training.spark.reading import history_rows, url
from model.training.spark.session import MEANING
from model.training.terms import Terms
from model.transaction import IdHasher

# A table of so many ids, about 100 bytes each in memory, goes to every executor; rows then need not move to be joined.
BROADCAST_IDS = 2_000_000
INPUT_OF_A_PARTITION = 16 << 20  # bytes of files, several times as many in memory
_KEYS = types.StructType([types.StructField("id", types.StringType()), types.StructField("key", types.LongType())])
_KEPT = ("history", "classified", "repeated", "report_lines", *(f"{entity}_keys" for entity in ENTITIES))
_DATE = "CAST(DATE_FROM_UNIX_DATE(CAST(tx_hour DIV 24 AS INT)) AS STRING) AS date"


@dataclass(frozen=True, slots=True)
class _Cleaned:
    counts: dict[str | None, int]
    lines: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Asked:
    terms: Terms
    as_of: AsOf
    broadcast_ids: int
    progress: Callable[[str], None]


def prepare_on_spark(
    spark: SparkSession,
    history: Location,
    out: Location,
    terms: Terms,
    *,
    as_of: AsOf = None,
    broadcast_ids: int = BROADCAST_IDS,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Clean a history in Spark and write what comes of it; parameters and errors as of `prepare_files`.

    Parameters
    ----------
    broadcast_ids
        How many different ids of an entity are joined without moving rows.

    Raises
    ------
    SparkRunError
        If Spark itself fails.
    """
    skipped: list[str] | None = [] if terms.skip_unreadable else None
    files = open_history(history, skipped=skipped)
    report_files = [] if terms.reports is None else open_reports(terms.reports, skipped=skipped)
    ask = _Asked(terms, as_of, broadcast_ids, progress)
    while True:
        try:
            with snapshot(open_address(out)) as draft, named(history, [*files, *report_files]):
                with _own_session(spark, files) as session:
                    report, rows, hour = _prepare(session, files, report_files, draft, ask)
                report = replace(report, files_skipped=tuple(skipped or ()))
                if not report.rows_kept:
                    raise CleaningError(f"history {history}: no usable transaction\n{report.render()}")
                _note_digests(spark, draft)
                note(draft, report=report, rows=rows, about=origin("spark", history, terms, as_of_hour=hour))
            return report
        except UnreadableFileError as error:
            # Files that break off further on than their columns show it only now.
            left = [file for file in files if file.path != error.path]
            report_files = [file for file in report_files if file.path != error.path]
            if skipped is None or not left:
                raise
            files = left
            skipped.append(str(error.path))


def _prepare(
    session: SparkSession, files: list[HistoryFile], report_files: list[HistoryFile], draft: Draft, ask: _Asked
) -> tuple[CleaningReport, dict[str, int], int | None]:
    ask.progress("reading ids")
    _history(session, files)
    for entity in ENTITIES:
        _hash_ids(session, entity, ask.terms.hasher, ask.broadcast_ids)
    ask.progress("classifying rows")
    cleaned = _clean(session, report_files, ask.terms.label_delay_seconds)
    ask.progress("keeping transactions")
    rows = {TRANSACTIONS: _write_transactions(session, draft)}
    report = _report(session, cleaned)
    if not report.rows_kept:
        return report, rows, None
    for entity in ENTITIES:
        ask.progress(f"summing hours per {entity}")
        tiles = session.sql(tiles_sql(entity, transactions=TRANSACTIONS))
        rows[f"{entity}_tiles"] = _write(session, draft, f"{entity}_tiles", tiles)
    hour = _last_hour(session) if ask.as_of == LAST_HOUR else ask.as_of
    for table, query in statistics_queries(hour).items():
        ask.progress(f"writing {table.replace('_', ' ')}")
        rows[table] = _write(session, draft, table, session.sql(query))
    return report, rows, hour


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
    size = sum(file.path.stat().st_size if isinstance(file.path, Path) else file.path.size for file in files)
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
        if table in _KEPT:
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


def _write_transactions(session: SparkSession, draft: Draft) -> int:
    # Rows of one day come together in files of a good size, whatever order the history has.
    rows = session.sql(f"SELECT /*+ REBALANCE(date) */ * FROM (SELECT *, {_DATE} FROM transactions) AS dated")
    rows.write.partitionBy("date").parquet(_folder(draft, TRANSACTIONS))
    return _read_back(session, draft, TRANSACTIONS, rows)


def _write(session: SparkSession, draft: Draft, table: str, rows: DataFrame) -> int:
    rows.write.parquet(_folder(draft, table))
    return _read_back(session, draft, table, rows)


def _read_back(session: SparkSession, draft: Draft, table: str, rows: DataFrame) -> int:
    """Go on from the files of a table, so that nothing is computed twice."""
    written = session.read.schema(rows.schema).parquet(_folder(draft, table))
    written.createOrReplaceTempView(table)
    return int(written.count())


def _folder(draft: Draft, table: str) -> str:
    place = draft.place.join(table)
    return url(Path(place.path) if place.is_local else place.address)


def _note_digests(spark: SparkSession, draft: Draft) -> None:
    """Let tasks hash the files, each its own, where the driver would have to read all of them."""
    root = _folder(draft, "").rstrip("/")
    tables = [f"{root}/{name}" for name in TABLES if draft.place.exists(name)]
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(tables)
    for path, digest in files.selectExpr("path", "SHA2(content, 256)").collect():
        draft.note_digest(unquote(urlsplit(path).path).rpartition(f"{draft.place.path.rpartition('/')[2]}/")[2], digest)


def _last_hour(session: SparkSession) -> int:
    days = [(first, after, count) for first, after, count in session.sql(DAYS_SQL).collect()]
    return end_hour(range_of_days(days)[1])


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
