"""Every figure of a tested period, for cut-offs that were chosen before it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from model.decision import CutOffs
from model.settings import MONTHLY_LOSS_LIMIT
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
    weight: Floats
    days: int

    @property
    def unequal(self) -> Floats | None:
        """The weights for scikit-learn, which takes another way, to the same figures, where there are none."""
        return None if (self.weight == 1).all() else self.weight


def evaluate(
    *,
    label: ArrayLike,
    score: ArrayLike,
    amount: ArrayLike,
    tx_seconds: ArrayLike,
    cutoffs: CutOffs,
    weight: ArrayLike | None = None,
    monthly_loss_limit: float = MONTHLY_LOSS_LIMIT,
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
    weight : array of shape (n,), optional
        How many transactions each row stands for, above 0; 1 if not given.
    monthly_loss_limit : float
        What the fraud that passes in a month may cost, in the unit of the amounts.

    Raises
    ------
    EvaluationError
        If there are no rows, lengths differ, or a column breaks the rule above. Without a fraud or without an honest
        transaction the figures that need one are NaN instead.
    """
    rows = _checked_rows(label=label, score=score, amount=amount, tx_seconds=tx_seconds, weight=weight)
    unequal = rows.unequal
    return Evaluation(
        first_day=_as_date(rows.day.min()),
        last_day=_as_date(rows.day.max()),
        days=rows.days,
        rows=_count(rows.weight),
        sampled_rows=rows.fraud.size,
        frauds=_count(rows.weight[rows.fraud]),
        fraud_share=_share(rows.fraud, rows.weight),
        roc_auc=_roc_auc(rows.fraud, rows.score, unequal),
        average_precision=_average_precision(rows.fraud, rows.score, unequal),
        recall_at_fpr_5pct=recall_at_fpr(rows.fraud, rows.score, FPR_REQUIRED, weight=unequal),
        recall_at_fpr_1pct=recall_at_fpr(rows.fraud, rows.score, STRICT_FPR, weight=unequal),
        review=_at_cutoff(rows, cutoffs.review),
        decline=_at_cutoff(rows, cutoffs.decline),
        expected_calibration_error=expected_calibration_error(rows.fraud, rows.score, weight=unequal),
        brier_score=float(brier_score_loss(rows.fraud, rows.score, sample_weight=unequal, labels=[False, True])),
        monthly_loss_limit=monthly_loss_limit,
        weeks=tuple(_weeks(rows, cutoffs)),
    )


def at_cutoffs(
    cutoffs: Iterable[float],
    *,
    label: ArrayLike,
    score: ArrayLike,
    amount: ArrayLike,
    tx_seconds: ArrayLike,
    weight: ArrayLike | None = None,
) -> list[AtCutOff]:
    """Return what each of some cut-offs would have done; columns, rules and errors as of `evaluate`."""
    rows = _checked_rows(label=label, score=score, amount=amount, tx_seconds=tx_seconds, weight=weight)
    return [_at_cutoff(rows, cutoff) for cutoff in cutoffs]


def recall_at_fpr(label: ArrayLike, score: ArrayLike, fpr: float, *, weight: ArrayLike | None = None) -> float:
    """Return the recall of the best cut-off whose false positive rate is at most `fpr`.

    Equal scores stand or fall together; no point between two reachable ones is interpolated.

    Parameters
    ----------
    label, score : arrays of shape (n,)
        1 for fraud and 0 for honest; any finite number that grows with suspicion.
    fpr : float
        Largest false positive rate, 0 to 1.
    weight : array of shape (n,), optional
        How many transactions each row stands for.

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
    weights = None if weight is None else _checked_weights(weight, fraud.size)
    reached_fpr, recall, _ = roc_curve(fraud, ranked, sample_weight=weights, drop_intermediate=False)
    return float(recall[reached_fpr <= fpr].max())


def expected_calibration_error(label: ArrayLike, score: ArrayLike, *, weight: ArrayLike | None = None) -> float:
    """Return the mean distance of score and fraud share over ten quantile bins, weighted by rows, 0 to 1.

    Equal scores share a bin, so there can be fewer bins than ten (Naeini, Cooper, Hauskrecht, AAAI 2015). With a
    weight, every bin holds about a tenth of the weight.
    """
    fraud, probability = _checked_labels(label), _checked_scores(score)
    _require_same_length(label=fraud, score=probability)
    shares = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    if weight is None:
        weights, inner_edges = np.ones(fraud.size), np.quantile(probability, shares)
    else:
        weights = _checked_weights(weight, fraud.size)
        inner_edges = np.quantile(probability, shares, weights=weights, method="inverted_cdf")
    bin_of_row = np.searchsorted(inner_edges, probability, side="left")
    surplus = np.bincount(bin_of_row, weights=weights * (probability - fraud))
    return float(np.abs(surplus).sum() / weights.sum())


def _checked_rows(
    *, label: ArrayLike, score: ArrayLike, amount: ArrayLike, tx_seconds: ArrayLike, weight: ArrayLike | None
) -> _Rows:
    money = _checked_column("amount", amount)
    if (money < 0).any():
        raise EvaluationError("amount must not be negative")
    fraud, probability, day = _checked_labels(label), _checked_scores(score), _checked_days(tx_seconds)
    _require_same_length(label=fraud, score=probability, amount=money, tx_seconds=day)
    weights = np.ones(fraud.size) if weight is None else _checked_weights(weight, fraud.size)
    return _Rows(fraud, probability, money, day, weights, days=int(np.ptp(day)) + 1)


def _checked_weights(weight: ArrayLike, rows: int) -> Floats:
    column = _checked_column("weight", weight)
    if not (column > 0).all():
        raise EvaluationError("weight must be above 0 in every row")
    if column.size != rows:
        raise EvaluationError(f"all columns must have the same number of rows: label has {rows}, weight {column.size}")
    return column


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


def _roc_auc(fraud: Mask, score: Floats, weight: Floats | None) -> float:
    return math.nan if _one_sided(fraud) else float(roc_auc_score(fraud, score, sample_weight=weight))


def _average_precision(fraud: Mask, score: Floats, weight: Floats | None) -> float:
    return math.nan if _one_sided(fraud) else float(average_precision_score(fraud, score, sample_weight=weight))


def _at_cutoff(rows: _Rows, cutoff: float) -> AtCutOff:
    flagged = rows.score >= cutoff
    found, missed = rows.fraud & flagged, rows.fraud & ~flagged
    false_alarm = flagged & ~rows.fraud
    weight, money, months = rows.weight, rows.amount * rows.weight, rows.days / DAYS_PER_MONTH
    stopped, frauds = weight[flagged].sum(), weight[rows.fraud].sum()
    return AtCutOff(
        cut_off=cutoff,
        recall=_share(found, weight, of=rows.fraud),
        false_positive_rate=_share(false_alarm, weight, of=~rows.fraud),
        precision=_share(found, weight, of=flagged),
        f1=2 * float(weight[found].sum()) / float(stopped + frauds) if rows.fraud.any() else math.nan,
        frauds_passed_per_100_transactions=100 * _share(missed, weight),
        flagged_per_day=float(stopped) / rows.days,
        money_passed_per_month=float(money[missed].sum()) / months,
        money_falsely_stopped_per_month=float(money[false_alarm].sum()) / months,
    )


def _count(weight: Floats) -> int:
    return round(float(weight.sum()))


def _share(part: Mask, weight: Floats, *, of: Mask | None = None) -> float:
    """Return the weight of `part`, a subset, over that of the rows `of`, or of all; NaN for a share of nothing."""
    whole = weight if of is None else weight[of]
    return float(weight[part].sum() / whole.sum()) if whole.size else math.nan


def _weeks(rows: _Rows, cutoffs: CutOffs) -> Iterator[Week]:
    first, last = int(rows.day.min()), int(rows.day.max())
    week_of_row = (rows.day - first) // DAYS_PER_WEEK
    for number in np.unique(week_of_row):
        start = first + int(number) * DAYS_PER_WEEK
        chosen = week_of_row == number
        parts = rows.fraud[chosen], rows.score[chosen], rows.weight[chosen]
        yield _week(*parts, cutoffs=cutoffs, first=start, last=min(start + DAYS_PER_WEEK - 1, last))


def _week(fraud: Mask, score: Floats, weight: Floats, *, cutoffs: CutOffs, first: int, last: int) -> Week:
    flagged, declined = score >= cutoffs.review, score >= cutoffs.decline
    return Week(
        first_day=_as_date(first),
        last_day=_as_date(last),
        rows=_count(weight),
        frauds=_count(weight[fraud]),
        review_recall=_share(fraud & flagged, weight, of=fraud),
        review_false_positive_rate=_share(~fraud & flagged, weight, of=~fraud),
        decline_recall=_share(fraud & declined, weight, of=fraud),
        decline_false_positive_rate=_share(~fraud & declined, weight, of=~fraud),
    )


def _as_date(day: int) -> date:
    return _EPOCH + timedelta(days=int(day))
