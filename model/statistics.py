"""What is known of a customer or a terminal at the start of an hour: sums over the last 1, 7 and 30 days.

Of a terminal, payments and reports of 2 to 5 days are counted as well, since much changes there within a week: a run of
frauds begins or ends. The sums are defined once, as portable SQL in `model/sql`: counts of transactions, sums and sums
of squares of amounts (in hundredths, so that they are exact), and fraud reports that arrived. A pod loads the sums of
one hour as a `Snapshot`; training asks for the sums at the hour of each of its rows. Both are the same query over the
same tiles.
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
RECENT_WINDOWS: Mapping[str, int] = {f"{days}d": days * 24 for days in (2, 3, 4, 5)}  # of terminals
RECENT_QUANTITIES = ("transactions", "reports")

HOUR = 3600
_SQL = Path(__file__).parent / "sql"

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sum:
    """One sum that is kept: a quantity over the hours of a window."""

    quantity: str
    window: str
    hours: int

    @property
    def column(self) -> str:
        """Its name in tables: `reports_7d`."""
        return f"{self.quantity}_{self.window}"


def _sums(windows: Mapping[str, int], quantities: tuple[str, ...]) -> tuple[Sum, ...]:
    return tuple(Sum(quantity, window, hours) for window, hours in windows.items() for quantity in quantities)


SUMS: Mapping[str, tuple[Sum, ...]] = {
    "customer": _sums(WINDOWS, QUANTITIES),
    "terminal": _sums(WINDOWS, QUANTITIES) + _sums(RECENT_WINDOWS, RECENT_QUANTITIES),
}
SUM_COLUMNS: Mapping[str, tuple[str, ...]] = {
    entity: tuple(one.column for one in sums) for entity, sums in SUMS.items()
}
ROW_COLUMNS = tuple(f"{entity}_{column}" for entity in ENTITIES for column in SUM_COLUMNS[entity])
ROW_PLACES: Mapping[str, slice] = {
    "customer": slice(0, len(SUMS["customer"])),
    "terminal": slice(len(SUMS["customer"]), len(ROW_COLUMNS)),
}


class StatisticsError(ValueError):
    """Statistics that cannot be used: damaged, unsorted, or of another shape."""


def tiles_sql(entity: str, *, transactions: str) -> str:
    """Return the query for the hourly tiles of an entity over the cleaned table `transactions`."""
    return _render("tiles", entity=entity, transactions=transactions)


def sums_schema() -> tuple[str, ...]:
    """Return a line for each sum that is kept, `customer reports 168h`: what a digest tells other sums apart by."""
    return tuple(f"{entity} {one.quantity} {one.hours}h" for entity in ENTITIES for one in SUMS[entity])


def windows_of(entity: str) -> dict[str, int]:
    """Return the hours of each window that sums of an entity are kept over, by name, the shortest first."""
    hours = {one.window: one.hours for one in SUMS[entity]}
    return dict(sorted(hours.items(), key=lambda item: item[1]))


def snapshot_sql(entity: str, *, tiles: str, as_of_hour: int) -> str:
    """Return the query for every key's sums over `[as_of - window, as_of)`, columns `key` and `SUM_COLUMNS[entity]`.

    Parameters
    ----------
    tiles
        Name of the table of tiles.
    as_of_hour
        Whole hours since 1970-01-01 UTC; the hour itself is not counted.
    """
    sums = [
        f"CAST(SUM(CASE WHEN hour >= {as_of_hour - one.hours} THEN {one.quantity} ELSE 0 END) AS DOUBLE)"
        f" AS {one.column}"
        for one in SUMS[entity]
    ]
    return _render(
        "snapshot", tiles=tiles, as_of=str(as_of_hour), longest=str(WINDOWS[LONGEST_WINDOW]), sums=_lines(sums)
    )


def point_in_time_sql(entity: str, *, tiles: str, points: str) -> str:
    """Return the query for an entity's sums at each (key, hour) of the table `points`, over `[hour - window, hour)`.

    A key of which nothing is known at that hour has no row in the answer.
    """
    sums = [
        f"CAST(COALESCE(SUM({one.quantity}) OVER w{one.window}, 0) AS DOUBLE) AS {one.column}" for one in SUMS[entity]
    ]
    windows = [
        f"w{window} AS (PARTITION BY key ORDER BY hour RANGE BETWEEN {hours} PRECEDING AND 1 PRECEDING)"
        for window, hours in windows_of(entity).items()
    ]
    return _render(
        "point_in_time",
        tiles=tiles,
        points=points,
        columns=", ".join(SUM_COLUMNS[entity]),
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
        float64, columns `SUM_COLUMNS`: (n, 12) of customers, (n, 20) of terminals; amounts in hundredths.
    """

    keys: Integers
    sums: Floats

    def __post_init__(self) -> None:
        if self.keys.dtype != np.int64 or self.sums.dtype != np.float64:
            raise StatisticsError("statistics: keys must be int64 and sums float64")
        if self.sums.ndim != 2 or len(self.sums) != len(self.keys):
            raise StatisticsError(f"statistics: {len(self.keys)} keys do not fit sums of shape {self.sums.shape}")
        if not bool(np.all(self.keys[1:] > self.keys[:-1])):
            raise StatisticsError("statistics: keys must be sorted and each stand once")

    def lookup(self, keys: Integers) -> Floats:
        """Return the sums of each key, a row each; a key that is not known gives a row of NaN."""
        keys = np.asarray(keys, dtype=np.int64)  # of another type the whole array of keys would be converted
        if not len(self.keys):
            return np.full((len(keys), self.sums.shape[1]), np.nan)
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

    def __post_init__(self) -> None:
        for entity in ENTITIES:
            shape, width = getattr(self, entity).sums.shape, len(SUMS[entity])
            if shape[1] != width:
                raise StatisticsError(f"statistics: sums of a {entity} are {width} numbers, these are of shape {shape}")

    def lookup(self, customer_keys: Integers, terminal_keys: Integers) -> Floats:
        """Return the sums that belong to each transaction, (n, 32), columns `ROW_COLUMNS`."""
        return np.concatenate((self.customer.lookup(customer_keys), self.terminal.lookup(terminal_keys)), axis=1)

    @property
    def as_of(self) -> str:
        """The hour as RFC 3339 text, `2026-11-22T13:00:00Z`."""
        return hour_text(self.as_of_hour)


def hour_text(hour: int) -> str:
    """Return whole hours since 1970-01-01 UTC as RFC 3339 text."""
    return datetime.fromtimestamp(hour * HOUR, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
