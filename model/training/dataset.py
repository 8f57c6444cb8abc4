"""Clean transactions in, arrays out: each row with the statistics that a request at its moment would have seen."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from model.features import FEATURE_NAMES, build_features
from model.statistics import (
    ENTITIES,
    HOUR,
    LONGEST_WINDOW,
    ROW_COLUMNS,
    SUM_COLUMNS,
    WINDOWS,
    EntityStatistics,
    Floats,
    Integers,
    Snapshot,
    snapshot_sql,
)
from model.training.lookup import create_sums
from model.training.sampling import chosen_sql
from model.transaction import Transactions

ROWS_PER_BATCH = 2_000_000  # some 0.6 kB each while the statistics of a batch are looked up
FEW = 0.3  # share of transactions below which looking up each by itself takes less time than going through all tiles
ROWS_PER_CHUNK = 250_000  # some 1 kB each while features are made

STRAY_SHARE = 0.001  # of all transactions
STRAY_GAP = 30 * 24 * HOUR  # seconds

DAYS_SQL = (
    "SELECT MIN(tx_seconds), MAX(tx_seconds) + 1, COUNT(*) FROM transactions"
    f" GROUP BY tx_seconds - tx_seconds % {24 * HOUR} ORDER BY 1"
)


@dataclass(frozen=True)
class Dataset:
    """n transactions in order of time, with what was known at each and what came of it.

    Attributes
    ----------
    transactions
        Moments and amounts.
    sums
        Statistics at the last refresh before each, (n, 32), columns `ROW_COLUMNS`; NaN where customer or terminal was
        unknown.
    label, scenario
        int64 (n,): 1 for fraud; the simulator's scenario, 0 for none.
    report_hour
        Hour in which a fraud became or becomes known, int64 (n,).
    customer_key, terminal_key
        Hashed ids, int64 (n,).
    weight
        How many transactions each stands for, float64 (n,): 1 unless honest ones were sampled.
    """

    transactions: Transactions
    sums: Floats
    label: Integers
    scenario: Integers
    report_hour: Integers
    customer_key: Integers
    terminal_key: Integers
    weight: Floats

    def __len__(self) -> int:
        return len(self.label)

    @cached_property
    def features(self) -> Floats:
        """The features, (n, 61)."""
        features = np.empty((len(self), len(FEATURE_NAMES)))
        for start in range(0, len(self), ROWS_PER_CHUNK):
            rows = self.where(slice(start, start + ROWS_PER_CHUNK))
            features[start : start + len(rows)] = build_features(rows.transactions, rows.sums)
        return features

    def between(self, start: int, end: int) -> "Dataset":
        """Return the transactions in `[start, end)`, seconds since 1970; they are not copied."""
        first, after = np.searchsorted(self.transactions.tx_seconds, [start, end])
        return self.where(slice(int(first), int(after)))

    def where(self, chosen: npt.NDArray[np.bool_] | Integers | slice) -> "Dataset":
        """Return the chosen transactions, by a mask, by their places or by a range of them."""
        return Dataset(
            Transactions(self.transactions.tx_seconds[chosen], self.transactions.tx_amount[chosen]),
            self.sums[chosen],
            self.label[chosen],
            self.scenario[chosen],
            self.report_hour[chosen],
            self.customer_key[chosen],
            self.terminal_key[chosen],
            self.weight[chosen],
        )


def time_range(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Return the first moment of the table `transactions` and the one after its last, in seconds since 1970.

    A few transactions with dates far from all others (a wrong clock, a typing mistake) do not stretch the range: at
    most one in a thousand, more than 30 days away.
    """
    return range_of_days(connection.execute(DAYS_SQL).fetchall())


def range_of_days(days: Sequence[tuple[int, int, int]]) -> tuple[int, int]:
    """Return what `time_range` does, from the answer to `DAYS_SQL`, which every engine gives."""
    stray = STRAY_SHARE * sum(count for *_, count in days)
    first, last, before, after = 0, len(days) - 1, 0, 0
    for place in range(1, len(days)):
        before += days[place - 1][2]
        if before <= stray and days[place][0] - days[place - 1][1] > STRAY_GAP:
            first = place
    for place in range(len(days) - 1, 0, -1):
        after += days[place][2]
        if after <= stray and days[place][0] - days[place - 1][1] > STRAY_GAP:
            last = place - 1
    return int(days[first][0]), int(days[last][1])


def read_dataset(
    connection: duckdb.DuckDBPyConnection, *, start: int, end: int, statistics_age_hours: int = 1, share: float = 1.0
) -> Dataset:
    """Return the prepared transactions in `[start, end)` with their point-in-time statistics, in order of time.

    Parameters
    ----------
    connection
        A database that `model.training.prepare.prepare` has filled.
    start, end
        Seconds since 1970.
    statistics_age_hours
        How often statistics are refreshed: every row sees those of the last whole multiple of it, 1 for the start of
        its own hour, 24 for the last midnight UTC.
    share
        Of the honest transactions; all frauds are read in any case. See `model.training.sampling`.
    """
    batches = read_batches(
        connection,
        start=start,
        end=end,
        statistics_age_hours=statistics_age_hours,
        share=share,
        rows_per_batch=ROWS_PER_BATCH,
    )
    return _in_order_of_time(list(batches))


def read_batches(
    connection: duckdb.DuckDBPyConnection,
    *,
    start: int,
    end: int,
    statistics_age_hours: int = 1,
    share: float = 1.0,
    rows_per_batch: int = ROWS_PER_BATCH,
) -> Generator[Dataset, None, None]:
    """Yield the rows of `read_dataset` in parts, in bounded memory; each part has all rows of some customers.

    A month of a large bank does not fit into memory as a whole: read a share of it, or let go of each part in turn.
    Rows are chosen before anything is looked up for them.

    Parameters
    ----------
    rows_per_batch
        About how many rows a part has. A customer is never split.
    """
    age = int(statistics_age_hours)
    asked = (
        f"SELECT *, tx_hour - tx_hour % {age} AS as_of_hour FROM transactions"
        f" WHERE tx_seconds >= {int(start)} AND tx_seconds < {int(end)} AND {chosen_sql(share)}"
    )
    # Older and later tiles can be in no window of these rows.
    needed = f"hour >= {start // HOUR - age - WINDOWS[LONGEST_WINDOW]} AND hour < {end_hour(end)}"
    try:
        if share < 1:
            connection.execute(f"CREATE OR REPLACE TABLE chosen AS {asked}")
            asked = "SELECT * FROM chosen WHERE TRUE"
        batches = max(1, -(-_count(connection, asked) // rows_per_batch))
        create_sums(connection, "terminal", asked=f"({asked}) AS asked", tiles=needed)
        for batch in range(batches):
            connection.execute(f"CREATE OR REPLACE TABLE asked AS {asked} AND ABS(customer_key % {batches}) = {batch}")
            tiles = f"{needed} AND ABS(key % {batches}) = {batch}"
            create_sums(connection, "customer", asked="asked", tiles=tiles, are_few=share < FEW)
            yield _dataset(connection.execute(_JOIN).fetchnumpy(), honest_weight=1 / share)
    finally:
        for table in ("chosen", "asked", *(f"{entity}_sums" for entity in ENTITIES)):
            connection.execute(f"DROP TABLE IF EXISTS {table}")


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    row = connection.execute(f"SELECT COUNT(*) FROM ({query}) AS counted").fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    return int(row[0])


# Rows that are equal in all that the order looks at are equal in all that is read: the order is the same every time.
_JOIN = f"""
SELECT
    asked.tx_seconds, asked.tx_amount, COALESCE(asked.tx_fraud, 0) AS label,
    COALESCE(asked.tx_fraud_scenario, 0) AS scenario, asked.report_hour,
    asked.customer_key, asked.terminal_key,
    {", ".join(f"{entity}_sums.{column} AS {entity}_{column}" for entity in ENTITIES for column in SUM_COLUMNS[entity])}
FROM asked
LEFT JOIN customer_sums ON customer_sums.key = asked.customer_key AND customer_sums.hour = asked.as_of_hour
LEFT JOIN terminal_sums ON terminal_sums.key = asked.terminal_key AND terminal_sums.hour = asked.as_of_hour
ORDER BY
    asked.tx_seconds, asked.customer_key, asked.terminal_key, asked.tx_amount, label, scenario, asked.report_hour
"""


def _dataset(columns: dict[str, npt.NDArray[np.float64]], *, honest_weight: float) -> Dataset:
    n = len(columns["tx_seconds"])
    sums = np.empty((n, len(ROW_COLUMNS)))
    for place, name in enumerate(ROW_COLUMNS):
        sums[:, place] = np.ma.filled(columns.pop(name), np.nan)
    label = _integers(columns["label"])
    return Dataset(
        Transactions(_integers(columns["tx_seconds"]), np.ma.filled(columns["tx_amount"], np.nan)),
        sums,
        label,
        _integers(columns["scenario"]),
        _integers(columns["report_hour"]),
        _integers(columns["customer_key"]),
        _integers(columns["terminal_key"]),
        np.where(label == 1, 1.0, honest_weight),
    )


def _integers(column: npt.NDArray[np.float64]) -> Integers:
    return np.ma.getdata(column).astype(np.int64)


def _in_order_of_time(batches: list[Dataset]) -> Dataset:
    """Join batches, equal times in the order of the batches; the list is emptied, for memory holds them barely once."""
    if len(batches) == 1:
        return batches[0]
    order = np.argsort(np.concatenate([batch.transactions.tx_seconds for batch in batches]), kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    joined = _empty(len(order), like=batches[0])
    first = 0
    while batches:
        batch = batches.pop(0)
        here = place[first : first + len(batch)]
        for into, column in zip(_columns(joined), _columns(batch), strict=True):
            into[here] = column
        first += len(batch)
    return joined


def _empty(n: int, *, like: Dataset) -> Dataset:
    moments, amounts, *columns = (np.empty((n, *column.shape[1:]), column.dtype) for column in _columns(like))
    return Dataset(Transactions(moments, amounts), *columns)


def _columns(rows: Dataset) -> list[npt.NDArray[Any]]:
    own = [getattr(rows, field.name) for field in fields(Dataset) if field.name != "transactions"]
    return [rows.transactions.tx_seconds, rows.transactions.tx_amount, *own]


def read_snapshot(connection: duckdb.DuckDBPyConnection, *, as_of_hour: int) -> Snapshot:
    """Return the statistics of all customers and terminals as of the start of an hour (hours since 1970)."""
    entities = {}
    for entity in ENTITIES:
        query = snapshot_sql(entity, tiles=f"{entity}_tiles", as_of_hour=as_of_hour)
        columns = connection.execute(query).fetchnumpy()
        sums = np.stack([np.ma.getdata(columns[name]) for name in SUM_COLUMNS[entity]], axis=1)
        entities[entity] = EntityStatistics(_integers(columns["key"]), sums)
    return Snapshot(as_of_hour, entities["customer"], entities["terminal"])


def end_hour(end: int) -> int:
    """Return the first whole hour by which all transactions before `end` (seconds since 1970) have happened."""
    return -(-end // HOUR)
