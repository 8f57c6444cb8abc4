"""What an evaluation holds, and the requirement it is held against."""

import math
from dataclasses import asdict, dataclass, fields
from datetime import date
from typing import Any, Final

RECALL_REQUIRED: Final = 0.95  # requirement: detection, at least this share of frauds found ...
FPR_REQUIRED: Final = 0.05  # ... while at most this share of honest transactions is flagged
STRICT_FPR: Final = 0.01  # the share that may be declined outright; a fixed figure to compare models by
FRAUDS_PASSED_PER_100_ALLOWED: Final = 2.0  # requirement: of a hundred transactions at most two are fraud that passes

# A flagged payment is looked at before it passes, so the losses of the whole system are those of the review cut-off.
_HEADLINE: Final = (
    "frauds_passed_per_100_transactions",
    "money_passed_per_month",
    "money_falsely_stopped_per_month",
)


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

    `rows` and `frauds` are transactions as they happened. Where only a sample of them, `sampled_rows`, was scored, both
    and all figures are weighted: estimates of what all transactions would have given.
    """

    first_day: date
    last_day: date
    days: int
    rows: int
    sampled_rows: int
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
    monthly_loss_limit: float
    weeks: tuple[Week, ...]

    @property
    def is_sampled(self) -> bool:
        """Say whether the figures are estimates from a sample."""
        return self.sampled_rows < self.rows

    @property
    def losses_within_limit(self) -> bool:
        """Say whether the fraud that the review cut-off lets pass in a month costs no more than the limit."""
        return self.review.money_passed_per_month <= self.monthly_loss_limit

    @property
    def two_per_hundred_kept(self) -> bool:
        """Say whether at most two of a hundred transactions are fraud that the review cut-off lets pass."""
        return self.review.frauds_passed_per_100_transactions <= FRAUDS_PASSED_PER_100_ALLOWED

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
            "monthly_loss_limit": self.monthly_loss_limit,
            "losses_within_limit": self.losses_within_limit,
            "two_per_hundred_kept": self.two_per_hundred_kept,
            "sampled": self.is_sampled,
            "weeks": [{name: _json_value(value) for name, value in asdict(week).items()} for week in self.weeks],
        }

    def _figures(self) -> dict[str, float]:
        apart = {"first_day", "last_day", "review", "decline", "weeks", "monthly_loss_limit"}
        whole = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in apart}
        headline = {name: getattr(self.review, name) for name in _HEADLINE}
        return whole | headline | _prefixed("review", self.review) | _prefixed("decline", self.decline)


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
