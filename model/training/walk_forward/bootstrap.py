"""Intervals that respect that frauds come in runs: whole terminals, customers or days are drawn again, never rows."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse import csr_matrix

from model.statistics import Floats, Integers
from model.training.measures import Clusters, Ranking, percentile_interval
from model.training.walk_forward.tested import Outcomes

ALPHA = 0.05  # intervals of level 95 %
DRAWS_AT_ONCE = 16  # each takes one weight per tested row while a ranking is measured

ClusterKind = Literal["terminal", "customer", "day"]
CLUSTER_KINDS: tuple[ClusterKind, ...] = get_args(ClusterKind)


class Bootstrap:
    """Draws of clusters with replacement, the same ones each time they are asked for.

    One set of draws serves every figure, so that differences between figures are differences on the same draws.

    Parameters
    ----------
    cluster
        Each row's cluster, (n,).
    weight
        How many transactions each row stands for, (n,).
    """

    def __init__(self, cluster: Integers, weight: Floats, *, resamples: int, seed: int) -> None:
        self._clusters = Clusters(cluster)
        self._weight = weight
        self._resamples, self._seed = resamples, seed
        n = len(weight)
        # Row c of this matrix adds up the rows of cluster c.
        self._adding_up = csr_matrix((weight, (self._clusters.place, np.arange(n))), shape=(self._clusters.n, n))

    @property
    def clusters(self) -> int:
        """How many different clusters there are."""
        return self._clusters.n

    def totals(self, columns: Any) -> Floats:
        """Return the weighted sums of columns (n, k), dense or sparse, as they are, (k,)."""
        return np.asarray(self._weight @ columns, dtype=np.float64).ravel()

    def sums(self, columns: Any) -> Floats:
        """Return the weighted sums of columns (n, k), dense or sparse, under each draw, (resamples, k)."""
        by_cluster = self._adding_up @ columns
        return np.concatenate([np.asarray((by_cluster.T @ drawn.T).T) for drawn in self._draws()])

    def weights(self) -> Iterator[Floats]:
        """Yield the weight of each row under some draws at a time, (b, n)."""
        for drawn in self._draws():
            yield drawn.take(self._clusters.place, axis=1) * self._weight

    def _draws(self) -> Iterator[Floats]:
        rng = np.random.default_rng(self._seed)
        for done in range(0, self._resamples, DRAWS_AT_ONCE):
            yield self._clusters.draw(rng, min(DRAWS_AT_ONCE, self._resamples - done))


def bootstrap_of(tested: Outcomes, *, by: ClusterKind, resamples: int, seed: int) -> Bootstrap:
    """Return the draws of tested transactions by one kind of cluster."""
    return Bootstrap(getattr(tested, by), tested.weight, resamples=resamples, seed=seed)


def ranking_figures(ranking: Ranking, weight: Floats, *, shares: Mapping[str, float]) -> dict[str, Floats]:
    """Return a ranking's measures under weightings (b, n), each (b,); `shares` are false positive rates by name."""
    curve = ranking.curve(weight)
    recalls = {name: curve.recall_at_fpr(share) for name, share in shares.items()}
    return {"roc_auc": curve.roc_auc, "average_precision": curve.average_precision, **recalls}


def with_intervals(figures: Mapping[str, float], resampled: Mapping[str, Floats]) -> dict[str, float]:
    """Return each figure, and with `_low` and `_high` behind its name the ends of its interval."""
    answer: dict[str, float] = {}
    for name, value in figures.items():
        answer[name] = float(value)
        if name in resampled:
            answer[f"{name}_low"], answer[f"{name}_high"] = percentile_interval(resampled[name], ALPHA)
    return answer


def frauds_per_cluster(fraud: Any, cluster: Integers) -> float:
    """Return how many frauds share a cluster with the average fraud, itself included; NaN without a fraud.

    The larger it is, the more rows would overstate what is known: intervals from rows would be too narrow by about its
    square root.
    """
    counts = np.unique(cluster[fraud], return_counts=True)[1]
    return float((counts**2).sum() / counts.sum()) if len(counts) else math.nan
