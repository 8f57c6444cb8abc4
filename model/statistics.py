"""What is known of a customer or a terminal at the start of an hour: sums over the last 1, 7 and 30 days.

The sums are defined once, as portable SQL in `model/sql`: counts of transactions, sums and sums of squares of
amounts (in hundredths, so that they are exact), and fraud reports that arrived. A pod loads the sums of one hour as a
`Snapshot`; training asks for the sums at the hour of each of its rows. Both are the same query over the same tiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

ENTITIES = ("customer", "terminal")
WINDOWS: Mapping[str, int] = {"1d": 24, "7d": 7 * 24, "30d": 30 * 24}  # name: hours
LONGEST_WINDOW = "30d"
QUANTITIES = ("transactions", "amount", "amount_squared", "reports")
SUM_COLUMNS = tuple(f"{quantity}_{window}" for window in WINDOWS for quantity in QUANTITIES)

HOUR = 3600
_SQL = Path(__file__).parent / "sql"

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class StatisticsError(ValueError):
    """Statistics that cannot be used: damaged, unsorted, or of another shape."""


def tiles_sql(entity: str, *, transactions: str) -> str:
    """Return the query for the hourly tiles of an entity over the cleaned table `transactions`."""
    return _render("tiles", entity=entity, transactions=transactions)


def snapshot_sql(*, tiles: str, as_of_hour: int) -> str:
    """Return the query for every key's sums over `[as_of - window, as_of)`, columns `key` and `SUM_COLUMNS`.

    Parameters
    ----------
    tiles
        Name of the table of tiles.
    as_of_hour
        Whole hours since 1970-01-01 UTC; the hour itself is not counted.
    """
    sums = [
        f"CAST(SUM(CASE WHEN hour >= {as_of_hour - hours} THEN {quantity} ELSE 0 END) AS DOUBLE) AS {quantity}_{window}"
        for window, hours in WINDOWS.items()
        for quantity in QUANTITIES
    ]
    return _render(
        "snapshot", tiles=tiles, as_of=str(as_of_hour), longest=str(WINDOWS[LONGEST_WINDOW]), sums=_lines(sums)
    )


def point_in_time_sql(*, tiles: str, points: str) -> str:
    """Return the query for the sums at each (key, hour) of the table `points`, over `[hour - window, hour)`.

    A key of which nothing is known at that hour has no row in the answer.
    """
    sums = [
        f"CAST(COALESCE(SUM({quantity}) OVER w{window}, 0) AS DOUBLE) AS {quantity}_{window}"
        for window in WINDOWS
        for quantity in QUANTITIES
    ]
    windows = [
        f"w{window} AS (PARTITION BY key ORDER BY hour RANGE BETWEEN {hours} PRECEDING AND 1 PRECEDING)"
        for window, hours in WINDOWS.items()
    ]
    return _render(
        "point_in_time",
        tiles=tiles,
        points=points,
        columns=", ".join(SUM_COLUMNS),
        sums=_lines(sums),
        windows=_lines(windows),
        longest_name=LONGEST_WINDOW,
    )


def _render(name: str, **values: str) -> str:
    return Template((_SQL / f"{name}.sql").read_text(encoding="utf-8")).substitute(values)


def _lines(parts: list[str]) -> str:
    return ",\n    ".join(parts)


@dataclass(frozen=True, slots=True)
class EntityStatistics:
    """The sums of every known key of one entity.

    Attributes
    ----------
    keys
        Sorted hashed ids, int64 (n,).
    sums
        float64 (n, 12), columns `SUM_COLUMNS`; amounts in hundredths.
    """

    keys: Integers
    sums: Floats

    def __post_init__(self) -> None:
        if self.keys.dtype != np.int64 or self.sums.dtype != np.float64:
            raise StatisticsError("statistics: keys must be int64 and sums float64")
        if self.sums.shape != (len(self.keys), len(SUM_COLUMNS)):
            raise StatisticsError(f"statistics: {len(self.keys)} keys do not fit sums of shape {self.sums.shape}")
        if not bool(np.all(self.keys[1:] > self.keys[:-1])):
            raise StatisticsError("statistics: keys must be sorted and each stand once")

    def lookup(self, keys: Integers) -> Floats:
        """Return the sums of each key, (n, 12); a key that is not known gives a row of NaN."""
        keys = np.asarray(keys, dtype=np.int64)  # of another type the whole array of keys would be converted
        if not len(self.keys):
            return np.full((len(keys), len(SUM_COLUMNS)), np.nan)
        position = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        sums = self.sums[position]
        sums[self.keys[position] != keys] = np.nan
        return sums


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The statistics of all customers and terminals as of the start of one hour (hours since 1970-01-01 UTC)."""

    as_of_hour: int
    customer: EntityStatistics
    terminal: EntityStatistics

    def lookup(self, customer_keys: Integers, terminal_keys: Integers) -> Floats:
        """Return the sums that belong to each transaction, shape (n, 2, 3, 4).

        The axes are transaction, entity (`ENTITIES`), window (`WINDOWS`) and quantity (`QUANTITIES`).
        """
        both = np.stack((self.customer.lookup(customer_keys), self.terminal.lookup(terminal_keys)), axis=1)
        return both.reshape(len(customer_keys), len(ENTITIES), len(WINDOWS), len(QUANTITIES))

    @property
    def as_of(self) -> str:
        """The hour as RFC 3339 text, `2026-11-22T13:00:00Z`."""
        return hour_text(self.as_of_hour)


def hour_text(hour: int) -> str:
    """Return whole hours since 1970-01-01 UTC as RFC 3339 text."""
    return datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
