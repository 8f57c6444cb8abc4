"""What a run finds out about the rows that it read, and the hour up to which they reach."""

import duckdb

from model.training.dataset import end_hour, time_range
from model.training.prepare import CAUSES, CleaningReport
from model.training.refresh.contract import RefreshError, Rules
from model.training.refresh.incoming import Incoming
from model.training.refresh.sources import Changes
from model.training.refresh.state import gone_sql

_COUNTS = "COUNT(*), COUNT(*) FILTER (tx_fraud IS NULL), COUNT(*) FILTER ((tx_fraud = 1) <> (tx_fraud_scenario > 0))"


def last_hour(connection: duckdb.DuckDBPyConnection, changes: Changes) -> int:
    """Return the hour by which all transactions have happened, of those that stay and those that just came.

    As in training, a few dates far from all others do not count.

    Raises
    ------
    RefreshError
        If there is no transaction at all.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW transactions AS SELECT tx_seconds FROM incoming_rows UNION ALL"
        f" SELECT tx_seconds FROM state.rows{f' WHERE NOT {gone_sql(changes)}' if changes.gone else ''}"
    )
    if connection.execute("SELECT 1 FROM transactions LIMIT 1").fetchone() is None:
        raise RefreshError("the history has no usable transaction: nothing was published")
    return end_hour(time_range(connection)[1])


def drop_expired(connection: duckdb.DuckDBPyConnection, rules: Rules, *, as_of_hour: int) -> int:
    """Drop what just came but matters no more, and return how many rows of history that was."""
    (too_old,) = _row(connection, f"DELETE FROM incoming_rows WHERE {rules.expired_sql(as_of_hour)}")
    connection.execute(f"DELETE FROM incoming_reports WHERE {rules.expired_report_sql(as_of_hour)}")
    return too_old


def cleaning_report(connection: duckdb.DuckDBPyConnection, incoming: Incoming) -> CleaningReport:
    """Return what cleaning made of the rows that a run read and that still matter, once they are in the state.

    Of an id that was there before, nothing new is kept: its earliest row stays, or makes way for an earlier one.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE contested AS"
        " SELECT came.transaction_id, ANY_VALUE(repeated.rows) > COUNT(*) AS seen_before, COUNT(*) AS rows"
        " FROM incoming_rows AS came JOIN state.repeated AS repeated USING (transaction_id)"
        " GROUP BY came.transaction_id"
    )
    alone = "transaction_id NOT IN (SELECT transaction_id FROM contested)"
    new = "transaction_id IN (SELECT transaction_id FROM contested WHERE NOT seen_before)"
    first = f"SELECT * FROM incoming_rows WHERE {new} QUALIFY ROW_NUMBER() OVER ({_EARLIEST}) = 1"
    kept = f"SELECT * FROM incoming_rows WHERE {alone} UNION ALL ({first})"
    rows_kept, missing, against = _row(connection, f"SELECT {_COUNTS} FROM ({kept}) AS kept")
    (came,) = _row(connection, "SELECT COUNT(*) FROM incoming_rows")
    dropped = {cause: incoming.causes.get(cause, 0) for cause in CAUSES}
    dropped["repeated_transaction_id"] = came - rows_kept
    return CleaningReport(
        rows_read=rows_kept + sum(dropped.values()),
        rows_kept=rows_kept,
        dropped=dropped,
        labels_missing=missing,
        labels_against_scenario=against,
        files_skipped=tuple(sorted(incoming.skipped.values())),
    )


# As `first_of_repeated.sql` has it.
_EARLIEST = (
    "PARTITION BY transaction_id ORDER BY tx_seconds, customer_key, terminal_key, tx_amount, tx_fraud NULLS LAST,"
    " tx_fraud_scenario NULLS LAST, report_seconds NULLS LAST"
)


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  an aggregate, and a change, always answer with one row
    return tuple(int(value) for value in row)
