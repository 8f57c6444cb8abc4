"""The only definition of features: training, batch scoring and the request path all call `build_features`."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from model.statistics import ENTITIES, HOUR, QUANTITIES, WINDOWS, Floats, Integers
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
FEATURE_NAMES = PAYMENT_FEATURES + tuple(
    f"{entity}_{feature}_{window}" for entity in ENTITIES for window in WINDOWS for feature in ENTITY_FEATURES
)
NIGHT_ENDS = 6  # o'clock UTC; the night begins at midnight
MIN_FOR_SPREAD = 2  # transactions

_DIFFERENCE, _RATIO, _ZSCORE = (ENTITY_FEATURES.index(f"amount_{name}") for name in ("difference", "ratio", "zscore"))
_DAY = 24 * HOUR
_ROUNDING = 1e-12
_CHUNK = 50_000  # keys at a time, so that loading needs no second copy of everything
_THURSDAY = 3  # the weekday of 1970-01-01, Monday being 0
_SATURDAY = 5


class FeatureMismatchError(ValueError):
    """A model, a snapshot or a table was made for other features than these."""


def build_features(transactions: Transactions, sums: Floats) -> Floats:
    """Return the features of n transactions, float64 (n, 53), columns `FEATURE_NAMES`.

    Amounts are in units of the currency, rates are reports per transaction. What cannot be known is NaN: everything
    about a customer or terminal without statistics, the mean of no payments, the spread of fewer than two.

    Parameters
    ----------
    transactions
        Moment and amount of each.
    sums
        What was known of its customer and terminal at the start of the hour, (n, 2, 3, 4) as `Snapshot.lookup`
        returns it; NaN for an unknown one.

    Raises
    ------
    FeatureMismatchError
        If `sums` has another shape.
    """
    n = len(transactions.tx_amount)
    if sums.shape != (n, len(ENTITIES), len(WINDOWS), len(QUANTITIES)):
        raise FeatureMismatchError(f"sums must have shape ({n}, 2, 3, 4), they have {sums.shape}")
    features = np.empty((n, len(FEATURE_NAMES)))
    for place, values in enumerate(payment_features(transactions.tx_seconds, transactions.tx_amount)):
        features[:, place] = values
    blocks = entity_blocks(features)
    blocks[...] = profiles(sums)
    _compare(transactions.tx_amount[:, None, None], *_compared(blocks))
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
    """Return the part of features (n, 53) that speaks of customer and terminal as a view (n, 2, 3, 8)."""
    part = features[:, len(PAYMENT_FEATURES) :]
    return part.reshape(len(features), len(ENTITIES), len(WINDOWS), len(ENTITY_FEATURES))


def profiles(sums: Floats) -> Floats:
    """Return what is known of keys whatever they pay now, shape (..., 3, 8) for sums (..., 3, 4).

    The last axis is `ENTITY_FEATURES`, with what an amount will be compared with in the places of the comparisons: the
    mean where the difference comes, the mean or NaN for the ratio, the spread or NaN for the z-score.
    """
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
        float64 (53,), C-contiguous; overwritten by each call of `build`.
    """

    def __init__(self) -> None:
        self.row = np.empty(len(FEATURE_NAMES))
        self._payment = self.row[: len(PAYMENT_FEATURES)]
        blocks = entity_blocks(self.row[np.newaxis])[0]
        self._customer, self._terminal = blocks.reshape(len(ENTITIES), -1)
        self._compared = _compared(blocks)

    def build(self, seconds: int, amount: float, customer: Floats, terminal: Floats) -> Floats:
        """Return the features of a payment; the profiles of customer and terminal have shape (24,)."""
        self._payment[:] = payment_features(seconds, amount)
        self._customer[:] = customer
        self._terminal[:] = terminal
        _compare(amount, *self._compared)
        return self.row


def profile_rows(sums: Floats) -> Iterator[Floats]:
    """Return the profiles of keys with these sums (n, 12) in parts, each float64 (m, 24), m up to 50 000."""
    for start in range(0, len(sums), _CHUNK):
        part = sums[start : start + _CHUNK].reshape(-1, len(WINDOWS), len(QUANTITIES))
        yield profiles(part).reshape(len(part), -1)


class ProfileTable:
    """The profiles of all keys of one entity, made once when a snapshot is loaded.

    Attributes
    ----------
    keys
        Sorted, int64 (n,).
    """

    UNKNOWN = np.full(len(WINDOWS) * len(ENTITY_FEATURES), np.nan)

    def __init__(self, keys: Integers, sums: Floats) -> None:
        rows = np.empty((len(keys), self.UNKNOWN.size))
        start = 0
        for part in profile_rows(sums):
            rows[start : start + len(part)] = part
            start += len(part)
        self.keys, self._profiles = keys, rows

    @classmethod
    def of(cls, keys: Integers, rows: Floats) -> "ProfileTable":
        """Return the table over rows (n, 24) that `profile_rows` made before, of a mapped file for example.

        Raises
        ------
        ValueError
            If there is not one row for each key.
        """
        if rows.shape != (len(keys), cls.UNKNOWN.size) or rows.dtype != np.float64:
            raise ValueError(f"{len(keys)} keys do not fit profiles of shape {rows.shape}")
        table = cls.__new__(cls)
        table.keys, table._profiles = keys, rows
        return table

    def find(self, key: int) -> Floats | None:
        """Return the profile of a key, (24,), or None if it is not known."""
        place = int(self.keys.searchsorted(key))
        if place == len(self.keys) or self.keys[place] != key:
            return None
        profile: Floats = self._profiles[place]
        return profile


def schema_fingerprint() -> str:
    """Return the digest of the feature names and of the sums they are made from, 32 hexadecimal digits.

    Models and snapshots carry it, so that one made for other features is refused and not misread.
    """
    text = "\n".join((*FEATURE_NAMES, *QUANTITIES, *(f"{name}={hours}h" for name, hours in WINDOWS.items())))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
