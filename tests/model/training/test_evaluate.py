import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.decision import CutOffs
from model.training.evaluate import EvaluationError, evaluate, expected_calibration_error, recall_at_fpr
from model.training.evaluation import FPR_REQUIRED, RECALL_REQUIRED
from tests.model.training.evaluated import DAY, JULY, TINY_CUTOFFS, evaluate_tiny

rows = st.lists(
    st.tuples(
        st.booleans(),
        st.floats(0, 1) | st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.floats(0, 1e6),
        st.integers(0, 40 * DAY),
    ),
    min_size=1,
    max_size=60,
)
cutoff_pairs = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda pair: CutOffs(min(pair), max(pair)))


def best_recall_by_trying_every_cutoff(label: list[int], score: list[float], budget: float) -> float:
    frauds, honest = sum(label), len(label) - sum(label)
    best = 0.0
    for cutoff in score:
        flagged = [fraud for fraud, one in zip(label, score, strict=True) if one >= cutoff]
        if (len(flagged) - sum(flagged)) / honest <= budget:
            best = max(best, sum(flagged) / frauds)
    return best


def same(left: float, right: float) -> bool:
    return left == pytest.approx(right, rel=1e-9, abs=1e-12, nan_ok=True)


def test_the_review_cut_off_of_six_payments_is_as_counted_by_hand() -> None:
    review = evaluate_tiny().review
    assert (review.cut_off, review.recall, review.false_positive_rate) == (0.5, 1 / 2, 2 / 4)
    assert (review.precision, review.f1) == pytest.approx((1 / 3, 2 / 5))
    assert review.frauds_passed_per_100_transactions == pytest.approx(100 / 6)
    assert review.flagged_per_day == 3 / 2
    assert review.money_passed_per_month == pytest.approx(40 * 15)
    assert review.money_falsely_stopped_per_month == pytest.approx((10 + 20) * 15)


def test_the_decline_cut_off_of_six_payments_is_as_counted_by_hand() -> None:
    decline = evaluate_tiny().decline
    assert (decline.recall, decline.false_positive_rate, decline.precision) == (0.5, 0.0, 1.0)
    assert decline.f1 == pytest.approx(2 / 3)
    assert (decline.money_passed_per_month, decline.money_falsely_stopped_per_month) == pytest.approx((600, 0))


def test_the_ranking_of_six_payments_is_as_counted_by_hand() -> None:
    evaluation = evaluate_tiny()
    assert evaluation.roc_auc == pytest.approx(6 / 8)
    assert evaluation.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert (evaluation.recall_at_fpr_5pct, evaluation.recall_at_fpr_1pct) == (0.5, 0.5)
    assert evaluation.brier_score == pytest.approx((0.01 + 0.49 + 0.64 + 0.25 + 0.04 + 0.01) / 6)


def test_the_tested_days_are_counted_in_utc_with_both_ends() -> None:
    evaluation = evaluate_tiny()
    assert (evaluation.first_day.isoformat(), evaluation.last_day.isoformat()) == ("2018-07-01", "2018-07-02")
    assert (evaluation.days, evaluation.rows, evaluation.frauds) == (2, 6, 2)
    assert evaluation.fraud_share == pytest.approx(1 / 3)


def test_weeks_are_counted_from_the_first_tested_day_and_the_last_one_may_be_short() -> None:
    columns: dict[str, Any] = {"label": [1, 0, 1], "score": [0.9, 0.6, 0.1], "amount": [1, 1, 1]}
    seconds = [JULY, JULY + 7 * DAY - 1, JULY + 7 * DAY]
    first, second = evaluate(**columns, tx_seconds=seconds, cutoffs=TINY_CUTOFFS).weeks
    assert (str(first.first_day), str(first.last_day), first.rows, first.frauds) == ("2018-07-01", "2018-07-07", 2, 1)
    assert (str(second.first_day), str(second.last_day), second.rows) == ("2018-07-08", "2018-07-08", 1)
    assert (first.review_recall, first.review_false_positive_rate) == (1.0, 1.0)
    assert (first.decline_recall, first.decline_false_positive_rate) == (1.0, 0.0)
    assert second.review_recall == 0.0
    assert math.isnan(second.review_false_positive_rate)


def test_recall_at_a_false_positive_rate_takes_equal_scores_together() -> None:
    label = [1, 1, 0, 0]
    assert recall_at_fpr(label, [0.9, 0.5, 0.5, 0.1], 0.49) == 0.5
    assert recall_at_fpr(label, [0.9, 0.5, 0.5, 0.1], 0.5) == 1.0
    assert recall_at_fpr(label, [0.5, 0.5, 0.5, 0.5], 0.99) == 0.0


def test_recall_at_a_false_positive_rate_uses_a_budget_in_full() -> None:
    label = [0] * 100 + [1]
    score = [*range(100), 93.5]
    assert [recall_at_fpr(label, score, budget) for budget in (0.05, 0.06)] == [0.0, 1.0]


def test_recall_at_a_false_positive_rate_takes_margins_as_well_as_scores() -> None:
    assert recall_at_fpr([1, 0], [3.0, -7.0], 0.01) == 1.0


@given(rows, st.floats(0, 1))
def test_recall_at_a_false_positive_rate_equals_trying_every_cut_off(
    rows: list[tuple[bool, float, float, int]], budget: float
) -> None:
    label, score = [int(row[0]) for row in rows], [row[1] for row in rows]
    if sum(label) in (0, len(label)):
        assert math.isnan(recall_at_fpr(label, score, budget))
        return
    assert same(recall_at_fpr(label, score, budget), best_recall_by_trying_every_cutoff(label, score, budget))


@given(rows, cutoff_pairs)
def test_every_figure_at_a_cut_off_equals_counting_row_by_row(
    rows: list[tuple[bool, float, float, int]], cutoffs: CutOffs
) -> None:
    label, score, amount, seconds = map(list, zip(*rows, strict=True))
    evaluation = evaluate(label=label, score=score, amount=amount, tx_seconds=seconds, cutoffs=cutoffs)
    days = max(seconds) // DAY - min(seconds) // DAY + 1
    for at_cutoff in (evaluation.review, evaluation.decline):
        found = sum(fraud and one >= at_cutoff.cut_off for fraud, one, _, _ in rows)
        missed = [money for fraud, one, money, _ in rows if fraud and one < at_cutoff.cut_off]
        stopped = [money for fraud, one, money, _ in rows if not fraud and one >= at_cutoff.cut_off]
        frauds, flagged = found + len(missed), found + len(stopped)
        honest = len(rows) - frauds
        assert same(at_cutoff.recall, found / frauds if frauds else math.nan)
        assert same(at_cutoff.false_positive_rate, len(stopped) / honest if honest else math.nan)
        assert same(at_cutoff.precision, found / flagged if flagged else math.nan)
        assert same(at_cutoff.f1, 2 * found / (flagged + frauds) if frauds else math.nan)
        assert same(at_cutoff.frauds_passed_per_100_transactions, 100 * len(missed) / len(rows))
        assert same(at_cutoff.flagged_per_day, flagged / days)
        assert same(at_cutoff.money_passed_per_month, sum(missed) * 30 / days)
        assert same(at_cutoff.money_falsely_stopped_per_month, sum(stopped) * 30 / days)


@given(rows, cutoff_pairs)
def test_weeks_add_up_to_the_whole_period(rows: list[tuple[bool, float, float, int]], cutoffs: CutOffs) -> None:
    label, score, amount, seconds = map(list, zip(*rows, strict=True))
    evaluation = evaluate(label=label, score=score, amount=amount, tx_seconds=seconds, cutoffs=cutoffs)
    weeks = evaluation.weeks
    assert sum(week.rows for week in weeks) == evaluation.rows
    assert sum(week.frauds for week in weeks) == evaluation.frauds
    found = sum(week.review_recall * week.frauds for week in weeks if week.frauds)
    assert same(found, evaluation.review.recall * evaluation.frauds if evaluation.frauds else 0.0)


@given(rows, cutoff_pairs, st.randoms())
def test_the_order_of_rows_does_not_matter(
    rows: list[tuple[bool, float, float, int]], cutoffs: CutOffs, random: Any
) -> None:
    shuffled = random.sample(rows, len(rows))
    figures = [
        evaluate(label=label, score=score, amount=amount, tx_seconds=seconds, cutoffs=cutoffs).metrics()
        for label, score, amount, seconds in (zip(*order, strict=True) for order in (rows, shuffled))
    ]
    assert figures[0] == pytest.approx(figures[1], rel=1e-9, abs=1e-12)


@given(rows)
def test_the_calibration_error_equals_summing_bin_by_bin(rows: list[tuple[bool, float, float, int]]) -> None:
    label, score = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    edges = [-1.0, *np.quantile(score, np.arange(1, 10) / 10), 1.0]
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (score > low) & (score <= high)
        if inside.any():
            expected += inside.mean() * abs(score[inside].mean() - label[inside].mean())
    assert same(expected_calibration_error(label, score), expected)


def test_scores_that_are_the_fraud_share_are_calibrated() -> None:
    label = [0, 1] * 50 + [0] * 100
    assert expected_calibration_error(label, [0.5] * 100 + [0.0] * 100) == 0.0
    assert expected_calibration_error(label, [0.7] * 100 + [0.1] * 100) == pytest.approx(0.15)


def test_json_names_are_plain_and_the_figures_survive_a_round_trip() -> None:
    figures = evaluate_tiny().as_dict()
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["recall_at_fpr_5pct"] == figures["recall_at_fpr_1pct"] == 0.5
    assert (figures["review_recall"], figures["decline_false_positive_rate"]) == (0.5, 0.0)
    assert figures["money_passed_per_month"] == figures["review_money_passed_per_month"] == pytest.approx(600)
    assert (figures["first_day"], figures["weeks"][0]["last_day"]) == ("2018-07-01", "2018-07-02")


def test_metrics_are_flat_finite_floats() -> None:
    metrics = evaluate_tiny(label=[0] * 6).metrics()
    assert all(isinstance(value, float) and math.isfinite(value) for value in metrics.values())
    assert "review_recall" not in metrics
    assert metrics["review_false_positive_rate"] == 0.5


def test_without_a_fraud_the_figures_that_need_one_are_not_available() -> None:
    evaluation = evaluate_tiny(label=[0] * 6)
    assert math.isnan(evaluation.roc_auc)
    assert math.isnan(evaluation.average_precision)
    assert math.isnan(evaluation.review.f1)
    assert evaluation.as_dict()["recall_at_fpr_5pct"] is None
    assert evaluation.review_meets_requirement is None


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        ({"score": [math.nan] * 2 + [0.5] * 4}, "score must be finite in every row; 2 of 6 are not"),
        ({"score": [1.5] * 6}, "score must be from 0 to 1"),
        ({"score": ["high"] * 6}, "score must be a column of numbers"),
        ({"score": [[0.5] * 6]}, "score must be a column with at least one row"),
        ({"label": [2] * 6}, "label must be 0 or 1"),
        ({"label": [1]}, "label has 1, score has 6"),
        ({"amount": [-1] * 6}, "amount must not be negative"),
        ({"amount": [math.inf] * 6}, "amount must be finite"),
        ({"tx_seconds": [1e15] * 6}, "tx_seconds must be seconds since 1970"),
        ({"label": [], "score": [], "amount": [], "tx_seconds": []}, "at least one row"),
    ],
)
def test_a_column_that_cannot_be_evaluated_is_named_with_its_rule(columns: dict[str, Any], rule: str) -> None:
    with pytest.raises(EvaluationError, match=rule):
        evaluate_tiny(**columns)


def test_a_false_positive_rate_outside_zero_to_one_is_refused() -> None:
    with pytest.raises(EvaluationError, match="fpr must be a number from 0 to 1"):
        recall_at_fpr([0, 1], [0.1, 0.2], 1.5)


def test_the_requirement_is_met_only_with_both_sides_kept_by_the_cut_off_chosen_beforehand() -> None:
    evaluation = evaluate_tiny()
    review = evaluation.review

    def met(recall: float, fpr: float) -> bool | None:
        chosen = replace(review, recall=recall, false_positive_rate=fpr)
        return replace(evaluation, review=chosen).review_meets_requirement

    assert met(RECALL_REQUIRED, FPR_REQUIRED) is True
    assert met(0.9499, 0.05) is False
    assert met(0.95, 0.0501) is False
    assert met(math.nan, 0.01) is None


# --- rows that stand for several --------------------------------------------------------------------------------------


@given(rows, st.data())
def test_a_row_of_weight_three_counts_as_three_equal_rows(
    drawn: list[tuple[bool, float, float, int]], data: st.DataObject
) -> None:
    weight = data.draw(st.lists(st.integers(1, 4), min_size=len(drawn), max_size=len(drawn)))
    cutoffs = data.draw(cutoff_pairs)
    names = ("label", "score", "amount", "tx_seconds")
    table = np.array(drawn, dtype=np.float64).T
    columns: dict[str, Any] = dict(zip(names, table, strict=True))
    weighted = evaluate(**columns, cutoffs=cutoffs, weight=weight)
    several: dict[str, Any] = {name: np.repeat(column, weight) for name, column in columns.items()}
    repeated = evaluate(**several, cutoffs=cutoffs)
    assert (weighted.rows, weighted.frauds, weighted.days) == (repeated.rows, repeated.frauds, repeated.days)
    assert (weighted.sampled_rows, repeated.sampled_rows) == (len(drawn), sum(weight))
    # Bins of scores are cut a little elsewhere where rows are whole; everything else is the same.
    apart = {"sampled_rows", "expected_calibration_error"}
    for name, value in repeated.metrics().items():
        assert name in apart or same(value, weighted.metrics()[name]), name
    assert all(
        same(getattr(one, name), getattr(other, name))
        for one, other in zip(weighted.weeks, repeated.weeks, strict=True)
        for name in ("rows", "frauds", "review_recall", "decline_false_positive_rate")
    )


def test_weights_of_one_change_nothing_to_the_last_bit() -> None:
    rng = np.random.default_rng(4)
    columns: dict[str, Any] = {
        "label": rng.random(500) < 0.1,
        "score": rng.random(500).round(2),
        "amount": rng.random(500) * 100,
        "tx_seconds": JULY + rng.integers(0, 20 * DAY, 500),
    }
    plain = evaluate(**columns, cutoffs=TINY_CUTOFFS)
    assert evaluate(**columns, cutoffs=TINY_CUTOFFS, weight=np.ones(500)) == plain
    assert not plain.is_sampled


def test_weighted_calibration_error_is_that_of_the_bank_and_not_of_the_sample() -> None:
    """Scores that are right for all transactions look wrong in a sample with too many frauds, and must not."""
    rng = np.random.default_rng(4)
    score = rng.beta(0.3, 10, 400_000)
    label = rng.random(score.size) < score
    kept = label | (rng.random(score.size) < 0.05)
    weight = np.where(label, 1.0, 20.0)[kept]
    assert expected_calibration_error(label[kept], score[kept]) > 0.1
    assert expected_calibration_error(label[kept], score[kept], weight=weight) < 0.002


@pytest.mark.parametrize(
    ("weight", "words"), [([1, 1, 0, 1, 1, 1], "above 0"), ([1] * 5, "weight 5"), ([math.nan] * 6, "finite")]
)
def test_a_weight_that_says_nothing_is_refused(weight: list[float], words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        evaluate_tiny(weight=weight)


# --- what passes --------------------------------------------------------------------------------------------------


def test_losses_are_held_against_the_limit_and_the_rule_of_two_in_a_hundred() -> None:
    within, above = (evaluate_tiny(monthly_loss_limit=limit) for limit in (600, 599.9))
    assert within.losses_within_limit
    assert not above.losses_within_limit
    assert not within.two_per_hundred_kept
    assert evaluate_tiny(score=[1, 1, 0, 0, 0, 0]).two_per_hundred_kept
    told = json.loads(json.dumps(above.as_dict()))
    assert (told["monthly_loss_limit"], told["losses_within_limit"], told["two_per_hundred_kept"]) == (
        599.9,
        False,
        False,
    )
    assert not {"monthly_loss_limit", "losses_within_limit"} & set(above.metrics())
