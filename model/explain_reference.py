"""Path-dependent TreeSHAP by quadrature, written to be read beside the formula; the kernel must give the same values.

References
----------
Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature Machine
Intelligence 2, 2020: path-dependent TreeSHAP.

Wettenstein, Mitchell, Yu, "Quadrature-TreeSHAP: Depth-Independent TreeSHAP and Shapley Interactions",
arXiv 2605.04497, 2026: the integral and its quadrature.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model.lightgbm_text import (
    DEFAULT_LEFT_BIT,
    MISSING_NAN,
    MISSING_SHIFT,
    MISSING_ZERO,
    ZERO_THRESHOLD,
    FlatTrees,
    FloatArray,
    IntArray,
)


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree of a `FlatTrees`, its arrays cut out; nodes and leaves count from 0."""

    split_feature: IntArray
    decision_type: IntArray
    left_child: IntArray
    right_child: IntArray
    threshold: FloatArray
    leaf_value: FloatArray
    leaf_count: FloatArray
    internal_count: FloatArray

    def cover(self, child: int) -> float:
        """Return the number of training rows below a node (child >= 0) or in a leaf (~child)."""
        return float(self.internal_count[child] if child >= 0 else self.leaf_count[~child])

    @property
    def root(self) -> int:
        """Return the root as a child: node 0, or leaf 0 (~0) of a tree that never splits."""
        return 0 if len(self.leaf_value) > 1 else ~0


@dataclass(frozen=True, slots=True)
class Edge:
    """The deepest split on one feature on a path, seen together with those above it.

    Attributes
    ----------
    agrees
        o: 1 if the row agrees with every split on the feature, else 0.
    share
        z: product of the splits' cover ratios, the chance that a training row agrees.
    """

    agrees: float
    share: float

    def factor(self, y: FloatArray) -> FloatArray:
        """Return f(y) = o y + z (1 - y): the feature is in the coalition with probability y. Shape (points,)."""
        return self.agrees * y + self.share * (1 - y)


NO_SPLIT_YET = Edge(agrees=1.0, share=1.0)


def explain_reference(trees: FlatTrees, row: FloatArray) -> tuple[FloatArray, float]:
    """Return the contributions of one row in units of the margin, shape (n_features,), and the base value.

    Parameters
    ----------
    trees
        A parsed model.
    row
        Shape (n_features,), float64; NaN where unknown.
    """
    contributions = np.zeros(trees.n_features)
    base = 0.0
    for tree in split_trees(trees):
        contributions += explain_tree(tree, row)
        base += expected_value(tree)
    return contributions, base


def split_trees(trees: FlatTrees) -> list[Tree]:
    """Return the trees one by one."""
    after_leaf = np.cumsum(trees.num_leaves)[:-1]
    after_node = after_leaf - np.arange(1, trees.n_trees)
    structure = (trees.split_feature, trees.decision_type, trees.left_child, trees.right_child)
    numbers = (
        np.split(trees.threshold, after_node),
        np.split(trees.leaf_value, after_leaf),
        np.split(trees.leaf_count, after_leaf),
        np.split(trees.internal_count, after_node),
    )
    return [Tree(*each) for each in zip(*(np.split(a, after_node) for a in structure), *numbers, strict=True)]


def expected_value(tree: Tree) -> float:
    """Return the tree's mean value over the training rows, its part of the base value."""
    if tree.root < 0:
        return float(tree.leaf_value[0])
    return float(tree.leaf_count / tree.internal_count[0] @ tree.leaf_value)


def goes_left(value: float, threshold: float, decision_type: int) -> bool:
    """Return whether LightGBM sends a value to the left child."""
    missing = decision_type >> MISSING_SHIFT
    if np.isnan(value) and missing != MISSING_NAN:
        value = 0.0
    is_zero = abs(value) <= ZERO_THRESHOLD
    if (missing == MISSING_NAN and np.isnan(value)) or (missing == MISSING_ZERO and is_zero):
        return bool(decision_type & DEFAULT_LEFT_BIT)
    return bool((0.0 if is_zero else value) <= threshold)


def quadrature(points: int) -> tuple[FloatArray, FloatArray]:
    """Return Gauss-Legendre abscissas and weights on [0, 1], shape (points,); exact up to degree 2 points - 1."""
    x, weight = np.polynomial.legendre.leggauss(points)
    return (1 + x) / 2, weight / 2


def most_distinct_features(tree: Tree, child: int, seen: frozenset[int] = frozenset()) -> int:
    """Return the largest number of different features on a path from `child` down, those in `seen` included."""
    if child < 0:
        return len(seen)
    seen |= {int(tree.split_feature[child])}
    children = (int(tree.left_child[child]), int(tree.right_child[child]))
    return max(most_distinct_features(tree, each, seen) for each in children)


def explain_tree(tree: Tree, row: FloatArray) -> FloatArray:
    """Return one tree's contributions to one row, shape (n_features,).

    The integrand has degree d - 1 with d different features on a path, so ceil(d / 2) points are exact.
    """
    contributions = np.zeros(len(row))
    if tree.root >= 0:
        y, weight = quadrature((most_distinct_features(tree, tree.root) + 1) // 2)
        _descend(tree, row, node=tree.root, y=y, above=weight, path={}, contributions=contributions)
    return contributions


def _descend(
    tree: Tree,
    row: FloatArray,
    *,
    node: int,
    y: FloatArray,
    above: FloatArray,
    path: Mapping[int, Edge],
    contributions: FloatArray,
) -> FloatArray:
    """Add the contributions of everything below a node; return U(node).

    Parameters
    ----------
    above
        G(node): quadrature weight times the factors of all features on the path, shape (points,).
    path
        The features on the path, each with its deepest edge.

    Returns
    -------
    U(node): sum over the leaves below of value times the factors on the way down to it, shape (points,).
    """
    if node < 0:
        return np.full_like(y, tree.leaf_value[~node])
    feature = int(tree.split_feature[node])
    last = path.get(feature, NO_SPLIT_YET)
    left = goes_left(float(row[feature]), float(tree.threshold[node]), int(tree.decision_type[node]))
    below = np.zeros_like(y)
    for child, taken in ((int(tree.left_child[node]), left), (int(tree.right_child[node]), not left)):
        edge = Edge(agrees=last.agrees * taken, share=last.share * tree.cover(child) / tree.cover(node))
        ratio = _divide(edge.factor(y), last.factor(y))
        u = _descend(
            tree,
            row,
            node=child,
            y=y,
            above=above * ratio,
            path={**path, feature: edge},
            contributions=contributions,
        )
        # The edge's own share, less what the feature's last edge above has already been given for these leaves.
        gain = (edge.agrees - edge.share) - ratio * (last.agrees - last.share)
        contributions[feature] += np.sum(above * u * _divide(gain, last.factor(y)))
        below += ratio * u
    return below


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide; 0 where the denominator is 0, that is below a branch that neither the row nor any training row took."""
    return np.divide(numerator, denominator, out=np.zeros_like(denominator), where=denominator > 0)
