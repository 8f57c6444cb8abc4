"""Drift: how far the payments of today lie from those the model was trained on, feature by feature and in its scores.

The measure is the population stability index (PSI): over the bins that hold a tenth each of the training rows, the sum
of (share now - share then) * ln(share now / share then). Usual reading: below 0.1 stable, above 0.25 another population
(Siddiqi, Credit Risk Scorecards, 2006). Without any drift it is about the number of bins / the number of rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from model.features import FEATURE_NAMES
from model.statistics import Floats, Integers

SCORE: Final = "score"
BINS: Final = 10
MIN_ROWS: Final = 1000  # below, the index of an unchanged population is no longer small against 0.1
LEAST_SHARE: Final = 1e-4  # an empty bin counts as this much, so that the index stays finite
_ROWS_LOOKED_AT: Final = 200_000  # of the training rows, evenly spread: deciles need no more
_ROWS_AT_ONCE: Final = 2048  # while counting: keeps what is compared in the cache


@dataclass(frozen=True, slots=True)
class Reference:
    """What the training rows looked like: for each feature and for the score, bins and the share of rows in each.

    Attributes
    ----------
    names
        Features, and `score`.
    edges
        For each name the inner edges of its bins, rising; a value equal to an edge belongs to the bin below. Fewer
        than nine where values are equal, none where every value is missing.
    shares
        For each name the share of rows in each bin, one more than edges, and after them the share without a value.
        They add up to 1.

    Raises
    ------
    ValueError
        If the three do not fit together.
    """

    names: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]
    shares: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not self.names or not len(set(self.names)) == len(self.names) == len(self.edges) == len(self.shares):
            raise ValueError("reference: names must differ, and each needs its edges and shares")
        for name, edges, shares in zip(self.names, self.edges, self.shares, strict=True):
            if len(edges) >= BINS or not np.isfinite(edges).all() or np.any(np.diff(edges) <= 0):
                raise ValueError(f"reference: edges of {name} must be at most {BINS - 1} finite numbers that rise")
            total = float(np.sum(shares))
            if len(shares) != len(edges) + 2 or not min(shares) >= 0 or not abs(total - 1) < 1e-6:
                raise ValueError(f"reference: shares of {name} must be {len(edges) + 2} numbers that add up to 1")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values: bins and shares by name."""
        rows = zip(self.names, self.edges, self.shares, strict=True)
        return {name: {"edges": list(edges), "shares": list(shares)} for name, edges, shares in rows}

    @classmethod
    def from_dict(cls, contents: Mapping[str, Any]) -> "Reference":
        """Return what `as_dict` was made of; what else it may hold raises ValueError, TypeError or KeyError."""
        bins = list(contents.values())
        return cls(
            tuple(contents),
            tuple(tuple(float(edge) for edge in one["edges"]) for one in bins),
            tuple(tuple(float(share) for share in one["shares"]) for one in bins),
        )


def make_reference(features: Floats, scores: Floats, *, weight: Floats | None = None) -> Reference:
    """Return the deciles of training rows.

    Parameters
    ----------
    features
        Columns `FEATURE_NAMES`, (n, 61), NaN where unknown.
    scores
        The model's probabilities of the same rows, (n,).
    weight
        How many rows of the bank each stands for, (n,), where they are a sample. Default: one each.

    Raises
    ------
    ValueError
        If there are no rows, or shapes do not fit.
    """
    _require_shapes(features, scores)
    if not len(scores) or (weight is not None and weight.shape != scores.shape):
        raise ValueError("a reference needs at least one row, and one weight a row if any")
    step = -(-len(scores) // _ROWS_LOOKED_AT)
    weights = np.ones(len(scores)) if weight is None else np.asarray(weight, dtype=np.float64)
    columns = [*(features[::step, place] for place in range(len(FEATURE_NAMES))), scores[::step]]
    bins = [_deciles(np.asarray(column, dtype=np.float64), weights[::step]) for column in columns]
    return Reference((*FEATURE_NAMES, SCORE), tuple(edges for edges, _ in bins), tuple(shares for _, shares in bins))


def _deciles(column: Floats, weights: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return inner edges and shares of one column; its values may be missing or all equal."""
    known = np.isfinite(column)
    values, counted = column[known], weights[known]
    edges = np.empty(0)
    if counted.sum() > 0:
        order = np.argsort(values, kind="stable")
        summed = np.cumsum(counted[order])
        wanted = summed[-1] * np.arange(1, BINS) / BINS
        edges = np.unique(values[order[summed.searchsorted(wanted, side="left")]])
    in_bins = np.bincount(edges.searchsorted(values, side="left"), counted, minlength=len(edges) + 1)
    shares = np.append(in_bins, weights[~known].sum()) / weights.sum()
    return tuple(edges.tolist()), tuple(shares.tolist())


class StabilityCounter:
    """Counts rows into the bins of a reference; add what is scored, ask for the index now and then.

    Not for several threads at once.

    Parameters
    ----------
    reference
        Of the model in use. Features that this version of the code does not have are left out.
    min_rows
        Rows (what is left of them after forgetting) below which there is no index yet.
    """

    def __init__(self, reference: Reference, *, min_rows: int = MIN_ROWS) -> None:
        columns = (*FEATURE_NAMES, SCORE)
        kept = [place for place, name in enumerate(reference.names) if name in columns]
        self.names = tuple(reference.names[place] for place in kept)
        self._columns = np.array([columns.index(name) for name in self.names], dtype=np.intp)
        self._min_rows = min_rows
        # Bins that a name does not have lie above infinity, where no value is; the last bin holds what is missing.
        self._edges = np.full((len(kept), BINS - 1), np.inf)
        self._expected = np.zeros((len(kept), BINS + 1))
        for row, place in enumerate(kept):
            edges, shares = reference.edges[place], reference.shares[place]
            self._edges[row, : len(edges)] = edges
            self._expected[row, : len(shares) - 1] = shares[:-1]
            self._expected[row, -1] = shares[-1]
        self._exists = np.arange(BINS + 1) < 1 + np.isfinite(self._edges).sum(axis=1, keepdims=True)
        self._exists[:, -1] = True
        self._counts = np.zeros((len(kept), BINS + 1))
        self._first_bins: Integers = np.arange(len(kept)) * (BINS + 1)

    @property
    def rows(self) -> float:
        """How many rows were added, less what was forgotten."""
        return float(self._counts[0].sum()) if len(self._counts) else 0.0

    def add(self, features: Floats, scores: Floats) -> None:
        """Count m scored rows: features (m, 61) in the order of `FEATURE_NAMES`, scores (m,).

        Raises
        ------
        ValueError
            If shapes do not fit.
        """
        _require_shapes(features, scores)
        for start in range(0, len(scores), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            values = np.column_stack([features[part], scores[part]])[:, self._columns]
            self._counts += np.bincount(self._bins(values), minlength=self._counts.size).reshape(self._counts.shape)

    def _bins(self, values: Floats) -> Integers:
        """Return the bin of each of (m, names) values, numbered over all names, (m * names,)."""
        within = np.zeros(values.shape, dtype=np.int64)
        for edges in self._edges.T:
            within += values > edges
        within[~np.isfinite(values)] = BINS
        bins: Integers = (within + self._first_bins).ravel()
        return bins

    def index(self) -> dict[str, float]:
        """Return the population stability index of each name; NaN while there are too few rows."""
        if self.rows < max(self._min_rows, 1):
            return dict.fromkeys(self.names, float("nan"))
        now = np.maximum(self._counts / self.rows, LEAST_SHARE)
        then = np.maximum(self._expected, LEAST_SHARE)
        parts = np.where(self._exists, (now - then) * np.log(now / then), 0.0)
        return dict(zip(self.names, parts.sum(axis=1).tolist(), strict=True))

    def forget(self, share: float) -> None:
        """Forget a share of all that was counted, 0 to 1: called every hour, old hours fade away.

        Raises
        ------
        ValueError
            If the share is not from 0 to 1.
        """
        if not 0 <= share <= 1:
            raise ValueError("the share to forget must be a number from 0 to 1")
        self._counts *= 1 - share


def _require_shapes(features: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> None:
    if scores.ndim != 1 or features.shape != (len(scores), len(FEATURE_NAMES)):
        raise ValueError(
            f"features must have shape (n, {len(FEATURE_NAMES)}) and scores (n,);"
            f" they have {features.shape} and {scores.shape}"
        )
