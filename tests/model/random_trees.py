"""Random LightGBM models: trained ones, and written ones with anything the text format can say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
EXTREME_VALUES = (np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-34, np.inf, -np.inf, 1e308, -1e308)
DECISION_TYPES = tuple(2 * left + 4 * missing for left in (0, 1) for missing in (0, 1, 2))


@dataclass
class WrittenTree:
    """One tree as the columns of LightGBM's text model."""

    split_feature: list[int] = field(default_factory=list)
    threshold: list[float] = field(default_factory=list)
    decision_type: list[int] = field(default_factory=list)
    left_child: list[int] = field(default_factory=list)
    right_child: list[int] = field(default_factory=list)
    internal_count: list[int] = field(default_factory=list)
    leaf_value: list[float] = field(default_factory=list)
    leaf_count: list[int] = field(default_factory=list)

    def text(self, number: int) -> str:
        zeros = [0] * len(self.threshold)
        columns: dict[str, Sequence[float]] = {
            "split_feature": self.split_feature,
            "split_gain": zeros,
            "threshold": self.threshold,
            "decision_type": self.decision_type,
            "left_child": self.left_child,
            "right_child": self.right_child,
            "leaf_value": self.leaf_value,
            "leaf_weight": self.leaf_count,
            "leaf_count": self.leaf_count,
            "internal_value": zeros,
            "internal_weight": self.internal_count,
            "internal_count": self.internal_count,
        }
        lines = [f"{key}={' '.join(f'{value:.17g}' for value in values)}" for key, values in columns.items()]
        head = [f"Tree={number}", f"num_leaves={len(self.leaf_value)}", "num_cat=0"]
        return "\n".join([*head, *lines, "is_linear=0", "shrinkage=1", "", ""])


def model_text(trees: list[WrittenTree], n_features: int) -> str:
    """Return a whole LightGBM text model."""
    names = " ".join(f"f{i}" for i in range(n_features))
    infos = " ".join(["[-1:1]"] * n_features)
    parts = [tree.text(number) + "\n" for number, tree in enumerate(trees)]
    header = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={n_features - 1}",
        "objective=regression",
        f"feature_names={names}",
        f"feature_infos={infos}",
        f"tree_sizes={' '.join(str(len(part)) for part in parts)}",
        "",
        "",
    ]
    return (
        "\n".join(header) + "".join(parts) + "end of trees\n\nfeature_importances:\n\nparameters:\nend of parameters\n"
    )


def write_tree(
    rng: np.random.Generator, n_features: int, n_splits: int, *, chain: float = 0.0, empty_leaves: bool = False
) -> WrittenTree:
    """Return a random tree; with probability `chain` the newest leaf is the next to split, which makes it deep."""
    tree = WrittenTree(leaf_value=[float(rng.normal())], leaf_count=[0])
    place: dict[int, tuple[list[int], int]] = {}
    for node in range(n_splits):
        leaf = node if rng.random() < chain else int(rng.integers(node + 1))
        if leaf in place:
            children, parent = place[leaf]
            children[parent] = node
        tree.split_feature.append(int(rng.integers(n_features)))
        tree.threshold.append(
            float(rng.choice([rng.normal(), 0.0, 1e300, -1e300, np.inf], p=[0.8, 0.1, 0.04, 0.03, 0.03]))
        )
        tree.decision_type.append(int(rng.choice(DECISION_TYPES)))
        tree.left_child.append(~leaf)
        tree.right_child.append(~(node + 1))
        place[leaf], place[node + 1] = (tree.left_child, node), (tree.right_child, node)
        tree.leaf_value.append(float(rng.normal()))
    _write_covers(tree, rng, empty_leaves=empty_leaves)
    return tree


def _write_covers(tree: WrittenTree, rng: np.random.Generator, *, empty_leaves: bool) -> None:
    n_splits = len(tree.threshold)
    tree.leaf_count = [int(count) for count in rng.integers(1, 1000, n_splits + 1)]
    if empty_leaves:
        # A leaf whose sibling is not empty: a node that splits must have cover.
        for left, right in zip(tree.left_child, tree.right_child, strict=True):
            if rng.random() < 0.3 and max(left, right) < 0:
                tree.leaf_count[~int(rng.choice([left, right]))] = 0
    tree.internal_count = [0] * n_splits
    for node in reversed(range(n_splits)):
        for child in (tree.left_child[node], tree.right_child[node]):
            tree.internal_count[node] += tree.leaf_count[~child] if child < 0 else tree.internal_count[child]


def random_rows(rng: np.random.Generator, n: int, n_features: int) -> FloatArray:
    """Return rows of ordinary values with missing and extreme ones among them, shape (n, n_features)."""
    rows = rng.normal(size=(n, n_features))
    strange = rng.random(rows.shape) < 0.25
    rows[strange] = rng.choice(EXTREME_VALUES, strange.sum())
    return rows


def train(rng: np.random.Generator, n_features: int, rounds: int, **params: Any) -> lightgbm.Booster:
    """Train a small model on few rows, some columns of which are constant, missing or mostly zero."""
    n = int(rng.integers(30, 200))
    rows = rng.normal(size=(n, n_features))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    rows[rng.random(rows.shape) < 0.2] = 0.0
    rows[:, rng.random(n_features) < 0.1] = 1.0
    margin = np.nan_to_num(rows) @ rng.normal(size=n_features) + rng.normal(size=n)
    label = margin > 0 if params.get("objective") == "binary" else margin
    defaults = {
        "verbose": -1,
        "num_threads": 1,
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 1e-3,
        "min_data_in_bin": 1,
    }
    return lightgbm.train({**defaults, **params}, lightgbm.Dataset(rows, label.astype(float)), rounds)
