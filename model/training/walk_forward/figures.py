"""The figures of a tested period, each with its interval."""

import numpy as np

from model.statistics import Floats, Integers
from model.training.evaluation import FPR_REQUIRED, STRICT_FPR
from model.training.measures import Ranking, expected_calibration_error, quantile_bins
from model.training.walk_forward.bootstrap import Bootstrap, ranking_figures, with_intervals
from model.training.walk_forward.tested import Outcomes

SHARES = {"recall_at_fpr_5pct": FPR_REQUIRED, "recall_at_fpr_1pct": STRICT_FPR}
SUMS = (
    *("transactions", "frauds", "flagged", "flagged_frauds", "declined", "declined_frauds"),
    *("money_passed", "money_flagged", "money_flagged_frauds", "money_declined_honest"),
)


def all_figures(tested: Outcomes, bootstrap: Bootstrap) -> dict[str, float]:
    """Return every figure of the tested transactions under its plain name, with `_low` and `_high`."""
    columns = sum_columns(tested)
    figures = cut_off_figures(bootstrap.totals(columns), tested)
    resampled = cut_off_figures(bootstrap.sums(columns), tested)
    ranking, bins = Ranking(tested.fraud, tested.score), quantile_bins(tested.score, tested.weight)
    now = _row_figures(tested, ranking, bins, tested.weight[np.newaxis])
    drawn = [_row_figures(tested, ranking, bins, weight) for weight in bootstrap.weights()]
    return with_intervals(
        {name: float(value[0]) for name, value in now.items()} | {name: float(v) for name, v in figures.items()},
        {name: np.concatenate([part[name] for part in drawn]) for name in now} | resampled,
    )


def _row_figures(tested: Outcomes, ranking: Ranking, bins: Integers, weight: Floats) -> dict[str, Floats]:
    errors = [expected_calibration_error(tested.fraud, tested.score, each, bins=bins) for each in weight]
    return ranking_figures(ranking, weight, shares=SHARES) | {"expected_calibration_error": np.array(errors)}


def sum_columns(tested: Outcomes) -> Floats:
    """Return what is added up of each transaction, (n, 10), columns `SUMS`."""
    fraud, flagged, declined = tested.fraud, tested.flagged, tested.declined
    kinds = (np.ones(len(tested)), fraud, flagged, flagged & fraud, declined, declined & fraud)
    money = (fraud & ~flagged, flagged, flagged & fraud, declined & ~fraud)
    return np.stack([*(kind * 1.0 for kind in kinds), *(kind * tested.amount for kind in money)], axis=1)


def cut_off_figures(sums: Floats, tested: Outcomes) -> dict[str, Floats]:
    """Return what the cut-offs chosen beforehand did, from sums (..., 10) with columns `SUMS`.

    A share of nothing is NaN. A month has 30 days; money is in the unit of the amounts.
    """
    total = {name: sums[..., place] for place, name in enumerate(SUMS)}
    honest = total["transactions"] - total["frauds"]
    figures: dict[str, Floats] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for kind, verb in (("review", "flagged"), ("decline", "declined")):
            stopped, found = total[verb], total[f"{verb}_frauds"]
            figures[f"recall_{kind}"] = found / total["frauds"]
            figures[f"realised_fpr_{kind}"] = (stopped - found) / honest
            figures[f"precision_{kind}"] = found / stopped
            figures[f"f1_{kind}"] = 2 * found / (stopped + total["frauds"])
        missed = total["frauds"] - total["flagged_frauds"]
        figures["frauds_passed_per_100_transactions"] = 100 * missed / total["transactions"]
        figures["fraud_share"] = total["frauds"] / total["transactions"]
        false_money = total["money_flagged"] - total["money_flagged_frauds"]
        figures["share_of_fraud_money_passed"] = total["money_passed"] / (
            total["money_passed"] + total["money_flagged_frauds"]
        )
    figures["flagged_per_day"] = total["flagged"] / tested.days
    figures["declined_per_day"] = total["declined"] / tested.days
    figures["money_passed_per_month"] = total["money_passed"] / tested.months
    figures["money_falsely_stopped_per_month"] = false_money / tested.months
    figures["money_falsely_declined_per_month"] = total["money_declined_honest"] / tested.months
    return figures
