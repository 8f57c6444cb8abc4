from dataclasses import replace

import numpy as np
import pytest

from model.score import probabilities
from model.settings import Settings, load_settings
from model.statistics import HOUR
from model.training.dataset import Dataset
from model.training.fit import TrainingError, raw_margins
from model.training.split import DAY
from model.training.walk_forward.fitting import run_fold
from model.training.walk_forward.folds import Fold, FoldPlan, plan_folds
from model.training.walk_forward.learners import product
from model.transaction import Transactions

START = 17_622 * DAY
DAYS = 40


@pytest.fixture(scope="module")
def rows() -> Dataset:
    """Forty days in which every fraud is large, and reported a day later."""
    rng = np.random.default_rng(1)
    n = 6_000
    seconds = np.sort(START + rng.integers(0, DAYS * DAY, n))
    label = (rng.random(n) < 0.05).astype(np.int64)
    amount = rng.gamma(2, 20, n) * np.where(label == 1, rng.uniform(1, 8, n), 1)
    key = rng.integers(0, 50, n)
    return Dataset(
        Transactions(seconds, amount),
        rng.integers(1, 9, (n, 32)).astype(np.float64),
        label,
        label * 2,
        (seconds + DAY) // HOUR,
        key,
        key[::-1].copy(),
        np.ones(n),
    )


@pytest.fixture(scope="module")
def fold() -> Fold:
    return plan_folds(START, START + DAYS * DAY, label_delay=DAY, plan=FoldPlan(1))[0]


@pytest.fixture(scope="module")
def few_trees() -> Settings:
    return load_settings(trees=10, threads=1)


def test_nothing_that_became_known_later_changes_a_fold(rows: Dataset, fold: Fold, few_trees: Settings) -> None:
    result = run_fold(rows, fold, learner=product(few_trees), settings=few_trees)
    later = rows.transactions.tx_seconds >= fold.test.start
    # Every label of the test period is turned round, and frauds reported after the period they belong to are none.
    turned = replace(rows, label=np.where(later, 1 - rows.label, rows.label))
    again = run_fold(turned, fold, learner=product(few_trees), settings=few_trees)
    assert (again.tested.score == result.tested.score).all()
    assert again.cutoffs == result.cutoffs
    assert (again.tested.fraud != result.tested.fraud).all()


def test_frauds_whose_report_comes_too_late_are_not_known(rows: Dataset, fold: Fold, few_trees: Settings) -> None:
    known = run_fold(rows, fold, learner=product(few_trees), settings=few_trees).known_frauds
    in_training = (rows.transactions.tx_seconds >= fold.train.start) & (rows.transactions.tx_seconds < fold.train.end)
    assert known[0] == rows.label[in_training].sum()
    late = np.flatnonzero(in_training & (rows.label == 1))[:7]
    hours = rows.report_hour.copy()
    hours[late] = fold.calibration.start // HOUR
    fewer = run_fold(replace(rows, report_hour=hours), fold, learner=product(few_trees), settings=few_trees)
    assert fewer.known_frauds == (known[0] - 7, known[1])


def test_cut_offs_keep_their_budgets_on_the_calibration_period(rows: Dataset, fold: Fold, few_trees: Settings) -> None:
    result = run_fold(rows, fold, learner=product(few_trees), settings=few_trees)
    assert np.mean(result.honest_scores >= result.cutoffs.review) <= few_trees.flagged_budget
    assert np.mean(result.honest_scores >= result.cutoffs.decline) <= few_trees.declined_budget
    assert len(result.honest_scores) == len(result.honest_weight)


def test_booster_of_a_fold_gives_the_scores_of_its_test(rows: Dataset, fold: Fold, few_trees: Settings) -> None:
    result = run_fold(rows, fold, learner=product(few_trees), settings=few_trees)
    assert result.booster is not None
    features = rows.between(fold.test.start, fold.test.end).features
    assert probabilities(raw_margins(result.booster, features)) == pytest.approx(result.tested.score, rel=1e-9)
    assert (result.tested.fold == fold.number).all()


def test_period_without_transactions_is_named(rows: Dataset, fold: Fold, few_trees: Settings) -> None:
    before = rows.between(START, fold.test.start)
    with pytest.raises(TrainingError, match="no transaction in a fold's test period"):
        run_fold(before, fold, learner=product(few_trees), settings=few_trees)
