"""What another budget would have done: its cut-off chosen beforehand in each fold, its figures on the tests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from model.decision import CutOffError
from model.training.budgets import BUDGETS, weighted_cutoff
from model.training.walk_forward.figures import cut_off_figures, sum_columns
from model.training.walk_forward.fitting import FoldResult
from model.training.walk_forward.tested import Outcomes, joined

_SHOWN = {  # the names that a training report has for them
    "recall": "recall_review",
    "false_positive_rate": "realised_fpr_review",
    "precision": "precision_review",
    "f1": "f1_review",
    "frauds_passed_per_100_transactions": "frauds_passed_per_100_transactions",
    "flagged_per_day": "flagged_per_day",
    "money_passed_per_month": "money_passed_per_month",
    "money_falsely_stopped_per_month": "money_falsely_stopped_per_month",
}


def budget_table(results: Sequence[FoldResult]) -> list[dict[str, Any]]:
    """Return for each budget what stopping at its cut-offs, chosen on the calibration periods, did on the tests.

    The shape is that of `model.training.budgets.budget_grid`, with one cut-off a fold, and their mean as `cut_off`. A
    budget that no cut-off keeps is left out.
    """
    answer = []
    for budget in BUDGETS:
        try:
            cutoffs = [weighted_cutoff(each.honest_scores, each.honest_weight, budget) for each in results]
        except CutOffError:
            continue
        tested = joined([_with_cutoff(each.tested, cutoff) for each, cutoff in zip(results, cutoffs, strict=True)])
        figures = cut_off_figures(tested.weight @ sum_columns(tested), tested)
        shown = {name: float(figures[figure]) for name, figure in _SHOWN.items()}
        answer.append({"budget": budget, "cut_off": float(np.mean(cutoffs)), "cut_offs": cutoffs, "test": shown})
    return answer


def _with_cutoff(tested: Outcomes, cutoff: float) -> Outcomes:
    everywhere = np.full(len(tested), cutoff)
    return replace(tested, review_from=everywhere, decline_from=everywhere)
