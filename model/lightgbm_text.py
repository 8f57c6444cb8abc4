"""Reads the trees out of a LightGBM text model, without LightGBM."""

import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]
Scalar = TypeVar("Scalar", np.int32, np.float64)

CATEGORICAL_BIT = 1
DEFAULT_LEFT_BIT = 2
MISSING_SHIFT = 2
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2
ZERO_THRESHOLD = float(np.float32(1e-35))  # LightGBM widens a float literal; anything closer to 0 is 0 to it


class UnsupportedModelError(ValueError):
    """The model cannot be explained exactly, so it must not be published."""


@dataclass(frozen=True, slots=True)
class FlatTrees:
    """Binary trees, one after the other, numbered as in LightGBM's text model.

    Within a tree of L leaves the nodes that split are 0 .. L - 2, node 0 first; a child c >= 0 is a node, a child
    c < 0 is leaf ``~c``. Covers count training rows.

    Attributes
    ----------
    n_features
        Columns of a row.
    num_leaves
        Shape (n_trees,).
    split_feature, decision_type, left_child, right_child, threshold, internal_count
        Shape (sum of L - 1,). A row goes left if its value is at most ``threshold``; ``decision_type`` holds the
        default direction (bit 1) and what counts as missing (bits 2 and 3: nothing, zero, NaN).
    leaf_value, leaf_count
        Shape (sum of L,). Values add up to the raw margin (log-odds for a binary objective).
    """

    n_features: int
    num_leaves: IntArray
    split_feature: IntArray
    decision_type: IntArray
    left_child: IntArray
    right_child: IntArray
    threshold: FloatArray
    leaf_value: FloatArray
    leaf_count: FloatArray
    internal_count: FloatArray

    @property
    def n_trees(self) -> int:
        """Number of trees, those with a single leaf included."""
        return len(self.num_leaves)

    @property
    def n_leaves(self) -> int:
        """Number of leaves of all trees."""
        return int(self.num_leaves.sum())


def parse_model(text: str) -> FlatTrees:
    """Return the trees of a LightGBM text model.

    Parameters
    ----------
    text
        What ``Booster.model_to_string()`` returns, or the content of a model file.

    Raises
    ------
    UnsupportedModelError
        For categorical splits, linear trees, several margins per row, averaged output (random forest mode), a node
        without cover, and text that is not a whole model.
    """
    header, separator, rest = text.partition("\nTree=")
    body, end, _ = rest.partition("\nend of trees")
    if not (header.startswith("tree") and separator and end):
        raise UnsupportedModelError("not a whole LightGBM text model")
    n_features = _check_header(header)
    trees = _trees(n_features, _fields(body))
    _check_structure(trees)
    return trees


def _check_header(header: str) -> int:
    lines = header.splitlines()
    values = dict(line.partition("=")[::2] for line in lines)
    if values.get("num_class") != "1" or values.get("num_tree_per_iteration") != "1":
        raise UnsupportedModelError("more than one margin per row (multiclass)")
    if "average_output" in lines:
        raise UnsupportedModelError("averaged output (random forest mode)")
    try:
        return int(values["max_feature_idx"]) + 1
    except (KeyError, ValueError) as error:
        raise UnsupportedModelError("number of features unknown") from error


def _fields(body: str) -> dict[str, list[str]]:
    """Return the lines of all trees by key, each list in tree order."""
    fields: dict[str, list[str]] = defaultdict(list)
    for line in body.splitlines():
        key, separator, value = line.partition("=")
        if separator:
            fields[key].append(value)
    return fields


def _trees(n_features: int, fields: dict[str, list[str]]) -> FlatTrees:
    if any(number != "0" for number in fields["num_cat"]):
        raise UnsupportedModelError("categorical splits")
    if "1" in fields["is_linear"]:
        raise UnsupportedModelError("linear trees")
    num_leaves = _numbers("num_leaves", fields, np.ones(len(fields["num_leaves"]), np.int32), np.int32)
    nodes = num_leaves - 1
    return FlatTrees(
        n_features=n_features,
        num_leaves=num_leaves,
        split_feature=_numbers("split_feature", fields, nodes, np.int32),
        decision_type=_numbers("decision_type", fields, nodes, np.int32),
        left_child=_numbers("left_child", fields, nodes, np.int32),
        right_child=_numbers("right_child", fields, nodes, np.int32),
        threshold=_numbers("threshold", fields, nodes, np.float64),
        leaf_value=_numbers("leaf_value", fields, num_leaves, np.float64),
        leaf_count=_numbers("leaf_count", fields, num_leaves, np.float64),
        internal_count=_numbers("internal_count", fields, nodes, np.float64),
    )


def _numbers(key: str, fields: dict[str, list[str]], lengths: IntArray, dtype: type[Scalar]) -> NDArray[Scalar]:
    lines = fields[key]
    if [len(line.split()) for line in lines] != lengths.tolist():
        raise UnsupportedModelError(f"{key}: not one value per node or leaf of every tree")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # NumPy's way to say that a value is not a number
        try:
            values = np.fromstring(" ".join(lines), dtype=dtype, sep=" ")
        except (DeprecationWarning, ValueError) as error:
            raise UnsupportedModelError(f"{key}: not a number") from error
    if len(values) != lengths.sum():
        raise UnsupportedModelError(f"{key}: not a number")
    return values


def _check_structure(trees: FlatTrees) -> None:
    """Check that every tree is one, and all its numbers make sense; what the kernel checks, for the other engines."""
    node = np.concatenate([np.arange(n - 1) for n in trees.num_leaves])
    leaves = np.repeat(trees.num_leaves, trees.num_leaves - 1)
    for child in (trees.left_child, trees.right_child):
        if np.any(np.where(child < 0, child < -leaves, (child <= node) | (child >= leaves - 1))):
            raise UnsupportedModelError("a child out of range")
    _check_parents(trees)
    _check_splits(trees)
    if not np.isfinite(trees.leaf_value).all():
        raise UnsupportedModelError("a leaf value that is not finite")
    _check_covers(trees)


def _check_parents(trees: FlatTrees) -> None:
    """Check that every node but the root, and every leaf, has exactly one parent."""
    tree = np.repeat(np.arange(trees.n_trees), trees.num_leaves - 1)
    numbers = 2 * int(trees.num_leaves.max())
    met = np.concatenate([tree * numbers + trees.left_child, tree * numbers + trees.right_child])
    if len(np.unique(met)) != len(met):
        raise UnsupportedModelError("a node or leaf with two parents")


def _check_splits(trees: FlatTrees) -> None:
    if np.any(trees.decision_type & CATEGORICAL_BIT):
        raise UnsupportedModelError("categorical splits")
    if np.any((trees.decision_type < 0) | (trees.decision_type >> MISSING_SHIFT > MISSING_NAN)):
        raise UnsupportedModelError("a decision type LightGBM does not know")
    if np.any((trees.split_feature < 0) | (trees.split_feature >= trees.n_features)):
        raise UnsupportedModelError("a split feature out of range")
    if np.isnan(trees.threshold).any():
        raise UnsupportedModelError("a threshold that is NaN")


def _check_covers(trees: FlatTrees) -> None:
    if np.any(trees.internal_count <= 0):
        raise UnsupportedModelError("a node without cover: the expectation below it is undefined")
    if np.any(trees.leaf_count < 0):
        raise UnsupportedModelError("a negative cover")
    below = child_cover(trees, trees.left_child) + child_cover(trees, trees.right_child)
    if not np.array_equal(below, trees.internal_count):
        raise UnsupportedModelError("covers of two children that do not add up to their parent's")


def child_cover(trees: FlatTrees, child: IntArray) -> FloatArray:
    """Return the covers of ``left_child`` or ``right_child``, in training rows, shape (nodes,)."""
    first_leaf = np.cumsum(trees.num_leaves) - trees.num_leaves
    first_node = first_leaf - np.arange(trees.n_trees)
    tree = np.repeat(np.arange(trees.n_trees), trees.num_leaves - 1)
    is_leaf = child < 0
    cover = np.empty(len(child))
    cover[is_leaf] = trees.leaf_count[first_leaf[tree[is_leaf]] + ~child[is_leaf]]
    cover[~is_leaf] = trees.internal_count[first_node[tree[~is_leaf]] + child[~is_leaf]]
    return cover
