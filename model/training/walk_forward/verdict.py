"""Each requirement against what was reached, with a sentence that says both."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from model.settings import Settings
from model.training.evaluation import FPR_REQUIRED, FRAUDS_PASSED_PER_100_ALLOWED, RECALL_REQUIRED

FPR_TOLERANCE = 0.005  # requirement: realised false positive rate within 0.5 points of its budget on later weeks
CALIBRATION_ALLOWED = 0.002  # requirement: expected calibration error of at most 0.2 points

Figures = dict[str, Any]


def checks(headline: Figures, *, settings: Settings) -> list[Figures]:
    """Return each requirement as `name`, `met` and `sentence`."""
    return [
        {"name": name, "met": bool(met), "sentence": sentence}
        for part in (_detection(headline), _stability(headline, settings), _losses(headline, settings))
        for name, met, sentence in part
    ]


def _detection(headline: Figures) -> Iterator[tuple[str, bool, str]]:
    yield (
        "recall_at_required_fpr",
        headline["recall_at_fpr_5pct"] >= RECALL_REQUIRED,
        f"recall {_interval(headline, 'recall_at_fpr_5pct')} at FPR {_percent(FPR_REQUIRED)}, best cut-off in"
        f" hindsight; at least {_percent(RECALL_REQUIRED)}",
    )
    recall, fpr = headline["recall_review"], headline["realised_fpr_review"]
    yield (
        "recall_and_fpr_of_chosen_cut_off",
        recall >= RECALL_REQUIRED and fpr <= FPR_REQUIRED,
        f"recall {_interval(headline, 'recall_review')} at a realised FPR of {_percent(fpr)}, cut-offs chosen"
        " beforehand",
    )


def _stability(headline: Figures, settings: Settings) -> Iterator[tuple[str, bool, str]]:
    for kind, budget in (("review", settings.flagged_budget), ("decline", settings.declined_budget)):
        rates = [fold[f"realised_fpr_{kind}"] for fold in headline["folds"]]
        furthest = max(rates, key=partial(_distance, budget))
        yield (
            f"realised_fpr_{kind}_within_tolerance",
            abs(furthest - budget) <= FPR_TOLERANCE,
            f"realised FPR furthest from its budget in a fold {_percent(furthest)}, budget {_percent(budget)} ({kind});"
            f" {100 * FPR_TOLERANCE:g} points off allowed",
        )
    error = headline["expected_calibration_error"]
    yield (
        "calibration_error_within_tolerance",
        error <= CALIBRATION_ALLOWED,
        f"expected calibration error {100 * error:.3f} points; at most {100 * CALIBRATION_ALLOWED:g}",
    )


def _losses(headline: Figures, settings: Settings) -> Iterator[tuple[str, bool, str]]:
    money, limit = headline["money_passed_per_month"], settings.monthly_loss_limit
    yield "losses_within_limit", money <= limit, f"fraud money passed a month {money:,.0f}; limit {limit:,.0f}"
    passed = headline["frauds_passed_per_100_transactions"]
    yield (
        "two_per_hundred_kept",
        passed <= FRAUDS_PASSED_PER_100_ALLOWED,
        f"frauds passed per 100 transactions {passed:.4f}; at most {FRAUDS_PASSED_PER_100_ALLOWED:g}",
    )


def _distance(budget: float, rate: float) -> float:
    return abs(rate - budget)


def _interval(figures: Figures, name: str) -> str:
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    ends = "" if low is None or high is None else f" [{100 * low:.2f}, {100 * high:.2f}]"
    return f"{_percent(figures[name])}{ends}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
