import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.decision import CutOffError, CutOffs, choose_cutoffs
from model.training.budgets import BUDGETS, ScoredRows, budget_grid, choose_weighted_cutoffs, weighted_cutoff

DAY = 86_400

scores = st.lists(st.floats(0, 0.99) | st.sampled_from([0.1, 0.5, 0.9]), min_size=2, max_size=50)
budgets = st.floats(0.001, 0.5)


def rows_of(n: int, *, seed: int, honest_weight: float = 1.0) -> ScoredRows:
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.1).astype(np.int64)
    score = np.clip(rng.beta(1, 12, n) + 0.5 * label * rng.random(n), 0, 0.999)
    seconds = np.sort(rng.integers(0, 10 * DAY, n))
    return ScoredRows(label, score, rng.random(n) * 100, seconds, np.where(label == 1, 1.0, honest_weight))


@given(scores, budgets)
def test_without_weights_it_is_the_cut_off_that_serving_knows(score: list[float], budget: float) -> None:
    column, ones = np.array(score), np.ones(len(score))
    assert (
        weighted_cutoff(column, ones, budget)
        == choose_cutoffs(column, flagged_budget=budget, declined_budget=budget).review
    )
    assert choose_weighted_cutoffs(column, ones, flagged_budget=budget, declined_budget=budget) == choose_cutoffs(
        column, flagged_budget=budget, declined_budget=budget
    )


@given(scores, budgets, st.data())
def test_a_row_of_weight_three_counts_as_three_equal_rows(
    score: list[float], budget: float, data: st.DataObject
) -> None:
    weight = np.array(data.draw(st.lists(st.integers(1, 5), min_size=len(score), max_size=len(score))))
    cutoff = weighted_cutoff(np.array(score), weight.astype(np.float64), budget)
    repeated = np.repeat(score, weight)
    assert cutoff == choose_cutoffs(repeated, flagged_budget=budget, declined_budget=budget).review
    assert (repeated >= cutoff).mean() <= budget


def test_two_budgets_give_two_cut_offs() -> None:
    rows = rows_of(5000, seed=1, honest_weight=20.0)
    honest = rows.label == 0
    cutoffs = choose_weighted_cutoffs(
        rows.score[honest], rows.weight[honest] * 1.5, flagged_budget=0.05, declined_budget=0.01
    )
    assert isinstance(cutoffs, CutOffs)
    assert (rows.score[honest] >= cutoffs.review).mean() == pytest.approx(0.05, abs=0.001)
    assert (rows.score[honest] >= cutoffs.decline).mean() == pytest.approx(0.01, abs=0.001)


def test_a_heavy_row_alone_can_be_more_than_the_budget() -> None:
    score = np.array([0.9, 0.5, 0.1])
    assert weighted_cutoff(score, np.array([1.0, 1.0, 98.0]), 0.02) == pytest.approx(0.1, abs=1e-6)
    assert weighted_cutoff(score, np.array([98.0, 1.0, 1.0]), 0.02) > 0.9
    with pytest.raises(CutOffError, match="too many honest scores equal 1"):
        weighted_cutoff(np.array([1.0, 0.5]), np.array([5.0, 1.0]), 0.1)


# --- the grid ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("honest_weight", [1.0, 12.5])
def test_each_budget_is_kept_where_it_was_chosen_and_shown_where_it_was_tested(honest_weight: float) -> None:
    calibration, test = (rows_of(20_000, seed=seed, honest_weight=honest_weight) for seed in (1, 2))
    grid = budget_grid(calibration, test, known_honest=calibration.label == 0)
    assert [line["budget"] for line in grid] == list(BUDGETS)
    for line in grid:
        assert line["calibration"]["false_positive_rate"] <= line["budget"]
        assert line["calibration"]["false_positive_rate"] == pytest.approx(line["budget"], abs=3e-4)
        assert line["test"]["false_positive_rate"] == pytest.approx(line["budget"], abs=0.01)
    for name, falls in (("cut_off", True), ("recall", False), ("flagged_per_day", False)):
        column = [line[name] if name in line else line["test"][name] for line in grid]
        assert column == sorted(column, reverse=falls)
    assert json.loads(json.dumps(grid, allow_nan=False)) == grid


def test_an_honest_sample_shows_the_money_of_the_bank() -> None:
    whole = rows_of(200_000, seed=1)
    kept = (whole.label == 1) | (np.random.default_rng(0).random(len(whole.label)) < 0.1)
    weight = np.where(whole.label == 1, 1.0, 10.0)
    part = ScoredRows(whole.label[kept], whole.score[kept], whole.amount[kept], whole.tx_seconds[kept], weight[kept])
    for all_of_it, sample in zip(
        *(budget_grid(rows, rows, known_honest=rows.label == 0, budgets=(0.01, 0.05)) for rows in (whole, part)),
        strict=True,
    ):
        for name, value in all_of_it["test"].items():
            assert sample["test"][name] == pytest.approx(value, rel=0.05), name


def test_a_budget_that_no_cut_off_keeps_is_left_out() -> None:
    rows = rows_of(1000, seed=1)
    certain = rows.score.copy()
    certain[np.flatnonzero(rows.label == 0)[:30]] = 1.0
    rows = ScoredRows(rows.label, certain, rows.amount, rows.tx_seconds, rows.weight)
    grid = budget_grid(rows, rows, known_honest=rows.label == 0)
    assert [line["budget"] for line in grid] == [budget for budget in BUDGETS if budget > 30 / 900]
