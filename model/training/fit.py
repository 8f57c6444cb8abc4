"""A booster from a table of features, with probabilities that mean what they say."""

from collections.abc import Callable

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from model.features import FEATURE_NAMES
from model.settings import Settings
from model.statistics import Floats, Integers

MIN_LEAF_ROWS = 50


class TrainingError(ValueError):
    """There is not enough to learn from."""


def fit_booster(
    features: Floats, label: Integers, *, settings: Settings, on_tree: Callable[[], object] = lambda: None
) -> lgb.Booster:
    """Train a booster on rows of features (n, 53) with labels 0 and 1, unweighted, seeded.

    Raises
    ------
    TrainingError
        If one of the two classes is missing.
    """
    frauds = int(label.sum())
    if not 0 < frauds < len(label):
        raise TrainingError(f"training needs frauds and honest transactions; there are {frauds} frauds in {len(label)}")
    parameters = {
        "objective": "binary",
        "num_leaves": settings.leaves,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": MIN_LEAF_ROWS,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": settings.threads,
        "verbose": -1,
    }
    table = lgb.Dataset(features, label, feature_name=list(FEATURE_NAMES), free_raw_data=True)
    return lgb.train(parameters, table, settings.trees, callbacks=[lambda _: on_tree()])


def fit_calibration(margins: Floats, label: Integers) -> tuple[float, float]:
    """Return slope and intercept that make margins (n,) true log-odds: Platt scaling (1999), without regularisation.

    With frauds too few, or margins that order them no better than chance, only the intercept is moved, so that the mean
    probability fits.

    Raises
    ------
    TrainingError
        If one of the two classes is missing.
    """
    frauds = int(label.sum())
    if not 0 < frauds < len(label):
        raise TrainingError(f"calibration needs frauds and honest transactions; {frauds} frauds in {len(label)}")
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(margins[:, None], label)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (slope, intercept) if slope > 0 else (1.0, _intercept_for(margins, frauds / len(label)))


def _intercept_for(margins: Floats, rate: float) -> float:
    low, high = -50.0, 50.0
    for _ in range(100):
        middle = (low + high) / 2
        mean = float(np.mean(1 / (1 + np.exp(-(margins + middle)))))
        low, high = (middle, high) if mean < rate else (low, middle)
    return (low + high) / 2


def fold_calibration(booster: lgb.Booster, slope: float, intercept: float) -> lgb.Booster:
    """Return a booster whose raw score is `slope * margin + intercept` of the given one.

    Every leaf is multiplied by the slope and the first tree's leaves take the intercept, so the published model is
    calibrated by itself and its SHAP values add up to the calibrated log-odds with nothing left to add.
    """
    folded = lgb.Booster(model_str=booster.model_to_string())
    for tree in folded.dump_model()["tree_info"]:
        shift = intercept if tree["tree_index"] == 0 else 0.0
        for leaf in range(tree["num_leaves"]):
            value = folded.get_leaf_output(tree["tree_index"], leaf)
            folded.set_leaf_output(tree["tree_index"], leaf, slope * value + shift)
    return folded


def raw_margins(booster: lgb.Booster, features: Floats) -> npt.NDArray[np.float64]:
    """Return the booster's raw score of each row, (n,), in log-odds."""
    return np.asarray(booster.predict(features, raw_score=True), dtype=np.float64)
