"""A ranking of rows by score, sorted once and measured under any number of weightings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class MeasureError(ValueError):
    """Say which column cannot be measured, and which rule it breaks."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What every cut-off of a ranking finds and flags, for one weighting of its rows or for several at once.

    The last axis goes over the g different scores of frauds, the highest first; another axis before it, if any, over
    the weightings. A measure has the shape of what is left: 0-dimensional, or one value a weighting. NaN without a
    fraud or without an honest transaction.

    Attributes
    ----------
    found
        Weight of the frauds at or above each score, (..., g).
    alarms, alarms_above
        Weight of the honest transactions at or above, and above, each score, (..., g).
    honest
        Weight of all honest transactions, (...).
    """

    found: Floats
    alarms: Floats
    alarms_above: Floats
    honest: Floats

    @property
    def roc_auc(self) -> Floats:
        """Area under the receiver operating characteristic; equal scores count half."""
        below = self.honest[..., np.newaxis] - (self.alarms + self.alarms_above) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((self._found_here * below).sum(axis=-1) / (self._frauds * self.honest))

    @property
    def average_precision(self) -> Floats:
        """Sum over the cut-offs of precision times gain in recall, without interpolation."""
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = self.found / (self.found + self.alarms)
            # Frauds that were not drawn find nothing, at whatever precision.
            gains = np.where(self._found_here > 0, self._found_here * precision, 0.0)
            return self._unless_one_sided(gains.sum(axis=-1) / self._frauds)

    def recall_at_fpr(self, share: float) -> Floats:
        """Recall of the best cut-off whose false positive rate is at most `share`, 0 to 1."""
        if not 0 <= share <= 1:
            raise MeasureError("the false positive rate must be a number from 0 to 1")
        with np.errstate(divide="ignore", invalid="ignore"):
            within = self.alarms / self.honest[..., np.newaxis] <= share
            best = np.where(within, self.found, 0.0).max(axis=-1, initial=0.0)
            return self._unless_one_sided(best / self._frauds)

    @property
    def _frauds(self) -> Floats:
        return np.asarray(self._found_here.sum(axis=-1))

    @property
    def _found_here(self) -> Floats:
        return np.diff(self.found, axis=-1, prepend=0.0)

    def _unless_one_sided(self, measure: Floats) -> Floats:
        return np.where((self._frauds > 0) & (self.honest > 0), measure, np.nan)


class Ranking:
    """Rows in the order of their scores, sorted once, to be measured under any number of weightings.

    Equal scores stand or fall together: a cut-off lies only between different ones.

    Parameters
    ----------
    label
        1 for fraud, 0 for honest, (n,).
    score
        Any finite number that grows with suspicion, (n,).

    Raises
    ------
    MeasureError
        If a column breaks the rule above, or there are no rows.
    """

    def __init__(self, label: ArrayLike, score: ArrayLike) -> None:
        fraud, ranked = checked_labels(label), checked_column("score", score)
        require_same_length(label=fraud, score=ranked)
        self._n = len(fraud)
        order = np.argsort(-ranked, kind="stable")
        self._frauds, self._honest = order[fraud[order]], order[~fraud[order]]
        falling = -ranked[self._frauds]
        self._starts = np.flatnonzero(np.diff(falling, prepend=np.nan) != 0)
        scores, honest_scores = falling[self._starts], -ranked[self._honest]
        self._above = honest_scores.searchsorted(scores, side="left")
        self._reached = honest_scores.searchsorted(scores, side="right")

    def curve(self, weight: ArrayLike | None = None) -> Curve:
        """Return what every cut-off finds and flags.

        Parameters
        ----------
        weight
            Not negative, (n,), or (b, n) for b weightings at once. Default: 1 for each row.
        """
        weights = np.ones(self._n) if weight is None else np.asarray(weight, dtype=np.float64)
        if weights.shape[-1:] != (self._n,):
            raise MeasureError(f"weight must have {self._n} values a weighting, its shape is {weights.shape}")
        flagged = np.zeros((*weights.shape[:-1], len(self._honest) + 1))
        np.cumsum(weights.take(self._honest, axis=-1), axis=-1, out=flagged[..., 1:])
        return Curve(
            found=self._found(weights),
            alarms=flagged.take(self._reached, axis=-1),
            alarms_above=flagged.take(self._above, axis=-1),
            honest=np.asarray(flagged[..., -1]),
        )

    def _found(self, weights: Floats) -> Floats:
        if not len(self._starts):
            return np.zeros((*weights.shape[:-1], 0))
        by_score = np.add.reduceat(weights.take(self._frauds, axis=-1), self._starts, axis=-1)
        return np.cumsum(by_score, axis=-1)

    @property
    def n_sums(self) -> int:
        """How many sums of weights `curve_of` needs."""
        return 3 * len(self._starts) + 1

    def sum_of_row(self) -> NDArray[np.int64]:
        """Return which of the sums each row's weight belongs to, (n,), 0 to `n_sums` - 1.

        The curve changes only at the scores of frauds: all honest rows between two of them are one sum. Where rows are
        drawn by clusters, what each cluster adds to each sum can be added up once, and no draw needs the rows again.
        """
        ends = np.stack([self._above, self._reached], axis=1).ravel()
        sums = np.empty(self._n, dtype=np.int64)
        sums[self._honest] = ends.searchsorted(np.arange(len(self._honest)), side="right")
        groups = np.zeros(len(self._frauds), dtype=np.int64)
        groups[self._starts[1:]] = 1
        sums[self._frauds] = len(ends) + 1 + np.cumsum(groups)
        return sums

    def curve_of(self, sums: Floats) -> Curve:
        """Return what `curve` does from the sums of the weights, (..., n_sums)."""
        honest_sums = 2 * len(self._starts) + 1
        flagged = np.cumsum(sums[..., :honest_sums], axis=-1)
        return Curve(
            found=np.cumsum(sums[..., honest_sums:], axis=-1),
            alarms=flagged[..., 1::2],
            alarms_above=flagged[..., :-1:2],
            honest=np.asarray(flagged[..., -1]),
        )

    def roc_auc(self, weight: ArrayLike | None = None) -> float:
        """Return the area under the receiver operating characteristic; NaN without a fraud or an honest row."""
        return float(self.curve(weight).roc_auc)

    def average_precision(self, weight: ArrayLike | None = None) -> float:
        """Return the average precision; NaN without a fraud or an honest row."""
        return float(self.curve(weight).average_precision)

    def recall_at_fpr(self, share: float, weight: ArrayLike | None = None) -> float:
        """Return the recall of the best cut-off with a false positive rate of at most `share`; NaN as above."""
        return float(self.curve(weight).recall_at_fpr(share))


def checked_column(name: str, values: ArrayLike) -> Floats:
    """Return a column of finite numbers, (n,), or say what it is instead."""
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise MeasureError(f"{name} must be a column of numbers") from None
    if column.ndim != 1 or not column.size:
        raise MeasureError(f"{name} must be a column with at least one row")
    if broken := int((~np.isfinite(column)).sum()):
        raise MeasureError(f"{name} must be finite in every row; {broken} of {column.size} are not")
    return column


def checked_labels(label: ArrayLike) -> Mask:
    """Return where a column of 0 and 1 says fraud, (n,)."""
    column = checked_column("label", label)
    if not ((column == 0) | (column == 1)).all():
        raise MeasureError("label must be 0 or 1 in every row")
    fraud: Mask = column == 1
    return fraud


def require_same_length(**columns: NDArray[np.generic]) -> None:
    """Raise `MeasureError` unless all columns have the same number of rows."""
    if len({len(column) for column in columns.values()}) > 1:
        sizes = ", ".join(f"{name} has {len(column)}" for name, column in columns.items())
        raise MeasureError(f"all columns must have the same number of rows: {sizes}")
