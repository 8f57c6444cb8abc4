"""Every figure of a tested period, for cut-offs that were chosen before it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from model.decision import CutOffs
from model.training.evaluation import FPR_REQUIRED, STRICT_FPR, AtCutOff, Evaluation, Week

CALIBRATION_BINS: Final = 10
DAYS_PER_MONTH: Final = 30
DAYS_PER_WEEK: Final = 7
SECONDS_PER_DAY: Final = 86_400

_EPOCH: Final = date(1970, 1, 1)
_FIRST_DAY: Final = (date.min - _EPOCH).days
_LAST_DAY: Final = (date.max - _EPOCH).days

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class EvaluationError(ValueError):
    """Say which column cannot be evaluated, and which rule it breaks."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hold the checked columns of the tested transactions, each of shape (n,)."""

    fraud: Mask
    score: Floats
    amount: Floats
    day: NDArray[np.int64]

    @property
    def days(self) -> int:
        return int(np.ptp(self.day)) + 1


def evaluate(
    *, label: ArrayLike, score: ArrayLike, amount: ArrayLike, tx_seconds: ArrayLike, cutoffs: CutOffs
) -> Evaluation:
    """Return every figure of one tested period, for cut-offs that were chosen on an earlier one.

    Parameters
    ----------
    label : array of shape (n,)
        1 for fraud, 0 for honest.
    score : array of shape (n,)
        Calibrated probability of fraud, 0 to 1.
    amount : array of shape (n,)
        Money, not negative.
    tx_seconds : array of shape (n,)
        Time of the transaction, seconds since 1970-01-01 UTC.
    cutoffs : CutOffs

    Raises
    ------
    EvaluationError
        If there are no rows, lengths differ, or a column breaks the rule above. Without a fraud or without an honest
        transaction the figures that need one are NaN instead.
    """
    rows = _checked_rows(label=label, score=score, amount=amount, tx_seconds=tx_seconds)
    return Evaluation(
        first_day=_as_date(rows.day.min()),
        last_day=_as_date(rows.day.max()),
        days=rows.days,
        rows=rows.fraud.size,
        frauds=int(rows.fraud.sum()),
        fraud_share=float(rows.fraud.mean()),
        roc_auc=_roc_auc(rows.fraud, rows.score),
        average_precision=_average_precision(rows.fraud, rows.score),
        recall_at_fpr_5pct=recall_at_fpr(rows.fraud, rows.score, FPR_REQUIRED),
        recall_at_fpr_1pct=recall_at_fpr(rows.fraud, rows.score, STRICT_FPR),
        review=_at_cutoff(rows, cutoffs.review),
        decline=_at_cutoff(rows, cutoffs.decline),
        expected_calibration_error=expected_calibration_error(rows.fraud, rows.score),
        brier_score=float(brier_score_loss(rows.fraud, rows.score, labels=[False, True])),
        weeks=tuple(_weeks(rows, cutoffs)),
    )


def recall_at_fpr(label: ArrayLike, score: ArrayLike, fpr: float) -> float:
    """Return the recall of the best cut-off whose false positive rate is at most `fpr`.

    Equal scores stand or fall together; no point between two reachable ones is interpolated.

    Parameters
    ----------
    label, score : arrays of shape (n,)
        1 for fraud and 0 for honest; any finite number that grows with suspicion.
    fpr : float
        Largest false positive rate, 0 to 1.

    Returns
    -------
    float
        NaN without a fraud or without an honest transaction.
    """
    if not 0 <= fpr <= 1:
        raise EvaluationError("fpr must be a number from 0 to 1")
    fraud, ranked = _checked_labels(label), _checked_column("score", score)
    _require_same_length(label=fraud, score=ranked)
    if _one_sided(fraud):
        return math.nan
    reached_fpr, recall, _ = roc_curve(fraud, ranked, drop_intermediate=False)
    return float(recall[reached_fpr <= fpr].max())


def expected_calibration_error(label: ArrayLike, score: ArrayLike) -> float:
    """Return the mean distance of score and fraud share over ten quantile bins, weighted by rows, 0 to 1.

    Equal scores share a bin, so there can be fewer bins than ten (Naeini, Cooper, Hauskrecht, AAAI 2015).
    """
    fraud, probability = _checked_labels(label), _checked_scores(score)
    _require_same_length(label=fraud, score=probability)
    inner_edges = np.quantile(probability, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1])
    bin_of_row = np.searchsorted(inner_edges, probability, side="left")
    surplus = np.bincount(bin_of_row, weights=probability - fraud)
    return float(np.abs(surplus).sum() / fraud.size)


def _checked_rows(*, label: ArrayLike, score: ArrayLike, amount: ArrayLike, tx_seconds: ArrayLike) -> _Rows:
    money = _checked_column("amount", amount)
    if (money < 0).any():
        raise EvaluationError("amount must not be negative")
    rows = _Rows(_checked_labels(label), _checked_scores(score), money, _checked_days(tx_seconds))
    _require_same_length(label=rows.fraud, score=rows.score, amount=rows.amount, tx_seconds=rows.day)
    return rows


def _checked_column(name: str, values: ArrayLike) -> Floats:
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise EvaluationError(f"{name} must be a column of numbers") from None
    if column.ndim != 1 or not column.size:
        raise EvaluationError(f"{name} must be a column with at least one row")
    if broken := int((~np.isfinite(column)).sum()):
        raise EvaluationError(f"{name} must be finite in every row; {broken} of {column.size} are not")
    return column


def _checked_labels(label: ArrayLike) -> Mask:
    column = _checked_column("label", label)
    if not ((column == 0) | (column == 1)).all():
        raise EvaluationError("label must be 0 or 1 in every row")
    return column.astype(np.bool_)


def _checked_scores(score: ArrayLike) -> Floats:
    column = _checked_column("score", score)
    if not ((column >= 0) & (column <= 1)).all():
        raise EvaluationError("score must be from 0 to 1 in every row")
    return column


def _checked_days(tx_seconds: ArrayLike) -> NDArray[np.int64]:
    day = np.floor(_checked_column("tx_seconds", tx_seconds) / SECONDS_PER_DAY)
    if day.min() < _FIRST_DAY or day.max() > _LAST_DAY:
        raise EvaluationError("tx_seconds must be seconds since 1970 within the years 1 to 9999")
    return day.astype(np.int64)


def _require_same_length(**columns: NDArray[Any]) -> None:
    if len({column.size for column in columns.values()}) > 1:
        sizes = ", ".join(f"{name} has {column.size}" for name, column in columns.items())
        raise EvaluationError(f"all columns must have the same number of rows: {sizes}")


def _one_sided(fraud: Mask) -> bool:
    return bool(fraud.all() or not fraud.any())


def _roc_auc(fraud: Mask, score: Floats) -> float:
    return math.nan if _one_sided(fraud) else float(roc_auc_score(fraud, score))


def _average_precision(fraud: Mask, score: Floats) -> float:
    return math.nan if _one_sided(fraud) else float(average_precision_score(fraud, score))


def _at_cutoff(rows: _Rows, cutoff: float) -> AtCutOff:
    flagged = rows.score >= cutoff
    found, missed = rows.fraud & flagged, rows.fraud & ~flagged
    false_alarm = flagged & ~rows.fraud
    months = rows.days / DAYS_PER_MONTH
    return AtCutOff(
        cut_off=cutoff,
        recall=_share(found, rows.fraud),
        false_positive_rate=_share(false_alarm, ~rows.fraud),
        precision=_share(found, flagged),
        f1=2 * float(found.sum()) / float(flagged.sum() + rows.fraud.sum()) if rows.fraud.any() else math.nan,
        frauds_passed_per_100_transactions=100 * float(missed.mean()),
        flagged_per_day=float(flagged.sum()) / rows.days,
        money_passed_per_month=float(rows.amount[missed].sum()) / months,
        money_falsely_stopped_per_month=float(rows.amount[false_alarm].sum()) / months,
    )


def _share(part: Mask, whole: Mask) -> float:
    """Return the size of `part`, a subset, over the size of `whole`; NaN for a share of nothing."""
    return float(part.sum() / whole.sum()) if whole.any() else math.nan


def _weeks(rows: _Rows, cutoffs: CutOffs) -> Iterator[Week]:
    first, last = int(rows.day.min()), int(rows.day.max())
    week_of_row = (rows.day - first) // DAYS_PER_WEEK
    for number in np.unique(week_of_row):
        start = first + int(number) * DAYS_PER_WEEK
        chosen = week_of_row == number
        yield _week(rows.fraud[chosen], rows.score[chosen], cutoffs, start, min(start + DAYS_PER_WEEK - 1, last))


def _week(fraud: Mask, score: Floats, cutoffs: CutOffs, first: int, last: int) -> Week:
    flagged, declined = score >= cutoffs.review, score >= cutoffs.decline
    return Week(
        first_day=_as_date(first),
        last_day=_as_date(last),
        rows=fraud.size,
        frauds=int(fraud.sum()),
        review_recall=_share(fraud & flagged, fraud),
        review_false_positive_rate=_share(~fraud & flagged, ~fraud),
        decline_recall=_share(fraud & declined, fraud),
        decline_false_positive_rate=_share(~fraud & declined, ~fraud),
    )


def _as_date(day: int) -> date:
    return _EPOCH + timedelta(days=int(day))
