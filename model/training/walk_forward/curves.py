"""What a page draws: curves of a ranking, thinned out to a few hundred points, calibration and scores in bins."""

from typing import Any

import numpy as np
from scipy.special import logit

from model.statistics import Floats
from model.training.walk_forward.tested import Mask, Outcomes

CURVE_POINTS = 200
LOWEST_FPR = 1e-4
SCORE_BINS = 60
FURTHEST_LOG_ODDS = 12.0
# Most scores lie far below a percent: even steps of rows say nothing of the few that count.
CALIBRATION_EDGES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.992, 0.994, 0.996, 0.998, 0.999, 1.0)


def curves(tested: Outcomes) -> dict[str, Any]:
    """Return the curves of tested transactions as plain JSON values."""
    return {
        "cut_offs": _cut_off_curve(tested),
        "calibration": _calibration(tested),
        "scores": _score_histogram(tested),
    }


def _cut_off_curve(tested: Outcomes) -> list[dict[str, float]]:
    """Return what each of some 200 cut-offs, the same in all folds, would have done; the strictest first.

    One list serves precision against recall, recall against false positive rate and money against cut-off.
    """
    order = np.argsort(-tested.score, kind="stable")
    fraud, weight, amount = tested.fraud[order], tested.weight[order], tested.amount[order]
    found, alarms = np.cumsum(weight * fraud), np.cumsum(weight * ~fraud)
    money_found, money_alarms = np.cumsum(weight * fraud * amount), np.cumsum(weight * ~fraud * amount)
    frauds, honest = float(found[-1]), float(alarms[-1])
    return [
        {
            "cut_off": float(tested.score[order[place]]),
            "recall": float(found[place]) / frauds,
            "false_positive_rate": float(alarms[place]) / honest,
            "precision": float(found[place] / (found[place] + alarms[place])),
            "flagged_per_day": float(found[place] + alarms[place]) / tested.days,
            "money_passed_per_month": float(money_found[-1] - money_found[place]) / tested.months,
            "money_falsely_stopped_per_month": float(money_alarms[place]) / tested.months,
        }
        for place in _spread_places(tested.score[order], alarms / honest, found / frauds)
    ]


def _spread_places(falling: Floats, fpr: Floats, recall: Floats) -> list[int]:
    """Return places in the order of scores: spread evenly over recall, and over the logarithm of the FPR."""
    ends = np.flatnonzero(np.diff(falling, append=np.nan) != 0)  # equal scores stand or fall together
    half = CURVE_POINTS // 2
    by_fpr = np.searchsorted(fpr[ends], np.geomspace(LOWEST_FPR, 1.0, half))
    by_recall = np.searchsorted(recall[ends], np.linspace(0.0, 1.0, half))
    chosen = np.unique(np.minimum(np.concatenate((by_fpr, by_recall)), len(ends) - 1))
    return [int(place) for place in ends[chosen]]


def _calibration(tested: Outcomes) -> list[dict[str, float]]:
    """Return the mean score and the share of fraud of bins of rows in the order of their scores, finer at the top."""
    edges = np.unique(np.quantile(tested.score, CALIBRATION_EDGES[1:-1]))
    bins = np.searchsorted(edges, tested.score, side="left")
    answer = []
    for number in np.unique(bins):
        rows = bins == number
        weight = tested.weight[rows]
        answer.append(
            {
                "transactions": float(weight.sum()),
                "lowest_score": float(tested.score[rows].min()),
                "highest_score": float(tested.score[rows].max()),
                "mean_score": float(np.average(tested.score[rows], weights=weight)),
                "fraud_share": float(np.average(tested.fraud[rows], weights=weight)),
            }
        )
    return answer


def _score_histogram(tested: Outcomes) -> dict[str, list[float]]:
    """Return how many honest transactions and frauds have which score, over log-odds, in equal bins."""
    edges = np.linspace(-FURTHEST_LOG_ODDS, FURTHEST_LOG_ODDS, SCORE_BINS + 1)
    log_odds = np.clip(logit(np.clip(tested.score, 1e-9, 1 - 1e-9)), edges[0], edges[-1])

    def counted(rows: Mask) -> list[float]:
        counts = np.histogram(log_odds[rows], edges, weights=tested.weight[rows])[0]
        return [float(count) for count in counts]

    return {
        "log_odds_edges": [float(edge) for edge in edges],
        "honest": counted(~tested.fraud),
        "fraud": counted(tested.fraud),
    }
