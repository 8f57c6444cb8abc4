"""One fold: learn, calibrate and choose cut-offs on what was known by then, and only then look at the test."""

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from model.decision import CutOffs
from model.score import probabilities
from model.settings import Settings
from model.statistics import HOUR, Floats, Integers
from model.training.budgets import choose_weighted_cutoffs
from model.training.dataset import Dataset
from model.training.fit import TrainingError, fit_calibration, fold_calibration
from model.training.split import Period
from model.training.walk_forward.folds import Fold
from model.training.walk_forward.learners import Learner, Lesson
from model.training.walk_forward.tested import Outcomes


@dataclass(frozen=True, slots=True)
class FoldResult:
    """A tested fold.

    Attributes
    ----------
    honest_scores, honest_weight
        Scores and weights of the calibration period's transactions that counted as honest when the test began.
    known_frauds
        Frauds of the training and of the calibration period that were known in time.
    booster
        The calibrated model; None for a baseline.
    """

    fold: Fold
    cutoffs: CutOffs
    tested: Outcomes
    honest_scores: Floats
    honest_weight: Floats
    known_frauds: tuple[int, int]
    booster: lgb.Booster | None


def run_fold(rows: Dataset, fold: Fold, *, learner: Learner, settings: Settings) -> FoldResult:
    """Return how a learner does on one fold.

    Parameters
    ----------
    rows
        All rows from the first training day to the last test day, in order of time.

    Raises
    ------
    TrainingError
        If a period has no transaction, or too few known frauds to learn from.
    """
    train, calibration, test = (_places(rows, name, period) for name, period in fold.named())
    known_train = known_label(rows, train, by=fold.calibration.start)
    weight = rows.weight
    learned = learner(Lesson(rows.features[train], known_train, weight[train]))
    known = known_label(rows, calibration, by=fold.test.start)
    margins = learned.margins(rows.features[calibration])
    slope, intercept = fit_calibration(margins, known, weight=weight[calibration])
    honest = probabilities(slope * margins[known == 0] + intercept)
    honest_weight = weight[calibration][known == 0]
    cutoffs = choose_weighted_cutoffs(
        honest, honest_weight, flagged_budget=settings.flagged_budget, declined_budget=settings.declined_budget
    )
    scores = probabilities(slope * learned.margins(rows.features[test]) + intercept)
    booster = None if learned.booster is None else fold_calibration(learned.booster, slope, intercept)
    frauds = int(known_train.sum()), int(known.sum())
    return FoldResult(fold, cutoffs, _tested(rows, test, scores, cutoffs, fold), honest, honest_weight, frauds, booster)


def known_label(rows: Dataset, places: slice, *, by: int) -> Integers:
    """Return the labels as they were known at a full hour: a fraud not reported by then counts as honest."""
    return rows.label[places] * (rows.report_hour[places] * HOUR < by)


def _places(rows: Dataset, name: str, period: Period) -> slice:
    first, last = np.searchsorted(rows.transactions.tx_seconds, (period.start, period.end))
    if first == last:
        raise TrainingError(f"there is no transaction in a fold's {name} period, {period}")
    return slice(int(first), int(last))


def _tested(rows: Dataset, test: slice, scores: Floats, cutoffs: CutOffs, fold: Fold) -> Outcomes:
    n = len(scores)
    return Outcomes(
        fraud=rows.label[test] == 1,
        score=scores,
        review_from=np.full(n, cutoffs.review),
        decline_from=np.full(n, cutoffs.decline),
        amount=rows.transactions.tx_amount[test],
        seconds=rows.transactions.tx_seconds[test],
        customer=rows.customer_key[test],
        terminal=rows.terminal_key[test],
        scenario=rows.scenario[test],
        weight=rows.weight[test],
        fold=np.full(n, fold.number, dtype=np.int64),
    )
