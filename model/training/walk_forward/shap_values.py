"""Which features moved the scores, and in which direction: exact SHAP values of a sample of tested rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from model.explain import TreeExplainer
from model.statistics import Floats
from model.training.walk_forward.tested import Mask

SUMMARY_ROWS = 2_000  # honest rows and frauds, half each as far as there are so many
SHOWN_FEATURES = 20
SHOWN_POINTS = 300


def shap_summary(explainer: TreeExplainer, features: Floats, fraud: Mask, names: Sequence[str]) -> dict[str, Any]:
    """Return the mean absolute SHAP value of each feature, and points to draw of the strongest, as plain JSON values.

    Frauds are rare, so the sample holds as many of them as of honest rows: the summary is of both kinds alike, and not
    of the bank's average payment.

    Parameters
    ----------
    features, fraud
        Tested rows, (n, f) and (n,).

    Returns
    -------
    dict
        ``base_value``; ``features``, the strongest first, with ``mean_absolute`` of all, of honest rows and of frauds
        in log-odds, and of the strongest 20 ``points``: pairs of rank of the value among the sample (0 to 1, None
        where the value is unknown) and SHAP value.
    """
    places = np.sort(np.concatenate([_spread(np.flatnonzero(kind), SUMMARY_ROWS // 2) for kind in (fraud, ~fraud)]))
    sample, is_fraud = features[places], fraud[places]
    contributions, base = explainer.explain(sample)
    strength = np.abs(contributions)
    order = np.argsort(-strength.mean(axis=0), kind="stable")
    drawn = _spread(np.arange(len(places)), SHOWN_POINTS)
    return {
        "rows": len(places),
        "base_value": float(base),
        "features": [
            {
                "name": names[column],
                "mean_absolute": float(strength[:, column].mean()),
                "mean_absolute_honest": _mean(strength[~is_fraud, column]),
                "mean_absolute_fraud": _mean(strength[is_fraud, column]),
                "points": _points(sample[:, column], contributions[:, column], drawn) if shown else [],
            }
            for column, shown in ((int(column), place < SHOWN_FEATURES) for place, column in enumerate(order))
        ],
    }


def _points(values: Floats, contributions: Floats, drawn: Any) -> list[list[float | None]]:
    known = np.sort(values[~np.isnan(values)])
    ranks = np.searchsorted(known, values[drawn], side="right") / max(len(known), 1)
    return [
        [None if np.isnan(value) else round(float(rank), 3), round(float(share), 4)]
        for value, rank, share in zip(values[drawn], ranks, contributions[drawn], strict=True)
    ]


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _spread(places: Any, wanted: int) -> Any:
    return places[np.linspace(0, len(places) - 1, min(wanted, len(places))).astype(np.int64)]
