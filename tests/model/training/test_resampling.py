import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.ranking import MeasureError
from model.training.resampling import (
    Clusters,
    cluster_weights,
    fewest_resamples,
    percentile_interval,
    two_sided_p_value,
)


@given(cluster=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_rows_of_a_cluster_are_drawn_together_and_as_many_clusters_as_there_are(cluster: list[int], seed: int) -> None:
    weights = cluster_weights(np.array(cluster), np.random.default_rng(seed))
    drawn = {one: {weight for row, weight in zip(cluster, weights, strict=True) if row == one} for one in cluster}
    assert all(len(weight) == 1 for weight in drawn.values())
    assert sum(weight.pop() for weight in drawn.values()) == len(drawn)


def test_numbered_clusters_draw_as_plain_ones_do() -> None:
    cluster = np.random.default_rng(1).integers(0, 50, 400) * 10**12
    one, other = (cluster_weights(given, np.random.default_rng(2)) for given in (cluster, Clusters(cluster)))
    assert np.array_equal(one, other)


def test_many_draws_at_once_are_as_far_spread_as_single_ones() -> None:
    clusters = Clusters(np.arange(40))
    drawn = clusters.draw(np.random.default_rng(5), times=5000)
    assert drawn.shape == (5000, 40)
    assert set(drawn.sum(axis=1)) == {40}
    assert drawn.mean(axis=0) == pytest.approx(np.ones(40), abs=0.08)
    assert drawn.var(axis=0) == pytest.approx(np.full(40, 1 - 1 / 40), abs=0.1)


def test_the_interval_of_a_thousand_values_leaves_a_fortieth_out_on_each_side() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1, 1000)).astype(np.float64)
    assert percentile_interval(values, 0.05) == (25, 975)
    assert percentile_interval(values, 0.1) == (50, 950)


@given(
    values=st.lists(st.integers(-20, 20).map(float) | st.just(math.nan), min_size=39, max_size=120),
    alpha=st.sampled_from([0.05, 0.1, 0.2, 0.5]),
)
def test_the_interval_leaves_zero_out_exactly_where_the_p_value_is_at_most_alpha(
    values: list[float], alpha: float
) -> None:
    low, high = percentile_interval(values, alpha)
    assert low <= high
    assert (low > 0 or high < 0) == (two_sided_p_value(values) <= alpha)


def test_a_p_value_is_never_zero_and_never_above_one() -> None:
    assert two_sided_p_value(np.ones(999)) == pytest.approx(0.002)
    assert two_sided_p_value(np.zeros(999)) == 1
    assert two_sided_p_value(np.full(999, np.nan)) == 1


def test_values_that_are_unknown_widen_the_interval_on_both_sides() -> None:
    values = np.linspace(1, 2, 999)
    values[:25] = np.nan
    assert percentile_interval(values) == (-math.inf, math.inf)


@pytest.mark.parametrize(("alpha", "fewest"), [(0.05, 39), (0.1, 19), (0.01, 199)])
def test_too_few_resamples_for_an_interval_are_refused(alpha: float, fewest: int) -> None:
    assert fewest_resamples(alpha) == fewest
    assert percentile_interval(np.arange(float(fewest)), alpha) == (0, fewest - 1)
    with pytest.raises(MeasureError, match=f"at least {fewest} resamples"):
        percentile_interval(np.arange(float(fewest - 1)), alpha)
