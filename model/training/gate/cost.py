"""What scoring and explaining one row costs, as the request path pays it."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from model.explain import TreeExplainer
from model.training.measures import Floats

ROUNDS: Final = 7
ROWS: Final = 500


def explain_microseconds(
    explainer: TreeExplainer, features: Floats, *, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the microseconds of one call of `explain_into`, which gives margin and contributions.

    The mean over at most 500 rows, one call each, in the best of seven rounds: what another job on the machine takes
    away must not decide whether a model is promoted.

    Parameters
    ----------
    features
        Rows of all features, (n, 61), n at least 1.
    clock
        Seconds.
    """
    rows = np.ascontiguousarray(features[:ROWS], dtype=np.float64)
    if not len(rows):
        raise ValueError("the cost of explaining needs at least one row")
    contributions, explain = np.empty(rows.shape[1]), explainer.explain_into
    best = np.inf
    for _ in range(ROUNDS):
        begun = clock()
        for row in rows:
            explain(row, contributions)
        best = min(best, clock() - begun)
    return float(best / len(rows) * 1e6)
