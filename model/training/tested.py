"""A calibrated model with its scores of the periods that it was not trained on."""

from dataclasses import dataclass

from model.decision import CutOffs
from model.explain import TreeExplainer
from model.statistics import Floats
from model.training.budgets import ScoredRows
from model.training.dataset import Dataset
from model.training.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Tested:
    """A calibrated booster, and how it did: its scores on calibration and test period, each (n,)."""

    text: str
    explainer: TreeExplainer
    cutoffs: CutOffs
    calibration_scores: Floats
    scores: Floats
    evaluation: Evaluation


def scored(rows: Dataset, score: Floats) -> ScoredRows:
    """Return the columns of tested transactions with a model's scores of them."""
    return ScoredRows(rows.label, score, rows.transactions.tx_amount, rows.transactions.tx_seconds, rows.weight)
