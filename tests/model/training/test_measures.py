import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from model.decision import CutOffs
from model.training.measures import (
    Clusters,
    Costs,
    MeasureError,
    Ranking,
    cluster_weights,
    confusion,
    expected_calibration_error,
    expected_loss,
    f1,
    fpr,
    precision,
    quantile_bins,
    recall,
    row_losses,
)

CUTOFFS = CutOffs(review=0.5, decline=0.8)

# Rows of label, score and weight; few different scores, so that many are equal.
rows = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=40,
)
shares = st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0]) | st.floats(0, 1)


def columns(drawn: list[tuple[int, float, int]]) -> tuple[Any, Any, Any]:
    label, score, weight = (np.array(column) for column in zip(*drawn, strict=True))
    return label, score.astype(np.float64), weight


def repeated(label: Any, score: Any, weight: Any) -> tuple[Any, Any]:
    return np.repeat(label, weight), np.repeat(score, weight)


def same(left: float, right: float) -> bool:
    return left == pytest.approx(right, rel=1e-9, abs=1e-12, nan_ok=True)


def one_sided(label: Any) -> bool:
    return len(np.unique(label)) < 2


def sklearn_recall_at_fpr(label: Any, score: Any, share: float) -> float:
    reached, found, _ = roc_curve(label, score, drop_intermediate=False)
    return float(found[reached <= share].max())


@given(drawn=rows, share=shares)
def test_a_ranking_measures_as_scikit_learn_does(drawn: list[tuple[int, float, int]], share: float) -> None:
    label, score, _ = columns(drawn)
    ranking = Ranking(label, score)
    got = ranking.roc_auc(), ranking.average_precision(), ranking.recall_at_fpr(share)
    if one_sided(label):
        assert all(math.isnan(value) for value in got)
        return
    assert same(got[0], roc_auc_score(label, score))
    assert same(got[1], average_precision_score(label, score))
    assert same(got[2], sklearn_recall_at_fpr(label, score, share))


@given(drawn=rows, share=shares)
def test_a_row_of_weight_three_counts_as_three_rows(drawn: list[tuple[int, float, int]], share: float) -> None:
    label, score, weight = columns(drawn)
    ranking = Ranking(label, score)
    got = ranking.roc_auc(weight), ranking.average_precision(weight), ranking.recall_at_fpr(share, weight)
    labels, scores = repeated(label, score, weight)
    if one_sided(labels):
        assert all(math.isnan(value) for value in got)
        return
    assert same(got[0], roc_auc_score(labels, scores))
    assert same(got[1], average_precision_score(labels, scores))
    assert same(got[2], sklearn_recall_at_fpr(labels, scores, share))
    assert same(got[0], roc_auc_score(label, score, sample_weight=weight))
    assert same(got[1], average_precision_score(label, score, sample_weight=weight))


@given(drawn=rows, seed=st.integers(0, 2**32 - 1))
def test_many_weightings_at_once_equal_one_after_the_other(drawn: list[tuple[int, float, int]], seed: int) -> None:
    label, score, _ = columns(drawn)
    weights = np.random.default_rng(seed).integers(0, 3, (5, len(label))).astype(np.float64)
    ranking = Ranking(label, score)
    curve = ranking.curve(weights)
    for place, weight in enumerate(weights):
        assert same(float(curve.roc_auc[place]), ranking.roc_auc(weight))
        assert same(float(curve.average_precision[place]), ranking.average_precision(weight))
        assert same(float(curve.recall_at_fpr(0.3)[place]), ranking.recall_at_fpr(0.3, weight))


@given(drawn=rows, seed=st.integers(0, 2**32 - 1))
def test_sums_of_weights_give_the_curve_that_the_weights_give(drawn: list[tuple[int, float, int]], seed: int) -> None:
    label, score, _ = columns(drawn)
    weight = np.random.default_rng(seed).integers(0, 3, len(label)).astype(np.float64)
    ranking = Ranking(label, score)
    sums = np.bincount(ranking.sum_of_row(), weight, minlength=ranking.n_sums).astype(np.float64)
    assert sums.shape == (ranking.n_sums,)
    one, other = ranking.curve(weight), ranking.curve_of(sums)
    for name in ("found", "alarms", "alarms_above", "honest"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


@given(drawn=rows, cutoff=st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1))
def test_a_cut_off_is_measured_as_scikit_learn_does(drawn: list[tuple[int, float, int]], cutoff: float) -> None:
    label, score, weight = columns(drawn)
    labels, scores = repeated(label, score, weight)
    if not len(labels):
        assert math.isnan(precision(label, score, cutoff, weight))
        return
    flagged = scores >= cutoff
    exact = precision_recall_fscore_support(labels, flagged, average="binary", zero_division=np.nan)
    if labels.any():
        assert same(recall(label, score, cutoff, weight), exact[1])
        assert same(f1(label, score, cutoff, weight), exact[2])
    else:
        assert math.isnan(recall(label, score, cutoff, weight))
        assert math.isnan(f1(label, score, cutoff, weight))
    assert same(precision(label, score, cutoff, weight), exact[0])
    expected = flagged[labels == 0].mean() if (labels == 0).any() else math.nan
    assert same(fpr(label, score, cutoff, weight), expected)
    assert same(fpr(labels, scores, cutoff), expected)


@given(drawn=rows)
def test_the_calibration_error_of_weighted_rows_is_that_of_repeated_ones(drawn: list[tuple[int, float, int]]) -> None:
    label, score, weight = columns(drawn)
    got = expected_calibration_error(label, score, weight)
    if not weight.any():
        assert math.isnan(got)
        return
    labels, scores = repeated(label, score, weight)
    assert same(got, expected_calibration_error(labels, scores))
    edges = np.quantile(scores, np.arange(1, 10) / 10, method="inverted_cdf")
    bins = edges.searchsorted(scores)
    by_hand = [abs((scores[bins == one] - labels[bins == one]).sum()) for one in range(10)]
    assert same(got, sum(by_hand) / len(scores))


def test_given_bins_save_the_sort_and_give_the_same_error() -> None:
    rng = np.random.default_rng(1)
    score, weight = rng.random(2000), rng.random(2000)
    label = (rng.random(2000) < score).astype(int)
    bins = quantile_bins(score, weight)
    assert np.bincount(bins).size == 10
    assert np.bincount(bins, weight) / weight.sum() == pytest.approx(np.full(10, 0.1), abs=2e-3)
    given_bins = expected_calibration_error(label, score, weight, bins=bins)
    assert given_bins == expected_calibration_error(label, score, weight)


def test_losses_of_six_decisions_are_as_counted_by_hand() -> None:
    label, score = np.array([1, 1, 1, 0, 0, 0]), np.array([0.1, 0.5, 0.9, 0.1, 0.5, 0.9])
    amount = np.array([100.0, 40, 10, 20, 30, 60])
    costs = Costs(review=2.0, declined_share=0.1)
    losses = row_losses(label, score, amount, cutoffs=CUTOFFS, costs=costs)
    assert losses.tolist() == [100, 2, 0, 0, 2, 6]
    assert expected_loss(label, score, amount, cutoffs=CUTOFFS, costs=costs) == pytest.approx(110 / 6)
    weight = [0, 1, 1, 1, 1, 2]
    weighted = expected_loss(label, score, amount, cutoffs=CUTOFFS, costs=costs, weight=weight)
    assert weighted == pytest.approx((2 + 2 + 12) / 6)
    nothing = expected_loss(label, score, amount, cutoffs=CUTOFFS, costs=costs, weight=np.zeros(6))
    assert math.isnan(nothing)


@pytest.mark.parametrize("field", ["review", "declined_share"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_a_cost_that_is_none_is_refused(field: str, value: float) -> None:
    with pytest.raises(MeasureError, match=field):
        Costs(**{field: value})


def test_the_four_kinds_of_rows_add_up_to_all_weights() -> None:
    kinds = confusion([1, 1, 0, 0, 0], [0.9, 0.1, 0.9, 0.1, 0.2], 0.5, [1, 2, 4, 8, 16])
    assert (kinds.found, kinds.missed, kinds.false_alarms, kinds.passed) == (1, 2, 4, 24)


@pytest.mark.parametrize(
    ("label", "score", "words"),
    [
        ([1, 2], [0.1, 0.2], "label must be 0 or 1"),
        ([1, 0], [0.1, math.nan], "score must be finite in every row; 1 of 2 are not"),
        ([1, 0], [0.1], "label has 2, score has 1"),
        ([], [], "at least one row"),
        (["honest"], [0.1], "label must be a column of numbers"),
    ],
)
def test_a_broken_column_is_named(label: Any, score: Any, words: str) -> None:
    with pytest.raises(MeasureError, match=words):
        Ranking(label, score)


def test_a_weight_of_another_length_and_a_share_above_one_are_refused() -> None:
    ranking = Ranking([1, 0], [0.2, 0.1])
    with pytest.raises(MeasureError, match="2 values a weighting"):
        ranking.roc_auc([1.0, 2.0, 3.0])
    with pytest.raises(MeasureError, match="from 0 to 1"):
        ranking.recall_at_fpr(1.5)


def test_a_resample_of_two_hundred_thousand_rows_is_measured_in_milliseconds() -> None:
    rng = np.random.default_rng(3)
    n = 200_000
    label = (rng.random(n) < 0.008).astype(int)
    score = np.round(rng.random(n) + label, 6)
    ranking, clusters = Ranking(label, score), Clusters(rng.integers(0, 5000, n))
    spent = []
    for _ in range(5):
        begun = time.process_time()
        curve = ranking.curve(cluster_weights(clusters, rng))
        assert float(curve.roc_auc) > 0.9
        assert float(curve.recall_at_fpr(0.05)) > 0.9
        assert float(curve.average_precision) > 0.5
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.05  # some 3 ms; a sort alone would take 20
