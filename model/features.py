"""The only definition of features: training, batch scoring and the request path all call `build_features`."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from model.statistics import (
    ENTITIES,
    HOUR,
    QUANTITIES,
    ROW_COLUMNS,
    ROW_PLACES,
    SUM_COLUMNS,
    WINDOWS,
    EntityStatistics,
    Floats,
    Integers,
    sums_schema,
)
from model.transaction import Transactions

Numbers = Any  # a number or an array of numbers: the arithmetic is the same

PAYMENT_FEATURES = ("amount", "hour", "weekday", "is_night", "is_weekend")
ENTITY_FEATURES = (
    "transactions",
    "amount_mean",
    "amount_std",
    "amount_difference",
    "amount_ratio",
    "amount_zscore",
    "reports",
    "report_rate",
)
# Of terminals. A payment is settled once it is a day old: most reports that will come have come by then.
REPORTED_DAYS = (2, 3, 4)  # the day, the week and the month are among the others
CLEARED_DAYS = (1, 2, 3, 4)
IDLE_DAYS = (1, 2, 3, 4, 6)  # steps of the days without a settled payment; 7 stands for more
LONG_IDLE = 7
RECENT_FEATURES = (
    *(f"reports_{days}d" for days in REPORTED_DAYS),
    *(f"cleared_{days}d" for days in CLEARED_DAYS),
    "idle_days",
)
FEATURE_NAMES = (
    *PAYMENT_FEATURES,
    *(f"{entity}_{feature}_{window}" for entity in ENTITIES for window in WINDOWS for feature in ENTITY_FEATURES),
    *(f"terminal_{feature}" for feature in RECENT_FEATURES),
)
NIGHT_ENDS = 6  # o'clock UTC; the night begins at midnight
MIN_FOR_SPREAD = 2  # transactions

_DIFFERENCE, _RATIO, _ZSCORE = (ENTITY_FEATURES.index(f"amount_{name}") for name in ("difference", "ratio", "zscore"))
_BLOCK = len(WINDOWS) * len(ENTITY_FEATURES)
_BLOCKS_END = len(PAYMENT_FEATURES) + len(ENTITIES) * _BLOCK
PROFILE_PLACES = {
    "customer": slice(len(PAYMENT_FEATURES), len(PAYMENT_FEATURES) + _BLOCK),
    "terminal": slice(len(PAYMENT_FEATURES) + _BLOCK, len(FEATURE_NAMES)),
}
PROFILE_WIDTH = {entity: place.stop - place.start for entity, place in PROFILE_PLACES.items()}
_DAY = 24 * HOUR
_ROUNDING = 1e-12
_CHUNK = 50_000  # keys at a time, so that loading needs no second copy of everything
_THURSDAY = 3  # the weekday of 1970-01-01, Monday being 0
_SATURDAY = 5


class FeatureMismatchError(ValueError):
    """A model, a snapshot or a table was made for other features than these."""


def build_features(transactions: Transactions, sums: Floats) -> Floats:
    """Return the features of n transactions, float64 (n, 61), columns `FEATURE_NAMES`.

    Amounts are in units of the currency, rates are reports per transaction. What cannot be known is NaN: everything
    about a customer or terminal without statistics, the mean of no payments, the spread of fewer than two.

    Parameters
    ----------
    transactions
        Moment and amount of each.
    sums
        What was known of its customer and terminal at the start of the hour, (n, 32), columns `ROW_COLUMNS`; NaN for
        an unknown one.

    Raises
    ------
    FeatureMismatchError
        If `sums` has another shape.
    """
    n = len(transactions.tx_amount)
    if sums.shape != (n, len(ROW_COLUMNS)):
        raise FeatureMismatchError(f"sums must have shape ({n}, {len(ROW_COLUMNS)}), they have {sums.shape}")
    features = np.empty((n, len(FEATURE_NAMES)))
    for place, values in enumerate(payment_features(transactions.tx_seconds, transactions.tx_amount)):
        features[:, place] = values
    for entity in ENTITIES:
        features[:, PROFILE_PLACES[entity]] = profiles(entity, sums[:, ROW_PLACES[entity]])
    _compare(transactions.tx_amount[:, None, None], *_compared(entity_blocks(features)))
    return features


def payment_features(seconds: Numbers, amount: Numbers) -> tuple[Numbers, ...]:
    """Return the values of `PAYMENT_FEATURES` for one payment or for arrays of them.

    Parameters
    ----------
    seconds
        Since 1970-01-01 UTC, whole.
    amount
        In units of the currency.
    """
    hour = seconds % _DAY // HOUR
    weekday = (seconds // _DAY + _THURSDAY) % 7
    return amount, hour, weekday, hour < NIGHT_ENDS, weekday >= _SATURDAY


def entity_blocks(features: Floats) -> Floats:
    """Return the part of features (n, 61) that is alike for customer and terminal as a view (n, 2, 3, 8)."""
    part = features[:, len(PAYMENT_FEATURES) : _BLOCKS_END]
    return part.reshape(len(features), len(ENTITIES), len(WINDOWS), len(ENTITY_FEATURES))


def profiles(entity: str, sums: Floats) -> Floats:
    """Return what is known of keys whatever they pay now, (n, 24) of customers and (n, 32) of terminals.

    They are the features in the order of `FEATURE_NAMES`, with what an amount will be compared with in the places of
    the comparisons: the mean where the difference comes, the mean or NaN for the ratio, the spread or NaN for the
    z-score.

    Parameters
    ----------
    sums
        Columns `SUM_COLUMNS[entity]`, a row each.
    """
    rows = np.empty((len(sums), PROFILE_WIDTH[entity]))
    window_sums = sums[:, : len(WINDOWS) * len(QUANTITIES)].reshape(len(sums), len(WINDOWS), len(QUANTITIES))
    rows[:, :_BLOCK] = _over_windows(window_sums).reshape(len(sums), _BLOCK)
    if entity == "terminal":
        rows[:, _BLOCK:] = _recent({name: sums[:, place] for place, name in enumerate(SUM_COLUMNS[entity])})
    return rows


def _over_windows(sums: Floats) -> Floats:
    """Return `ENTITY_FEATURES` over each window, (n, 3, 8), for sums (n, 3, 4)."""
    count, total, squares, reports = (sums[..., i] for i in range(len(QUANTITIES)))
    known = np.empty((*sums.shape[:-1], len(ENTITY_FEATURES)))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count / 100
        variance = (count * squares - total * total) / (count * count) / 10_000
        # Equal amounts have no spread; what rounding leaves of it must not become a z-score of millions.
        variance[variance < _ROUNDING * mean * mean] = 0
        spread = np.where(count >= MIN_FOR_SPREAD, np.sqrt(variance), np.nan)
        known[..., 0] = count
        known[..., 1] = mean
        known[..., 2] = spread
        known[..., _DIFFERENCE] = mean
        known[..., _RATIO] = np.where(mean > 0, mean, np.nan)
        known[..., _ZSCORE] = np.where(spread > 0, spread, np.nan)
        known[..., 6] = reports
        known[..., 7] = np.where(count > 0, reports / count, np.nan)
    return known


def _recent(known: dict[str, Floats]) -> Floats:
    """Return `RECENT_FEATURES`, (n, 8), for sums (n,) by name.

    Cleared over some days are the payments of those days that ended a day ago, less the reports of as many days up to
    now, which are about these payments where reports take a day: where a run of frauds is over, payments are cleared
    again, although the month is full of reports. Idle days are those before the last one without any payment; the
    longer a terminal has been idle, the longer it may have been taken without anybody knowing.
    """

    def settled(days: int) -> Floats:
        longer: Floats = known[f"transactions_{days + 1}d"] - known["transactions_1d"]
        return longer

    reported = [known[f"reports_{days}d"] for days in REPORTED_DAYS]
    cleared = [settled(days) - known[f"reports_{days}d"] for days in CLEARED_DAYS]
    idle = np.select([settled(days) > 0 for days in IDLE_DAYS], IDLE_DAYS, LONG_IDLE).astype(np.float64)
    idle[np.isnan(known["transactions_1d"])] = np.nan
    return np.stack((*reported, *cleared, idle), axis=1)


def _compared(blocks: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the three places of profiles (..., 3, 8) that depend on the amount, as views."""
    return blocks[..., _DIFFERENCE], blocks[..., _RATIO], blocks[..., _ZSCORE]


def _compare(amount: Numbers, difference: Floats, ratio: Floats, zscore: Floats) -> None:
    """Put the comparisons with an amount in the place of what it is compared with."""
    np.subtract(amount, difference, out=difference)
    np.divide(amount, ratio, out=ratio)
    np.divide(difference, zscore, out=zscore)


class RowBuilder:
    """Build the features of one payment after another in the same row, without making arrays.

    Attributes
    ----------
    row
        float64 (61,), C-contiguous; overwritten by each call of `build`.
    """

    def __init__(self) -> None:
        self.row = np.empty(len(FEATURE_NAMES))
        self._payment = self.row[: len(PAYMENT_FEATURES)]
        self._customer, self._terminal = (self.row[PROFILE_PLACES[entity]] for entity in ENTITIES)
        self._compared = _compared(entity_blocks(self.row[np.newaxis])[0])

    def build(self, seconds: int, amount: float, customer: Floats, terminal: Floats) -> Floats:
        """Return the features of a payment, given the profiles of customer (24,) and terminal (32,)."""
        self._payment[:] = payment_features(seconds, amount)
        self._customer[:] = customer
        self._terminal[:] = terminal
        _compare(amount, *self._compared)
        return self.row


def profile_rows(entity: str, sums: Floats) -> Iterator[Floats]:
    """Yield the profiles of keys with these sums in parts, each of up to 50 000 rows as `profiles` makes them."""
    for start in range(0, len(sums), _CHUNK):
        yield profiles(entity, sums[start : start + _CHUNK])


class ProfileTable:
    """The profiles of all keys of one entity, made once when a snapshot is loaded.

    Attributes
    ----------
    keys
        Sorted, int64 (n,).
    """

    UNKNOWN: Mapping[str, Floats] = {entity: np.full(width, np.nan) for entity, width in PROFILE_WIDTH.items()}

    def __init__(self, entity: str, keys: Integers, rows: Floats) -> None:
        """Take rows that `profile_rows` made, those of a mapped file for example.

        Raises
        ------
        ValueError
            If there is not one row of the right width for each key.
        """
        if rows.shape != (len(keys), PROFILE_WIDTH[entity]) or rows.dtype != np.float64:
            raise ValueError(f"{len(keys)} keys do not fit profiles of shape {rows.shape}")
        self.keys, self._profiles = keys, rows

    @classmethod
    def of(cls, entity: str, statistics: EntityStatistics) -> "ProfileTable":
        """Make the profiles of all keys."""
        rows = np.empty((len(statistics.keys), PROFILE_WIDTH[entity]))
        start = 0
        for part in profile_rows(entity, statistics.sums):
            rows[start : start + len(part)] = part
            start += len(part)
        return cls(entity, statistics.keys, rows)

    def find(self, key: int) -> Floats | None:
        """Return the profile of a key, or None if it is not known."""
        place = int(self.keys.searchsorted(key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        profile: Floats = self._profiles[place]
        return profile


def schema_fingerprint() -> str:
    """Return the digest of the feature names and of the sums they are made from, 32 hexadecimal digits.

    Models and snapshots carry it, so that one made for other features is refused and not misread.
    """
    text = "\n".join((*FEATURE_NAMES, *sums_schema()))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
