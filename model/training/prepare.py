"""Raw history in, clean transactions out: unusable rows dropped and counted by cause, ids hashed, tiles summed up."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

import duckdb
import pyarrow as pa

from model import statistics
from model.training.history import history_sql, open_history
from model.transaction import EARLIEST, LATEST, MAX_AMOUNT, MISSING_ID, IdHasher, canonical_id, epoch_seconds

CAUSES = {
    "unusable_time": "time missing, unreadable or outside 1990 to 2100",
    "unusable_transaction_id": "transaction id missing or -999999",
    "unusable_customer_id": "customer id missing, -999999 or too long",
    "unusable_terminal_id": "terminal id missing, -999999 or too long",
    "unusable_amount": "amount missing, not finite, negative or above 10^12",
    "unusable_label": "label neither 0 nor 1",
    "repeated_transaction_id": "transaction id seen before; the earliest row stays",
}
_SQL = Path(statistics.__file__).parent / "sql"


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
    """

    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    labels_missing: int
    labels_against_scenario: int

    def render(self) -> str:
        """Return the report as a table for a terminal."""
        rows = [(f"dropped: {CAUSES[cause]}", count) for cause, count in self.dropped.items() if count]
        rows += [("kept although the label is missing (taken as not reported)", self.labels_missing)]
        rows += [("kept although the label contradicts the scenario", self.labels_against_scenario)]
        rows = [("rows read", self.rows_read), *((text, count) for text, count in rows if count)]
        rows += [("transactions kept", self.rows_kept)]
        width = max(len(text) for text, _ in rows)
        return "\n".join(f"  {text:<{width}}  {count:>13,}" for text, count in rows)

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def prepare(
    connection: duckdb.DuckDBPyConnection,
    address: str | Path,
    *,
    hasher: IdHasher,
    label_delay_seconds: int,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Clean a history into the tables `transactions`, `customer_tiles` and `terminal_tiles` of a database.

    Parameters
    ----------
    connection
        A scratch database, as `model.training.history.connect` opens it; tables of an earlier run are replaced.
    address
        A CSV or Parquet file, or a folder of them.
    label_delay_seconds
        From a transaction to its report, for frauds whose report time the history does not have.
    progress
        Called with the name of each step before it begins.

    Raises
    ------
    HistoryError
        If the history cannot be read.
    CleaningError
        If no row of it can be used.
    """
    files = open_history(address)
    progress("reading ids")
    connection.execute(f"CREATE OR REPLACE VIEW history AS {history_sql(files)}")
    _hash_ids(connection, "customer", hasher.customer)
    _hash_ids(connection, "terminal", hasher.terminal)
    progress("classifying rows")
    _create(connection, "classified", _classify_sql())
    progress("finding repeated ids")
    _create(
        connection,
        "repeated",
        "SELECT transaction_id FROM classified WHERE cause IS NULL GROUP BY transaction_id HAVING COUNT(*) > 1",
    )
    _create(connection, "first_of_repeated", _read("first_of_repeated"))
    progress("keeping transactions")
    _create(connection, "transactions", _read("transactions", label_delay=str(label_delay_seconds)))
    report = _report(connection)
    for name in ("classified", "repeated", "first_of_repeated"):
        connection.execute(f"DROP TABLE {name}")
    if not report.rows_kept:
        raise CleaningError(f"history {address}: no usable transaction\n{report.render()}")
    for entity in statistics.ENTITIES:
        progress(f"summing hours per {entity}")
        _create(connection, f"{entity}_tiles", statistics.tiles_sql(entity, transactions="transactions"))
    return report


def _create(connection: duckdb.DuckDBPyConnection, table: str, query: str) -> None:
    connection.execute(f"CREATE OR REPLACE TABLE {table} AS {query}")


def _read(name: str, **values: str) -> str:
    return Template((_SQL / f"{name}.sql").read_text(encoding="utf-8")).substitute(values)


def _classify_sql() -> str:
    return _read(
        "clean",
        earliest=str(epoch_seconds(EARLIEST)),
        latest=str(epoch_seconds(LATEST)),
        missing_id=MISSING_ID,
        max_amount=repr(MAX_AMOUNT),
    )


def _hash_ids(connection: duckdb.DuckDBPyConnection, entity: str, hash_id: Callable[[str], int]) -> None:
    """Hash each different id once; rows then take its key by a join."""
    ids = connection.execute(f"SELECT DISTINCT {entity}_id FROM history WHERE {entity}_id IS NOT NULL")
    raw = [row[0] for row in ids.fetchall()]
    keys = [None if (text := canonical_id(value)) is None else hash_id(text) for value in raw]
    table = pa.table({"id": pa.array(raw, pa.string()), "key": pa.array(keys, pa.int64())})
    connection.register("hashed_ids", table)
    _create(connection, f"{entity}_keys", "SELECT id, key FROM hashed_ids")
    connection.unregister("hashed_ids")


def _report(connection: duckdb.DuckDBPyConnection) -> CleaningReport:
    counts = dict(connection.execute("SELECT cause, COUNT(*) FROM classified GROUP BY cause").fetchall())
    usable = counts.get(None, 0)
    kept, against = _one(
        connection,
        "SELECT COUNT(*), COUNT(*) FILTER ((tx_fraud = 1) <> (tx_fraud_scenario > 0)) FROM transactions",
    )
    (missing,) = _one(connection, "SELECT COUNT(*) FROM classified WHERE cause IS NULL AND tx_fraud IS NULL")
    dropped = {cause: counts.get(cause, 0) for cause in CAUSES} | {"repeated_transaction_id": usable - kept}
    return CleaningReport(
        rows_read=sum(counts.values()),
        rows_kept=kept,
        dropped=dropped,
        labels_missing=missing,
        labels_against_scenario=against,
    )


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    return tuple(row)
