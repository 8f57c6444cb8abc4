"""A booster from a table of features, with probabilities that mean what they say."""

import re
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from model.features import FEATURE_NAMES
from model.settings import Settings
from model.statistics import Floats, Integers

MIN_LEAF_ROWS = 50
MIN_FRAUDS = 10  # fewer teach nothing but themselves
FEW_FRAUDS = 20  # up to here a slope would follow single frauds
_ROWS_PER_CHUNK = 50_000  # some 3 kB each while their leaves are found


class TrainingError(ValueError):
    """There is not enough to learn from."""


def fit_booster(
    features: Floats,
    label: Integers,
    *,
    settings: Settings,
    weight: Floats | None = None,
    on_tree: Callable[[], object] = lambda: None,
) -> lgb.Booster:
    """Train a booster on rows of features (n, 61) with labels 0 and 1, seeded, no class made to count for more.

    Parameters
    ----------
    weight
        How many transactions each row stands for, (n,): the inverse of its chance to be in a sample. Probabilities and
        covers (the counts at the nodes, by which SHAP values weigh) are then those of all transactions.

    Raises
    ------
    TrainingError
        If there are fewer than 10 frauds or no honest transaction.
    """
    frauds = int(label.sum())
    if frauds < MIN_FRAUDS or frauds == len(label):
        raise TrainingError(
            f"training needs at least {MIN_FRAUDS} known frauds, and honest transactions; of its {len(label):,}"
            f" transactions {frauds:,} are known as fraud: give more history"
        )
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
    weight = None if weight is None or (weight == 1).all() else weight
    table = lgb.Dataset(features, label, weight=weight, feature_name=list(FEATURE_NAMES), free_raw_data=True)
    booster = lgb.train(parameters, table, settings.trees, callbacks=[lambda _: on_tree()])
    return booster if weight is None else with_covers(booster, features, weight, threads=settings.threads)


def fit_calibration(margins: Floats, label: Integers, *, weight: Floats | None = None) -> tuple[float, float]:
    """Return slope and intercept that make margins (n,) true log-odds: Platt scaling.

    As in Platt (1999), a fraud counts as one with a probability just below 1 and an honest transaction just above 0, so
    that margins which separate them perfectly are not stretched without end. With fewer than 20 frauds, or margins that
    order them no better than chance, only the intercept moves, so that the mean probability fits.

    Parameters
    ----------
    weight
        How many transactions each row stands for, (n,).

    Raises
    ------
    TrainingError
        If one of the two classes is missing.
    """
    n, frauds = len(label), int(label.sum())
    if not 0 < frauds < n:
        raise TrainingError(
            f"calibration needs frauds and honest transactions; of its {n:,} transactions {frauds:,} are known as"
            " fraud: give more history"
        )
    weight = np.ones(n) if weight is None else weight
    rate = float(weight[label == 1].sum() / weight.sum())
    if frauds < FEW_FRAUDS:
        return 1.0, _intercept_for(margins, rate, weight)
    target = np.where(label == 1, (frauds + 1) / (frauds + 2), 1 / (n - frauds + 2))
    # A row of probability t is a fraud of weight t and an honest one of weight 1 - t.
    twice, both = np.concatenate([margins, margins])[:, None], np.repeat([1, 0], n)
    weights = np.concatenate([weight * target, weight * (1 - target)])
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(twice, both, sample_weight=weights)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    return (slope, intercept) if slope > 0 else (1.0, _intercept_for(margins, rate, weight))


def _intercept_for(margins: Floats, rate: float, weight: Floats) -> float:
    low, high = -50.0 - margins.max(), 50.0 - margins.min()
    for _ in range(100):
        middle = (low + high) / 2
        mean = float(np.average(expit(margins + middle), weights=weight))
        low, high = (middle, high) if mean < rate else (low, middle)
    return float(low + high) / 2


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


def raw_margins(booster: lgb.Booster, features: Floats, *, threads: int = 1) -> npt.NDArray[np.float64]:
    """Return the booster's raw score of each row, (n,), in log-odds; how many threads work does not change it."""
    return np.asarray(booster.predict(features, raw_score=True, num_threads=threads), dtype=np.float64)


def with_covers(booster: lgb.Booster, features: Floats, weight: Floats, *, threads: int = 1) -> lgb.Booster:
    """Return the booster with the weight of the rows at each node in place of their number.

    A SHAP value tells how far this payment lies from the average one. Where frauds are over-represented among the rows,
    the numbers of rows would make that average the sample's, and not the bank's.

    Parameters
    ----------
    features, weight
        The rows it was trained on, (n, 61) and (n,), so that no leaf is without one.
    """
    trees = booster.dump_model()["tree_info"]
    covers = [np.zeros(tree["num_leaves"]) for tree in trees]
    for start in range(0, len(features), _ROWS_PER_CHUNK):
        chunk = slice(start, start + _ROWS_PER_CHUNK)
        leaves = np.asarray(booster.predict(features[chunk], pred_leaf=True, num_threads=threads), dtype=np.intp)
        for tree, leaf in enumerate(leaves.reshape(-1, len(trees)).T):
            covers[tree] += np.bincount(leaf, weight[chunk], len(covers[tree]))
    blocks = re.split(r"(?m)^(?=Tree=|end of trees)", booster.model_to_string())
    text = "".join(
        [blocks[0], *(_recovered(*parts) for parts in zip(blocks[1:-1], trees, covers, strict=True)), blocks[-1]]
    )
    sizes = " ".join(str(len(block.encode())) for block in re.split(r"(?m)^(?=Tree=|end of trees)", text)[1:-1])
    return lgb.Booster(model_str=re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={sizes}", text, count=1))


def _recovered(block: str, tree: dict[str, Any], cover: Floats) -> str:
    """Return a tree's text with other counts: those of the leaves as given, those of inner nodes their sums."""
    leaves: list[int] = [max(1, round(float(weight))) for weight in cover]
    inner = [0] * (len(leaves) - 1)

    def count(node: dict[str, Any]) -> int:
        if "leaf_index" in node or "split_index" not in node:
            return leaves[int(node.get("leaf_index", 0))]
        below = count(node["left_child"]) + count(node["right_child"])
        inner[node["split_index"]] = below
        return below

    count(tree["tree_structure"])
    for name, counts in (("leaf_count", leaves), ("internal_count", inner)):
        block = re.sub(rf"(?m)^{name}=.*$", f"{name}={' '.join(map(str, counts))}", block, count=1)
    return block
