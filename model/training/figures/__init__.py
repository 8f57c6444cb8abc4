"""The figures a person looks at before trusting a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from model.decision import DECLINED_BUDGET, FLAGGED_BUDGET, CutOffs
from model.training.figures.calibration import draw_calibration
from model.training.figures.canvas import Floats, Scored
from model.training.figures.curves import draw_precision_recall, draw_recall_fpr
from model.training.figures.shap_summary import draw_shap_summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figures(
    folder: Path,
    *,
    label: ArrayLike,
    score: ArrayLike,
    cutoffs: CutOffs,
    contributions: ArrayLike,
    features: ArrayLike,
    feature_names: Sequence[str],
    flagged_budget: float = FLAGGED_BUDGET,
    declined_budget: float = DECLINED_BUDGET,
) -> list[Path]:
    """Draw the figures a person looks at before trusting a model, as PNG files.

    Parameters
    ----------
    folder : Path
        Made if missing; older figures of the same name are replaced.
    label, score : arrays of shape (n,)
        1 for fraud and 0 for honest; calibrated probability of fraud.
    cutoffs : CutOffs
        Chosen before the tested period.
    contributions : array of shape (n_sample, n_features)
        SHAP values in log-odds, without the base value.
    features : array of shape (n_sample, n_features)
        The values they belong to; NaN where unknown.
    feature_names : sequence of n_features names
    flagged_budget, declined_budget : float
        Drawn as the largest false positive rates of the two cut-offs.

    Returns
    -------
    list of Path
        precision_recall.png, recall_fpr.png, calibration.png, shap_summary.png.

    Raises
    ------
    ValueError
        If shapes do not fit together, a score is not from 0 to 1 or a contribution is not finite.
    """
    scored = Scored(np.asarray(label) == 1, np.asarray(score, dtype=np.float64), cutoffs)
    shap_values, values = np.asarray(contributions, dtype=np.float64), np.asarray(features, dtype=np.float64)
    _require_shapes(scored, shap_values, values, feature_names)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "precision_recall.png": draw_precision_recall(scored),
        "recall_fpr.png": draw_recall_fpr(scored, {"review": flagged_budget, "decline": declined_budget}),
        "calibration.png": draw_calibration(scored),
        "shap_summary.png": draw_shap_summary(shap_values, values, feature_names),
    }
    return [_save(figure, folder / name) for name, figure in drawn.items()]


def _require_shapes(scored: Scored, shap_values: Floats, values: Floats, names: Sequence[str]) -> None:
    if scored.fraud.ndim != 1 or not scored.fraud.size or scored.fraud.shape != scored.score.shape:
        raise ValueError("label and score must be columns of the same length with at least one row")
    if not ((scored.score >= 0) & (scored.score <= 1)).all() or not np.isfinite(shap_values).all():
        raise ValueError("scores must be numbers from 0 to 1, and contributions finite numbers")
    if shap_values.ndim != 2 or shap_values.shape != values.shape:
        raise ValueError("contributions and features must be tables of the same shape")
    if shap_values.shape[1] != len(names) or not shap_values.size:
        raise ValueError("contributions need at least one row and one column for each feature name")


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, facecolor="white")
    return path
