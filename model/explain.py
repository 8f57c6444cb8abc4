"""Exact SHAP values of a LightGBM model, one row at a time, at a fiftieth of what LightGBM takes for them.

Three engines give the same values (path-dependent TreeSHAP) within rounding. Speed for one row on one core, 53
features, in units of LightGBM's ``pred_contrib`` called from Python (``python -m loadtest.explain``):

============  =============================================  ===================  ===================
engine        made of                                        200 trees x 31       500 trees x 63
============  =============================================  ===================  ===================
native        ``_treeshap.c``, where a C compiler built it   44 to 51             54 to 69
pred_contrib  LightGBM itself                                1                    1
numpy         ``explain_reference.py``, the plain formula    1 / 250              1 / 125
============  =============================================  ===================  ===================
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from model.explain_reference import expected_value, explain_tree, split_trees
from model.lightgbm_text import FlatTrees, FloatArray, IntArray, UnsupportedModelError, parse_model

try:
    from model import _treeshap
except ImportError:  # installed without a C compiler
    _treeshap = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import lightgbm

__all__ = ["Engine", "TreeExplainer", "UnsupportedModelError", "margins"]

Engine = Literal["native", "numpy", "pred_contrib"]


class _Explains(Protocol):
    """What an engine can do; both methods fill `contributions`."""

    def explain_into(self, row: FloatArray, contributions: FloatArray, /) -> float: ...

    def explain_rows_into(self, rows: FloatArray, contributions: FloatArray, /) -> None: ...


class TreeExplainer:
    """Explains the rows of one model; not for two threads at once.

    Parameters
    ----------
    model_text
        LightGBM's text model. Check its SHA-256 first: LightGBM itself does not survive a damaged one.
    engine
        Default: 'native' if it was built, else 'pred_contrib'.
    instruction_set
        Of the native engine: one of ``model._treeshap.INSTRUCTION_SETS``. Default: the first of them.
    places
        Where a model of some features finds them in a row of all: the column of each of its features, in the model's
        order. What it does not use is given the contribution 0. Default: a row holds the model's features.
    row_length
        Number of values in a row of all features; goes with `places`.

    Attributes
    ----------
    n_features
        Values in a row.
    n_trees, n_leaves
        Size of the model.
    base
        Base value: the mean margin over the training rows, weighted by cover.
    engine
        The engine in use.
    explain_into
        ``explain_into(row, contributions) -> margin``: explain one row from a C-contiguous float64 buffer of
        n_features values into another. The shortest way; of the native engine a single C call.

    Raises
    ------
    UnsupportedModelError
        For models that cannot be explained exactly, whatever the engine.
    ValueError
        If `places` are not one different column of a row for each feature of the model.
    """

    __slots__ = ("_engine", "base", "engine", "explain_into", "n_features", "n_leaves", "n_trees")

    def __init__(
        self,
        model_text: str,
        *,
        engine: Engine | None = None,
        instruction_set: str | None = None,
        places: Sequence[int] | None = None,
        row_length: int | None = None,
    ) -> None:
        trees = parse_model(model_text)
        columns = _columns(places, row_length, n_features=trees.n_features)
        if columns is not None and row_length is not None:
            # The trees themselves look at the columns of a row, so explaining one costs no more than without.
            trees = replace(trees, n_features=row_length, split_feature=columns[trees.split_feature])
        self.engine: Engine = engine or ("pred_contrib" if _treeshap is None else "native")
        self.n_features = trees.n_features
        self.n_trees = trees.n_trees
        self.n_leaves = trees.n_leaves
        self.base = sum(expected_value(tree) for tree in split_trees(trees))
        self._engine = _make_engine(self.engine, trees, model_text, instruction_set, columns)
        self.explain_into = self._engine.explain_into

    @classmethod
    def from_booster(cls, booster: "lightgbm.Booster", *, engine: Engine | None = None) -> "TreeExplainer":
        """Make an explainer of the trees that ``booster.predict`` uses, up to its best iteration."""
        return cls(booster.model_to_string(), engine=engine)

    def explain(self, rows: ArrayLike) -> tuple[FloatArray, float]:
        """Return contributions in units of the margin, shape (n, n_features), and the base value.

        A row's contributions and the base value add up to its raw margin.

        Parameters
        ----------
        rows
            Shape (n, n_features) or (n_features,); NaN where unknown.

        Raises
        ------
        ValueError
            If the rows have another number of columns.
        """
        matrix = np.ascontiguousarray(rows, dtype=np.float64)
        if matrix.ndim == 1:
            matrix = matrix[np.newaxis]
        if matrix.shape[1:] != (self.n_features,):
            raise ValueError(f"rows of {self.n_features} features expected, got shape {matrix.shape}")
        contributions = np.empty_like(matrix)
        self._engine.explain_rows_into(matrix, contributions)
        return contributions, self.base


def margins(contributions: FloatArray, base: float) -> FloatArray:
    """Return the margin of each explained row, shape (n,), in log-odds."""
    return np.asarray(contributions.sum(axis=1) + base)


def _columns(places: Sequence[int] | None, row_length: int | None, *, n_features: int) -> IntArray | None:
    """Return `places` as an array, or None where the model's features are the row as it is."""
    if places is None and row_length is None:
        return None
    columns = np.array(range(n_features) if places is None else places, dtype=np.int32)
    different = np.unique(columns)
    if row_length is None or columns.shape != (n_features,) or different.shape != columns.shape:
        raise ValueError(f"places must be {n_features} different columns, with the length of a row")
    if different[0] < 0 or different[-1] >= row_length:
        raise ValueError(f"places must be columns of a row of {row_length} values")
    return None if n_features == row_length and np.array_equal(columns, different) else columns


def _make_engine(
    engine: Engine, trees: FlatTrees, model_text: str, instruction_set: str | None, columns: IntArray | None
) -> _Explains:
    if engine == "native":
        return _make_native(trees, instruction_set)
    if engine == "pred_contrib":
        return _PredContrib(model_text, columns)
    return _Reference(trees)


def _make_native(trees: FlatTrees, instruction_set: str | None) -> _Explains:
    if _treeshap is None:
        raise RuntimeError("the native engine was not built")
    if instruction_set not in (None, *_treeshap.INSTRUCTION_SETS):
        raise ValueError(f"this processor has no instruction set {instruction_set!r}")
    try:
        return _treeshap.Explainer(
            trees.n_features,
            trees.num_leaves,
            trees.split_feature,
            trees.decision_type,
            trees.left_child,
            trees.right_child,
            trees.threshold,
            trees.leaf_value,
            trees.leaf_count,
            trees.internal_count,
            instruction_set,
        )
    except ValueError as error:
        raise UnsupportedModelError(str(error)) from error


class _PredContrib:
    """LightGBM's own TreeSHAP; a row that a branch without cover concerns is NaN."""

    def __init__(self, model_text: str, columns: IntArray | None) -> None:
        import lightgbm  # noqa: PLC0415  # a second of start-up that the other engines do without

        self._booster = lightgbm.Booster(model_str=model_text)
        self._columns = slice(None) if columns is None else columns

    def explain_into(self, row: FloatArray, contributions: FloatArray, /) -> float:
        result = self._predict(row.reshape(1, -1))[0]
        contributions[:] = 0
        contributions[self._columns] = result[:-1]
        return float(result.sum())

    def explain_rows_into(self, rows: FloatArray, contributions: FloatArray, /) -> None:
        if len(rows):
            contributions[:] = 0
            contributions[:, self._columns] = self._predict(rows)[:, :-1]

    def _predict(self, rows: FloatArray) -> FloatArray:
        return np.asarray(self._booster.predict(rows[:, self._columns], pred_contrib=True, num_threads=1))


class _Reference:
    """The formula in NumPy."""

    def __init__(self, trees: FlatTrees) -> None:
        self._trees = split_trees(trees)
        self._base = sum(expected_value(tree) for tree in self._trees)

    def explain_into(self, row: FloatArray, contributions: FloatArray, /) -> float:
        contributions[:] = np.sum([explain_tree(tree, row) for tree in self._trees], axis=0)
        return self._base + float(contributions.sum())

    def explain_rows_into(self, rows: FloatArray, contributions: FloatArray, /) -> None:
        for row, out in zip(rows, contributions, strict=True):
            self.explain_into(row, out)
