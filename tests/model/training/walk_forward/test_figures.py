import dataclasses

import numpy as np
import pytest

from model.decision import CutOffs
from model.training.evaluate import evaluate
from model.training.walk_forward.bootstrap import bootstrap_of
from model.training.walk_forward.figures import all_figures
from model.training.walk_forward.tested import Outcomes, joined
from tests.model.training.walk_forward.outcomes import random_outcomes

SAME = {  # the same figure under the name that a training's evaluation has for it
    "roc_auc": "roc_auc",
    "average_precision": "average_precision",
    "recall_at_fpr_5pct": "recall_at_fpr_5pct",
    "recall_at_fpr_1pct": "recall_at_fpr_1pct",
    "expected_calibration_error": "expected_calibration_error",
    "fraud_share": "fraud_share",
    "recall_review": "review_recall",
    "realised_fpr_review": "review_false_positive_rate",
    "precision_review": "review_precision",
    "f1_review": "review_f1",
    "recall_decline": "decline_recall",
    "realised_fpr_decline": "decline_false_positive_rate",
    "precision_decline": "decline_precision",
    "f1_decline": "decline_f1",
    "frauds_passed_per_100_transactions": "review_frauds_passed_per_100_transactions",
    "flagged_per_day": "review_flagged_per_day",
    "declined_per_day": "decline_flagged_per_day",
    "money_passed_per_month": "review_money_passed_per_month",
    "money_falsely_stopped_per_month": "review_money_falsely_stopped_per_month",
    "money_falsely_declined_per_month": "decline_money_falsely_stopped_per_month",
}


def figures_of(tested: Outcomes, resamples: int = 39) -> dict[str, float]:
    return all_figures(tested, bootstrap_of(tested, by="terminal", resamples=resamples, seed=1))


def test_figures_are_those_that_a_training_reports() -> None:
    tested = random_outcomes()
    expected = evaluate(
        label=tested.fraud,
        score=tested.score,
        amount=tested.amount,
        tx_seconds=tested.seconds,
        cutoffs=CutOffs(0.5, 0.9),
    ).metrics()
    figures = figures_of(tested)
    for ours, theirs in SAME.items():
        assert figures[ours] == pytest.approx(expected[theirs], rel=1e-9, abs=1e-12), ours


def test_every_fold_is_judged_by_its_own_cut_offs() -> None:
    strict, lax = random_outcomes(seed=1), random_outcomes(seed=2)
    lax = dataclasses.replace(lax, review_from=np.full(len(lax), 0.1), decline_from=np.full(len(lax), 0.2))
    both = figures_of(joined([strict, lax]))
    flagged = (strict.score >= 0.5).sum() + (lax.score >= 0.1).sum()
    assert both["flagged_per_day"] * joined([strict, lax]).days == pytest.approx(flagged)


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    tested = random_outcomes(200)
    doubled = dataclasses.replace(tested, weight=np.full(len(tested), 2.0))
    twice, one = figures_of(joined([tested, tested])), figures_of(doubled)
    assert one == pytest.approx(twice, rel=1e-9)


def test_figures_lie_within_their_intervals() -> None:
    figures = figures_of(random_outcomes(), resamples=400)
    # The calibration error is left out: chance can only add to it.
    names = [name for name in figures if f"{name}_low" in figures and name != "expected_calibration_error"]
    assert len(names) >= 20
    for name in names:
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"], name


def test_without_false_alarms_precision_is_one_and_without_frauds_recall_is_unknown() -> None:
    tested = random_outcomes()
    assert figures_of(tested.where(tested.fraud | ~tested.flagged))["precision_review"] == 1
    honest = figures_of(tested.where(~tested.fraud))
    assert np.isnan(honest["recall_review"])
    assert np.isnan(honest["recall_at_fpr_5pct"])
