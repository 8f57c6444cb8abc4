from typing import Any

import numpy as np
import pytest

from model.decision import CutOffs
from model.training.gate import GateError, GateRows, GateRules, ScoredModel
from model.training.measures import MeasureError

COLUMNS: dict[str, Any] = {
    "label": np.array([1, 0, 0]),
    "amount": np.array([10.0, 20.0, 0.0]),
    "tx_seconds": np.array([0, 86_399, 86_400]),
    "cluster": np.array([-5, 7, 7]),
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.0}, "alpha"),
        ({"resamples": 118}, "resamples must be at least 119"),
        ({"alpha": 0.01, "resamples": 500}, "resamples must be at least 599"),
        ({"flagged_budget": 0.0}, "budgets"),
        ({"declined_budget": 0.06}, "budgets"),
        ({"recall_margin": -0.1}, "recall_margin"),
        ({"fpr_tolerance": float("nan")}, "fpr_tolerance"),
        ({"calibration_limit": float("inf")}, "calibration_limit"),
        ({"explain_budget_us": -1.0}, "explain_budget_us"),
        ({"min_frauds": -1}, "min_frauds"),
    ],
)
def test_a_rule_that_makes_no_sense_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(GateError, match=words):
        GateRules(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"label": np.array([1, 2, 0])}, "label must be 0 or 1"),
        ({"amount": np.array([1.0, -1.0, 0.0])}, "amount must not be negative"),
        ({"amount": np.array([1.0, np.nan, 0.0])}, "amount must be finite"),
        ({"cluster": np.array([1.0, 2.0, 3.0])}, "columns of integers"),
        ({"cluster": np.array([1, 2])}, "cluster has 2"),
        ({"weight": np.array([1.0, 0.0, 1.0])}, "weight must be above 0"),
        ({"weight": np.array([1.0, 1.0])}, "weight has 2"),
    ],
)
def test_a_column_that_breaks_its_rule_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises((GateError, MeasureError), match=words):
        GateRows(**(COLUMNS | changes))


def test_a_score_that_is_no_probability_is_refused_with_the_models_name() -> None:
    with pytest.raises(GateError, match="scores of version 3 must be from 0 to 1"):
        ScoredModel("version 3", np.array([0.1, 1.1]), CutOffs(0.1, 0.2))


def test_days_are_whole_days_in_utc_and_weights_are_one_without_a_sample() -> None:
    rows = GateRows(**COLUMNS)
    assert (len(rows), rows.days, rows.weights.tolist()) == (3, 2, [1, 1, 1])
