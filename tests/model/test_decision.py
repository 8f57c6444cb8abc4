import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.decision import (
    DECISIONS,
    DECLINED_BUDGET,
    FLAGGED_BUDGET,
    CutOffError,
    CutOffs,
    choose_cutoffs,
    decide,
    decide_many,
)

probabilities = st.floats(0, 1)
coarse = st.integers(0, 9).map(lambda tenth: tenth / 10)  # many ties
honest_scores = st.lists(st.floats(0, 1, exclude_max=True), min_size=1) | st.lists(coarse, min_size=1, max_size=300)
budgets = st.tuples(st.floats(0.001, 0.999), st.floats(0.001, 0.999)).map(sorted)
cutoff_pairs = st.tuples(probabilities, probabilities).map(lambda pair: CutOffs(min(pair), max(pair)))


def share_at_or_above(scores: list[float], cutoff: float) -> float:
    return sum(score >= cutoff for score in scores) / len(scores)


def test_a_score_at_or_above_a_cut_off_acts() -> None:
    cutoffs = CutOffs(review=0.2, decline=0.8)
    decisions = [decide(score, cutoffs) for score in (0.0, 0.1999, 0.2, 0.7999, 0.8, 1.0)]
    assert decisions == ["approve", "approve", "review", "review", "decline", "decline"]


def test_equal_cut_offs_leave_nothing_to_review() -> None:
    assert [decide(score, CutOffs(0.5, 0.5)) for score in (0.4, 0.5)] == ["approve", "decline"]


@given(cutoff_pairs, st.lists(probabilities))
def test_many_decisions_equal_one_by_one(cutoffs: CutOffs, scores: list[float]) -> None:
    assert decide_many(scores, cutoffs).tolist() == [decide(score, cutoffs) for score in scores]


@given(cutoff_pairs, probabilities, probabilities)
def test_a_higher_score_never_softens_a_decision(cutoffs: CutOffs, one: float, other: float) -> None:
    softer, harder = decide(min(one, other), cutoffs), decide(max(one, other), cutoffs)
    assert DECISIONS.index(softer) <= DECISIONS.index(harder)


def test_a_score_that_is_not_a_number_is_never_approved() -> None:
    cutoffs = CutOffs(0.2, 0.8)
    with pytest.raises(CutOffError, match="not NaN"):
        decide(math.nan, cutoffs)
    with pytest.raises(CutOffError, match="not NaN"):
        decide_many([0.1, math.nan], cutoffs)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1, 1.1, "0.5", None])
@pytest.mark.parametrize("field", ["review", "decline"])
def test_a_cut_off_that_is_no_probability_is_refused_by_name(field: str, bad: float) -> None:
    values = {"review": 0.0, "decline": 1.0} | {field: bad}
    with pytest.raises(CutOffError, match=f"the {field} cut-off must be a number from 0 to 1"):
        CutOffs(**values)


def test_a_review_cut_off_above_the_decline_cut_off_is_refused() -> None:
    with pytest.raises(CutOffError, match="review cut-off must not be above the decline cut-off"):
        CutOffs(review=0.6, decline=0.5)


def test_cut_offs_of_a_hundred_even_scores_flag_five_and_decline_one() -> None:
    scores = np.arange(100) / 100
    cutoffs = choose_cutoffs(scores)
    assert decide_many(scores, cutoffs).tolist() == ["approve"] * 95 + ["review"] * 4 + ["decline"]
    assert cutoffs.review == pytest.approx(0.94, abs=2e-9)
    assert cutoffs.decline == pytest.approx(0.98, abs=2e-9)


def test_equal_scores_that_would_exceed_the_budget_are_all_let_through() -> None:
    scores = [0.1] * 90 + [0.7] * 8 + [0.9] * 2
    cutoffs = choose_cutoffs(scores, flagged_budget=0.05, declined_budget=0.01)
    assert [share_at_or_above(scores, cutoff) for cutoff in (cutoffs.review, cutoffs.decline)] == [0.02, 0.0]


def test_a_cut_off_is_not_crossed_by_the_rounding_of_another_implementation() -> None:
    scores = [0.1] * 50 + [0.3] * 50
    assert choose_cutoffs(scores).review > 0.3 + 1e-13


def test_a_share_exactly_at_the_budget_is_used_in_full() -> None:
    scores = np.arange(100) / 100
    cutoffs = choose_cutoffs(scores, flagged_budget=0.29, declined_budget=0.07)
    assert [(scores >= cutoffs.review).sum(), (scores >= cutoffs.decline).sum()] == [29, 7]


@given(honest_scores, budgets)
def test_no_budget_is_exceeded_and_the_next_lower_score_would_exceed_it(
    scores: list[float], budgets: list[float]
) -> None:
    declined, flagged = budgets
    cutoffs = choose_cutoffs(scores, flagged_budget=flagged, declined_budget=declined)
    for cutoff, budget in ((cutoffs.review, flagged), (cutoffs.decline, declined)):
        assert share_at_or_above(scores, cutoff) <= budget
        next_lower = max(score for score in scores if score < cutoff)
        assert share_at_or_above(scores, next_lower) > budget


def test_the_budgets_are_the_required_ones_unless_said() -> None:
    assert (FLAGGED_BUDGET, DECLINED_BUDGET) == (0.05, 0.01)
    scores = np.linspace(0, 1, 1001)
    assert choose_cutoffs(scores) == choose_cutoffs(scores, flagged_budget=0.05, declined_budget=0.01)


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_budget_that_is_no_share_is_refused_by_name(budget: float) -> None:
    with pytest.raises(CutOffError, match="the flagged budget must be above 0 and below 1"):
        choose_cutoffs([0.1], flagged_budget=budget)
    with pytest.raises(CutOffError, match="the declined budget must be above 0 and below 1"):
        choose_cutoffs([0.1], declined_budget=budget)


def test_declining_more_than_is_flagged_is_refused() -> None:
    with pytest.raises(CutOffError, match="declined budget must not be above the flagged budget"):
        choose_cutoffs([0.1], flagged_budget=0.05, declined_budget=0.06)


@pytest.mark.parametrize(
    ("scores", "rule"),
    [
        ([], "at least one honest transaction"),
        ([0.1, math.nan], "number from 0 to 1"),
        ([1.1], "number from 0 to 1"),
        ([1.0, 0.2], "too many honest scores equal 1"),
    ],
)
def test_honest_scores_that_allow_no_cut_off_are_refused(scores: list[float], rule: str) -> None:
    with pytest.raises(CutOffError, match=rule):
        choose_cutoffs(scores)
