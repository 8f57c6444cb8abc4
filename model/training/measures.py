"""Weighted measures of a ranking and of a cut-off, made to be computed a thousand times on resampled rows.

A weight says how often a row counts: how often the bootstrap drew it, or how many rows of the bank it stands for, or
the product of the two. A row of weight 3 counts as three equal rows do.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.decision import CutOffs
from model.training.ranking import Curve, MeasureError, Ranking
from model.training.resampling import (
    Clusters,
    cluster_weights,
    fewest_resamples,
    percentile_interval,
    two_sided_p_value,
)

__all__ = [
    "Clusters",
    "Confusion",
    "Costs",
    "Curve",
    "MeasureError",
    "Ranking",
    "cluster_weights",
    "confusion",
    "expected_calibration_error",
    "expected_loss",
    "f1",
    "fewest_resamples",
    "fpr",
    "percentile_interval",
    "precision",
    "quantile_bins",
    "recall",
    "row_losses",
    "two_sided_p_value",
]

CALIBRATION_BINS: Final = 10

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Weight of the rows that one cut-off treats rightly and wrongly; a share of nothing is NaN."""

    found: float
    missed: float
    false_alarms: float
    passed: float

    @property
    def recall(self) -> float:
        """Share of the frauds that are flagged."""
        return _share(self.found, self.found + self.missed)

    @property
    def fpr(self) -> float:
        """Share of the honest transactions that are flagged: the false positive rate."""
        return _share(self.false_alarms, self.false_alarms + self.passed)

    @property
    def precision(self) -> float:
        """Share of the flagged transactions that are frauds."""
        return _share(self.found, self.found + self.false_alarms)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; NaN without a fraud."""
        frauds = self.found + self.missed
        return 2 * self.found / (self.found + self.false_alarms + frauds) if frauds > 0 else math.nan


def confusion(label: ArrayLike, score: ArrayLike, cutoff: float, weight: ArrayLike | None = None) -> Confusion:
    """Return what acting on every score at or above a cut-off does to n rows; `weight` is (n,)."""
    fraud, flagged = np.asarray(label) == 1, np.asarray(score) >= cutoff
    weights = np.ones(len(fraud)) if weight is None else np.asarray(weight, dtype=np.float64)
    found, missed, false_alarms = (
        float(weights[kind].sum()) for kind in (fraud & flagged, fraud & ~flagged, flagged & ~fraud)
    )
    # By far the most rows are none of these: the rest needs no mask. Rounding must not leave less than nothing.
    passed = max(0.0, float(weights.sum()) - found - missed - false_alarms)
    return Confusion(found, missed, false_alarms, passed)


def recall(label: ArrayLike, score: ArrayLike, cutoff: float, weight: ArrayLike | None = None) -> float:
    """Return the share of the frauds at or above a cut-off."""
    return confusion(label, score, cutoff, weight).recall


def fpr(label: ArrayLike, score: ArrayLike, cutoff: float, weight: ArrayLike | None = None) -> float:
    """Return the share of the honest transactions at or above a cut-off."""
    return confusion(label, score, cutoff, weight).fpr


def precision(label: ArrayLike, score: ArrayLike, cutoff: float, weight: ArrayLike | None = None) -> float:
    """Return the share of frauds among the transactions at or above a cut-off."""
    return confusion(label, score, cutoff, weight).precision


def f1(label: ArrayLike, score: ArrayLike, cutoff: float, weight: ArrayLike | None = None) -> float:
    """Return the harmonic mean of precision and recall of a cut-off."""
    return confusion(label, score, cutoff, weight).f1


@dataclass(frozen=True, slots=True)
class Costs:
    """What decisions cost, in the unit of the amounts.

    Attributes
    ----------
    review
        Of looking at one payment, fraud or not.
    declined_share
        Of an honest payment that is declined, as a share of its amount: the margin lost, the call, the annoyance.
    """

    review: float = 1.0
    declined_share: float = 0.05

    def __post_init__(self) -> None:
        for name in ("review", "declined_share"):
            if not 0 <= getattr(self, name) < math.inf:
                raise MeasureError(f"costs: {name} must be a finite number, not negative")


def row_losses(label: ArrayLike, score: ArrayLike, amount: ArrayLike, *, cutoffs: CutOffs, costs: Costs) -> Floats:
    """Return what each decision loses, (n,), in the unit of the amounts.

    An approved fraud loses its amount, a reviewed payment the cost of the review (which finds the truth), a declined
    honest payment a share of its amount; every other decision loses nothing.
    """
    fraud, scored, money = np.asarray(label) == 1, np.asarray(score), np.asarray(amount, dtype=np.float64)
    declined = scored >= cutoffs.decline
    reviewed = (scored >= cutoffs.review) & ~declined
    losses = np.where(fraud & ~declined & ~reviewed, money, 0.0)
    losses[reviewed] = costs.review
    return np.where(declined & ~fraud, costs.declined_share * money, losses)


def expected_loss(
    label: ArrayLike,
    score: ArrayLike,
    amount: ArrayLike,
    *,
    cutoffs: CutOffs,
    costs: Costs,
    weight: ArrayLike | None = None,
) -> float:
    """Return the mean loss of a transaction, see `row_losses`; NaN if all weights are 0."""
    losses = row_losses(label, score, amount, cutoffs=cutoffs, costs=costs)
    weights = np.ones(len(losses)) if weight is None else np.asarray(weight, dtype=np.float64)
    return _share(float(losses @ weights), float(weights.sum()))


def quantile_bins(score: ArrayLike, weight: ArrayLike | None = None) -> Integers:
    """Return the bin of each row, 0 to 9, (n,): tenths of the weight in the order of the scores.

    Equal scores share a bin, so some bins can be empty. An edge is the lowest score at or below which its share of the
    weight lies, and belongs to the bin that it ends.
    """
    scored = np.asarray(score, dtype=np.float64)
    order = np.argsort(scored, kind="stable")
    summed = np.cumsum(np.ones(len(scored)) if weight is None else np.asarray(weight, dtype=np.float64)[order])
    wanted = summed[-1] * np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    edges = scored[order[summed.searchsorted(wanted, side="left")]]
    bins: Integers = edges.searchsorted(scored, side="left").astype(np.int64)
    return bins


def expected_calibration_error(
    label: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None, *, bins: Integers | None = None
) -> float:
    """Return the mean distance of score and fraud share over ten quantile bins, 0 to 1; NaN if all weights are 0.

    Naeini, Cooper, Hauskrecht, AAAI 2015.

    Parameters
    ----------
    bins
        What `quantile_bins` made of the rows. Give it where rows are measured again and again under other weights:
        sorting takes longer than all the rest. Default: made from these scores and weights.
    """
    scored = np.asarray(score, dtype=np.float64)
    surplus = scored - (np.asarray(label) == 1)
    chosen = quantile_bins(scored, weight) if bins is None else bins
    weights = np.ones(len(scored)) if weight is None else np.asarray(weight, dtype=np.float64)
    by_bin = np.bincount(chosen, surplus * weights, minlength=CALIBRATION_BINS)
    return _share(float(np.abs(by_bin).sum()), float(weights.sum()))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
