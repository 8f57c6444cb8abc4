"""When frauds become known: the same history again, with every report at another moment."""

import math
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.special import ndtri

from model.statistics import ENTITIES, HOUR, Floats, Integers, tiles_sql
from model.training.split import DAY

GAP_QUANTILE = 0.9  # of a random delay: so many labels are known when the next period begins
RANDOM_SIGMA = 1.0
_ODD, _FIRST, _SECOND = (np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


@dataclass(frozen=True, slots=True)
class Delay:
    """From a fraud to its report: log-normal with this median (seconds); without a spread always the median."""

    median: int
    sigma: float = 0.0

    @property
    def name(self) -> str:
        """Its name in tables, such as `1 d` or `log-normal, median 1 d, sigma 1`."""
        days = f"{self.median / DAY:g} d"
        return f"log-normal, median {days}, sigma {self.sigma:g}" if self.sigma else days

    @property
    def gap(self) -> int:
        """Seconds to leave between two periods, so that most reports of the earlier one have arrived."""
        return round(self.median * math.exp(self.sigma * float(ndtri(GAP_QUANTILE))))


GRID_DELAYS = (Delay(0), Delay(DAY), Delay(7 * DAY), Delay(DAY, RANDOM_SIGMA))
GRID_AGES_HOURS = (1, 24)


def delay_seconds(delay: Delay, tx_seconds: Integers, amount_hundredths: Integers) -> Integers:
    """Return the delay of each fraud, int64 (n,), whole seconds; it hangs on the values of its row alone.

    The row's moment and amount are mixed into 64 bits (SplitMix64: Steele, Lea, Flood, OOPSLA 2014), which pick the
    quantile: the same on every machine, in any order of rows, whatever key hashes the ids.
    """
    if not delay.sigma:
        return np.full(len(tx_seconds), delay.median, dtype=np.int64)
    mixed = _mixed(_mixed(tx_seconds.astype(np.uint64)) ^ amount_hundredths.astype(np.uint64))
    quantile = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53
    factor: Floats = np.exp(delay.sigma * ndtri(quantile))
    return np.floor(delay.median * factor).astype(np.int64)


def _mixed(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    value = value + _ODD  # unsigned integers wrap around: that is meant
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))


def report_after(connection: duckdb.DuckDBPyConnection, delay: Delay) -> None:
    """Let every fraud of a prepared database be reported after this delay, and sum up the hours again.

    What the history itself says of its reports is lost in that database; it is for evaluation only.
    """
    frauds = connection.execute(
        "SELECT DISTINCT tx_seconds, amount_hundredths FROM transactions WHERE tx_fraud = 1"
    ).fetchnumpy()
    seconds, amount = (np.ma.getdata(frauds[name]).astype(np.int64) for name in ("tx_seconds", "amount_hundredths"))
    hours = (seconds + delay_seconds(delay, seconds, amount)) // HOUR
    table = pa.table({"tx_seconds": seconds, "amount_hundredths": amount, "report_hour": hours})
    connection.register("fraud_reports", table)
    connection.execute(
        "UPDATE transactions SET report_hour = fraud_reports.report_hour FROM fraud_reports"
        " WHERE transactions.tx_fraud = 1 AND transactions.tx_seconds = fraud_reports.tx_seconds"
        " AND transactions.amount_hundredths = fraud_reports.amount_hundredths"
    )
    connection.unregister("fraud_reports")
    for entity in ENTITIES:
        query = tiles_sql(entity, transactions="transactions")
        connection.execute(f"CREATE OR REPLACE TABLE {entity}_tiles AS {query}")


def has_own_report_times(connection: duckdb.DuckDBPyConnection, *, label_delay: int) -> bool:
    """Say whether some fraud of a prepared database was reported at another time than the assumed delay gives."""
    row = connection.execute(
        "SELECT COUNT(*) FROM transactions WHERE tx_fraud = 1"
        f" AND report_hour <> CAST(FLOOR((tx_seconds + {int(label_delay)}) / 3600) AS BIGINT)"
    ).fetchone()
    return bool(row is not None and row[0])
