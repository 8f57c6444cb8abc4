"""The page that says how good a model is, for a person at a terminal."""

import math
from collections.abc import Callable
from datetime import timedelta

from model.training.evaluation import (
    FPR_REQUIRED,
    FRAUDS_PASSED_PER_100_ALLOWED,
    RECALL_REQUIRED,
    STRICT_FPR,
    Evaluation,
    Week,
)

_WORD = {True: "MET", False: "NOT MET", None: "n/a"}


def render(evaluation: Evaluation, *, label_delay: timedelta, statistics_age: timedelta) -> str:
    """Return the evaluation as a plain-text page for a terminal.

    Parameters
    ----------
    evaluation : Evaluation
    label_delay, statistics_age : timedelta
        How long after a payment its fraud is known, and how old statistics may be.
    """
    sections = (
        _render_period(evaluation, label_delay, statistics_age),
        _render_requirement(evaluation),
        _render_money(evaluation),
        _render_cutoffs(evaluation),
        _render_ranking(evaluation),
        _render_weeks(evaluation),
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _render_period(evaluation: Evaluation, label_delay: timedelta, statistics_age: timedelta) -> list[str]:
    frauds = f"{evaluation.frauds:,} of them fraud ({_percent(evaluation.fraud_share)})"
    return [
        f"Tested on {evaluation.first_day} to {evaluation.last_day} ({_count(evaluation.days, 'day')})",
        f"  {_count(evaluation.rows, 'transaction')}, {frauds}",
        *_render_sample(evaluation),
        f"  label delay {_span(label_delay)}, where the history does not say when a fraud became known",
        f"  statistics age {_span(statistics_age)}",
    ]


def _render_sample(evaluation: Evaluation) -> list[str]:
    if not evaluation.is_sampled:
        return []
    looked_at = _count(evaluation.sampled_rows, "transaction")
    return [f"  sampled, weights: {looked_at} were scored, all frauds among them; all figures are estimates"]


def _render_requirement(evaluation: Evaluation) -> list[str]:
    review = evaluation.review
    return [
        f"Requirement: recall at least {_percent(RECALL_REQUIRED)} at a false positive rate of at most "
        f"{_percent(FPR_REQUIRED)}",
        _verdict("chosen beforehand", review.recall, review.false_positive_rate, evaluation.review_meets_requirement),
        _verdict("best in hindsight", evaluation.recall_at_fpr_5pct, None, evaluation.ranking_meets_requirement),
    ]


def _render_money(evaluation: Evaluation) -> list[str]:
    review = evaluation.review
    lines = (
        (
            evaluation.losses_within_limit,
            f"fraud money passed a month {_amount(review.money_passed_per_month)}, limit"
            f" {_amount(evaluation.monthly_loss_limit)}",
        ),
        (
            evaluation.two_per_hundred_kept,
            f"frauds passed per 100 transactions {_decimal(review.frauds_passed_per_100_transactions)}, at most"
            f" {FRAUDS_PASSED_PER_100_ALLOWED:g}",
        ),
    )
    return ["Losses, with the cut-off chosen beforehand", *(f"  {_WORD[met]:<8} {text}" for met, text in lines)]


def _verdict(cutoff: str, recall: float, fpr: float | None, met: bool | None) -> str:
    reached = f"at most {_percent(FPR_REQUIRED)}" if fpr is None else _percent(fpr)
    return f"  {_WORD[met]:<8} cut-off {cutoff}: recall {_percent(recall)}, false positive rate {reached}"


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


def _span(span: timedelta) -> str:
    """Return a time span in the largest unit that it is a whole number of, such as 36 hours or 7 days."""
    seconds = int(span.total_seconds())
    for size, noun in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds and seconds % size == 0:
            return _count(seconds // size, noun)
    return _count(seconds, "second")


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
