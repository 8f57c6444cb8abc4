"""The bootstrap over clusters: what is drawn, and the interval and p-value that the drawn values give."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from model.training.ranking import MeasureError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Clusters:
    """Rows that belong together, to be drawn together; numbered once, drawn from again and again.

    Parameters
    ----------
    cluster
        Integer of each row's cluster, such as the hashed customer, (n,).
    """

    def __init__(self, cluster: ArrayLike) -> None:
        different, place = np.unique(np.asarray(cluster), return_inverse=True)
        self.n = len(different)
        self.place: Integers = place.astype(np.int64).ravel()

    def draw(self, rng: np.random.Generator, times: int = 1) -> Floats:
        """Draw as many clusters as there are, with replacement; return how often each was drawn, (times, n)."""
        drawn = rng.integers(0, self.n, (times, self.n))
        drawn += np.arange(times)[:, np.newaxis] * self.n
        return np.bincount(drawn.ravel(), minlength=times * self.n).reshape(times, self.n).astype(np.float64)

    def weights(self, rng: np.random.Generator) -> Floats:
        """Draw once; return how often the cluster of each row was drawn, (n rows,)."""
        weights: Floats = self.draw(rng)[0].take(self.place)
        return weights


def cluster_weights(cluster: ArrayLike | Clusters, rng: np.random.Generator) -> Floats:
    """Return how often each row's cluster was drawn by one bootstrap over clusters, (n,).

    Parameters
    ----------
    cluster
        Integer of each row's cluster, (n,). Pass a `Clusters` to draw many times: numbering them needs a sort.
    """
    return (cluster if isinstance(cluster, Clusters) else Clusters(cluster)).weights(rng)


def percentile_interval(resampled: ArrayLike, alpha: float = 0.05) -> tuple[float, float]:
    """Return the percentile interval of level 1 - `alpha` from b resampled values.

    Its ends are values of the sample: the k-th from below and from above, k = floor(alpha / 2 (b + 1)), so that
    `two_sided_p_value` is at most `alpha` exactly where the interval leaves 0 out. A resample without a value (NaN)
    could be anything: it widens the interval on both sides.

    Raises
    ------
    MeasureError
        If there are too few resamples for this alpha.
    """
    values = np.asarray(resampled, dtype=np.float64)
    # A product can round to just below a whole number.
    rank = math.floor(alpha / 2 * (len(values) + 1) + 1e-9)
    if rank < 1:
        raise MeasureError(f"an interval of level {1 - alpha:g} needs at least {fewest_resamples(alpha)} resamples")
    unknown = np.isnan(values)
    lowest = np.partition(np.where(unknown, -np.inf, values), rank - 1)[rank - 1]
    highest = np.partition(np.where(unknown, np.inf, values), len(values) - rank)[len(values) - rank]
    return float(lowest), float(highest)


def fewest_resamples(alpha: float) -> int:
    """Return how many resamples an interval of level 1 - `alpha` needs at least."""
    return math.ceil(2 / alpha - 1 - 1e-9)


def two_sided_p_value(resampled: ArrayLike) -> float:
    """Return the p-value of "the difference is 0" that goes with the percentile interval of b resampled differences.

    Twice the share of resamples on the other side of 0, with one added above and below the line so that it is never 0
    (Davison, Hinkley, Bootstrap Methods, 1997, section 4.2). NaN counts on both sides.
    """
    values = np.asarray(resampled, dtype=np.float64)
    below, above = np.count_nonzero(~(values > 0)), np.count_nonzero(~(values < 0))
    return min(1.0, 2 * (1 + min(below, above)) / (len(values) + 1))
