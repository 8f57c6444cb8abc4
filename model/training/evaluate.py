import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from model.decision import CutOffs

RECALL_REQUIRED: Final = 0.95  # requirement: detection, at least this share of frauds found ...
FPR_REQUIRED: Final = 0.05  # ... while at most this share of honest transactions is flagged
STRICT_FPR: Final = 0.01  # the share that may be declined outright; a fixed figure to compare models by

CALIBRATION_BINS: Final = 10
DAYS_PER_MONTH: Final = 30
DAYS_PER_WEEK: Final = 7
SECONDS_PER_DAY: Final = 86_400

_EPOCH: Final = date(1970, 1, 1)
_FIRST_DAY: Final = (date.min - _EPOCH).days
_LAST_DAY: Final = (date.max - _EPOCH).days

# A flagged payment is looked at before it passes, so the losses of the whole system are those of the review cut-off.
_HEADLINE: Final = (
    "frauds_passed_per_100_transactions",
    "money_passed_per_month",
    "money_falsely_stopped_per_month",
)

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class EvaluationError(ValueError):
    """Say which column cannot be evaluated, and which rule it breaks."""


@dataclass(frozen=True, slots=True)
class AtCutOff:
    """Hold what acting on every score at or above one cut-off would have done.

    `flagged` and `falsely stopped` count those transactions; `passed` counts the frauds below the cut-off. Shares are
    0 to 1, money is in the unit of the amounts, a month has 30 days. A share of nothing is NaN.
    """

    cut_off: float
    recall: float
    false_positive_rate: float
    precision: float
    f1: float
    frauds_passed_per_100_transactions: float
    flagged_per_day: float
    money_passed_per_month: float
    money_falsely_stopped_per_month: float


@dataclass(frozen=True, slots=True)
class Week:
    """Hold seven days of the tested period, counted from its first day; the last week may be shorter."""

    first_day: date
    last_day: date
    rows: int
    frauds: int
    review_recall: float
    review_false_positive_rate: float
    decline_recall: float
    decline_false_positive_rate: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Hold how well frauds were found on the days from `first_day` to `last_day`, both included, in UTC.

    `recall_at_fpr_*` use the best cut-off in hindsight (quality of the ranking); `review` and `decline` use the
    cut-offs chosen beforehand (what the bank would have seen). Shares are 0 to 1; a share of nothing is NaN.
    """

    first_day: date
    last_day: date
    days: int
    rows: int
    frauds: int
    fraud_share: float
    roc_auc: float
    average_precision: float
    recall_at_fpr_5pct: float
    recall_at_fpr_1pct: float
    review: AtCutOff
    decline: AtCutOff
    expected_calibration_error: float
    brier_score: float
    weeks: tuple[Week, ...]

    @property
    def ranking_meets_requirement(self) -> bool | None:
        """Say whether the best cut-off in hindsight finds enough frauds; None if no figure says so."""
        return _meets_requirement(self.recall_at_fpr_5pct, FPR_REQUIRED)

    @property
    def review_meets_requirement(self) -> bool | None:
        """Say whether the review cut-off chosen beforehand keeps both sides; None if no figure says so."""
        return _meets_requirement(self.review.recall, self.review.false_positive_rate)

    def metrics(self) -> dict[str, float]:
        """Return every finite figure of the whole period under its plain name."""
        return {name: float(value) for name, value in self._figures().items() if math.isfinite(value)}

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values: days as ISO dates, a missing figure as None, weeks nested."""
        return {
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
            **{name: _json_value(value) for name, value in self._figures().items()},
            "ranking_meets_requirement": self.ranking_meets_requirement,
            "review_meets_requirement": self.review_meets_requirement,
            "weeks": [{name: _json_value(value) for name, value in asdict(week).items()} for week in self.weeks],
        }

    def _figures(self) -> dict[str, float]:
        apart = {"first_day", "last_day", "review", "decline", "weeks"}
        whole = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in apart}
        headline = {name: getattr(self.review, name) for name in _HEADLINE}
        return whole | headline | _prefixed("review", self.review) | _prefixed("decline", self.decline)


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


def render(evaluation: Evaluation, *, label_delay: str, statistics_age: str) -> str:
    """Return the evaluation as a plain-text page for a terminal.

    Parameters
    ----------
    evaluation : Evaluation
    label_delay, statistics_age : str
        How long after a payment its fraud is known, and how old statistics may be, as a person says it: "1 day".
    """
    sections = (
        _render_period(evaluation, label_delay, statistics_age),
        _render_requirement(evaluation),
        _render_cutoffs(evaluation),
        _render_ranking(evaluation),
        _render_weeks(evaluation),
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


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


def _meets_requirement(recall: float, fpr: float) -> bool | None:
    if math.isnan(recall) or math.isnan(fpr):
        return None
    return recall >= RECALL_REQUIRED and fpr <= FPR_REQUIRED


def _prefixed(prefix: str, at_cutoff: AtCutOff) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in asdict(at_cutoff).items()}


def _json_value(value: date | float) -> str | float | None:
    if isinstance(value, date):
        return value.isoformat()
    return value if math.isfinite(value) else None


def _render_period(evaluation: Evaluation, label_delay: str, statistics_age: str) -> list[str]:
    frauds = f"{evaluation.frauds:,} of them fraud ({_percent(evaluation.fraud_share)})"
    return [
        f"Tested on {evaluation.first_day} to {evaluation.last_day} ({_count(evaluation.days, 'day')})",
        f"  {_count(evaluation.rows, 'transaction')}, {frauds}",
        f"  label delay {label_delay} (a fraud is known that long after its payment), statistics age {statistics_age}",
    ]


def _render_requirement(evaluation: Evaluation) -> list[str]:
    review = evaluation.review
    return [
        f"Requirement: recall at least {_percent(RECALL_REQUIRED)} at a false positive rate of at most "
        f"{_percent(FPR_REQUIRED)}",
        _verdict("chosen beforehand", review.recall, review.false_positive_rate, evaluation.review_meets_requirement),
        _verdict("best in hindsight", evaluation.recall_at_fpr_5pct, None, evaluation.ranking_meets_requirement),
    ]


def _verdict(cutoff: str, recall: float, fpr: float | None, met: bool | None) -> str:
    word = {True: "MET", False: "NOT MET", None: "n/a"}[met]
    reached = f"at most {_percent(FPR_REQUIRED)}" if fpr is None else _percent(fpr)
    return f"  {word:<8} cut-off {cutoff}: recall {_percent(recall)}, false positive rate {reached}"


def _render_cutoffs(evaluation: Evaluation) -> list[str]:
    header = f"{'Cut-offs chosen beforehand':<38}{'review or decline':>20}{'decline only':>20}"
    lines = (
        ("score at or above", "cut_off", _significant),
        ("recall: frauds stopped", "recall", _percent),
        ("false positive rate: honest stopped", "false_positive_rate", _percent),
        ("precision: frauds among the stopped", "precision", _percent),
        ("F1", "f1", _decimal),
        ("frauds passed per 100 transactions", "frauds_passed_per_100_transactions", _decimal),
        ("transactions stopped a day", "flagged_per_day", _amount),
        ("fraud money passed a month", "money_passed_per_month", _amount),
        ("honest money stopped a month", "money_falsely_stopped_per_month", _amount),
    )
    return [header, *(_render_pair(evaluation, *line) for line in lines)]


def _render_pair(evaluation: Evaluation, words: str, name: str, show: Callable[[float], str]) -> str:
    review, decline = (show(getattr(at_cutoff, name)) for at_cutoff in (evaluation.review, evaluation.decline))
    return f"  {words:<36}{review:>20}{decline:>20}"


def _render_ranking(evaluation: Evaluation) -> list[str]:
    lines = (
        (f"recall at false positive rate {_percent(FPR_REQUIRED)}", _percent(evaluation.recall_at_fpr_5pct)),
        (f"recall at false positive rate {_percent(STRICT_FPR)}", _percent(evaluation.recall_at_fpr_1pct)),
        ("area under the ROC curve (AUC)", _decimal(evaluation.roc_auc)),
        ("average precision", _decimal(evaluation.average_precision)),
        ("expected calibration error", _percent(evaluation.expected_calibration_error)),
        ("Brier score", f"{evaluation.brier_score:.5f}"),
    )
    return ["Ranking and calibration", *(f"  {name:<36}{figure:>20}" for name, figure in lines)]


def _render_weeks(evaluation: Evaluation) -> list[str]:
    header = f"{'Week by week':<26}{'rows':>10}{'frauds':>8}{'review or decline':>22}{'decline only':>22}"
    names = f"{'':<44}{'recall':>11}{'FPR':>11}{'recall':>11}{'FPR':>11}"
    return [header, names, *map(_render_week, evaluation.weeks)]


def _render_week(week: Week) -> str:
    shares = (
        week.review_recall,
        week.review_false_positive_rate,
        week.decline_recall,
        week.decline_false_positive_rate,
    )
    days = f"  {week.first_day} to {week.last_day}"
    return f"{days:<26}{week.rows:>10,}{week.frauds:>8,}" + "".join(f"{_percent(share):>11}" for share in shares)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _percent(share: float) -> str:
    return "n/a" if math.isnan(share) else f"{100 * share:.2f} %"


def _decimal(figure: float) -> str:
    return "n/a" if math.isnan(figure) else f"{figure:.4f}"


def _significant(figure: float) -> str:
    return f"{figure:.3g}"


def _amount(figure: float) -> str:
    return f"{figure:,.0f}"
