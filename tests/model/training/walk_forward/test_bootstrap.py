import math

import numpy as np
import pytest

from model.training.walk_forward.bootstrap import Bootstrap, frauds_per_cluster, with_intervals
from tests.model.training.walk_forward.outcomes import random_outcomes


def interval_width(cluster: np.ndarray) -> float:
    tested = random_outcomes(2000)
    draws = Bootstrap(cluster, tested.weight, resamples=300, seed=1)
    sums = draws.sums(np.stack([tested.fraud & tested.flagged, tested.fraud], axis=1).astype(float))
    ends = with_intervals({"recall": 0.5}, {"recall": sums[:, 0] / sums[:, 1]})
    return ends["recall_high"] - ends["recall_low"]


def test_intervals_by_terminal_are_wider_than_by_row_where_frauds_share_terminals() -> None:
    tested = random_outcomes(2000)
    assert interval_width(tested.terminal) > 3 * interval_width(np.arange(2000))


def test_every_figure_is_computed_on_the_same_draws() -> None:
    tested = random_outcomes(100)
    weight = np.linspace(1, 2, 100)
    draws = Bootstrap(tested.terminal, weight, resamples=50, seed=3)
    columns = np.random.default_rng(1).random((100, 3))
    from_rows = np.concatenate(list(draws.weights())) @ columns
    assert draws.sums(columns) == pytest.approx(from_rows)
    assert draws.totals(columns) == pytest.approx(weight @ columns)
    assert draws.sums(columns[:, :1])[:, 0] == pytest.approx(from_rows[:, 0])


def test_whole_clusters_are_drawn() -> None:
    cluster = np.array([4, 4, 9, 9, 9])
    for weights in Bootstrap(cluster, np.ones(5), resamples=20, seed=1).weights():
        assert (weights[:, 0] == weights[:, 1]).all()
        assert (weights[:, 2] == weights[:, 4]).all()
        assert (weights[:, 0] + weights[:, 2] == 2).all()


def test_frauds_per_cluster_counts_what_the_average_fraud_shares() -> None:
    fraud = np.array([True, True, True, True, False])
    assert frauds_per_cluster(fraud, np.array([1, 1, 1, 2, 3])) == pytest.approx((9 + 1) / 4)
    assert math.isnan(frauds_per_cluster(np.zeros(5, dtype=bool), np.arange(5)))
