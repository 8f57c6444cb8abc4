"""The only definition of features: training, batch scoring and the request path all call `build_features`."""

import hashlib

import numpy as np

from model.statistics import ENTITIES, QUANTITIES, WINDOWS, Floats
from model.transaction import Transactions

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

_DAY = 24 * 3600
_ROUNDING = 1e-12
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
    _payment_features(transactions, out=features[:, : len(PAYMENT_FEATURES)])
    history = features[:, len(PAYMENT_FEATURES) :].reshape(n, len(ENTITIES), len(WINDOWS), len(ENTITY_FEATURES))
    _entity_features(transactions.tx_amount[:, None, None], sums, out=history)
    return features


def _payment_features(transactions: Transactions, *, out: Floats) -> None:
    seconds = transactions.tx_seconds
    hour = seconds % _DAY // 3600
    weekday = (seconds // _DAY + _THURSDAY) % 7
    out[:, 0] = transactions.tx_amount
    out[:, 1] = hour
    out[:, 2] = weekday
    out[:, 3] = hour < NIGHT_ENDS
    out[:, 4] = weekday >= _SATURDAY


def _entity_features(amount: Floats, sums: Floats, *, out: Floats) -> None:
    count, total, squares, reports = (sums[..., i] for i in range(len(QUANTITIES)))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count / 100
        variance = (count * squares - total * total) / (count * count) / 10_000
        # Equal amounts have no spread; what rounding leaves of it must not become a z-score of millions.
        variance[variance < _ROUNDING * mean * mean] = 0
        spread = np.where(count >= MIN_FOR_SPREAD, np.sqrt(variance), np.nan)
        difference = amount - mean
        out[..., 0] = count
        out[..., 1] = mean
        out[..., 2] = spread
        out[..., 3] = difference
        out[..., 4] = np.where(mean > 0, amount / mean, np.nan)
        out[..., 5] = np.where(spread > 0, difference / spread, np.nan)
        out[..., 6] = reports
        out[..., 7] = np.where(count > 0, reports / count, np.nan)


def schema_fingerprint() -> str:
    """Return the digest of the feature names and of the sums they are made from, 32 hexadecimal digits.

    Models and snapshots carry it, so that one made for other features is refused and not misread.
    """
    text = "\n".join((*FEATURE_NAMES, *QUANTITIES, *(f"{name}={hours}h" for name, hours in WINDOWS.items())))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
