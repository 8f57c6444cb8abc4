"""Exact SHAP values: how much each feature moved the margin of one row, in log-odds."""

from typing import Protocol

import lightgbm as lgb
import numpy as np

from model.statistics import Floats


class Explainer(Protocol):
    """Anything that gives exact path-dependent SHAP values of one model."""

    def explain(self, features: Floats) -> tuple[Floats, float]:
        """Return contributions, float64 (n, n_features), and the base value, both in log-odds.

        A row's contributions and the base value add up to its margin.
        """
        ...


class BoosterExplainer:
    """LightGBM's own SHAP values (`pred_contrib`), by the algorithm of Lundberg et al., 2020 (arXiv 1905.04610)."""

    def __init__(self, booster: lgb.Booster) -> None:
        self._booster = booster

    def explain(self, features: Floats) -> tuple[Floats, float]:
        """Return contributions, float64 (n, n_features), and the base value, both in log-odds."""
        answer = np.asarray(self._booster.predict(features, pred_contrib=True, num_threads=1))
        return np.ascontiguousarray(answer[:, :-1]), float(answer[0, -1]) if len(answer) else 0.0


def margins(contributions: Floats, base_value: float) -> Floats:
    """Return the margin of each explained row, shape (n,), in log-odds."""
    return np.asarray(contributions.sum(axis=1) + base_value)
