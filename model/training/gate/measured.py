"""Every measure of one model under many draws of the bootstrap at once."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from scipy.sparse import coo_array, csr_array

from model.training.gate.inputs import GateRows, GateRules, ScoredModel
from model.training.measures import CALIBRATION_BINS, Clusters, Floats, Integers, Ranking, quantile_bins, row_losses

RECALL: Final = "recall_at_flagged_budget"
AVERAGE_PRECISION: Final = "average_precision"
LOSS: Final = "expected_loss_per_month"
CALIBRATION: Final = "expected_calibration_error"
REVIEW_FPR: Final = "review_false_positive_rate"
DECLINE_FPR: Final = "decline_false_positive_rate"
DAYS_PER_MONTH: Final = 30

# Whether more is better. Recall at a budget has the best cut-off in hindsight, `review_*` and `decline_*` the model's
# own; money is in the unit of the amounts.
MEASURES: Final[Mapping[str, bool]] = MappingProxyType(
    {
        RECALL: True,
        "recall_at_declined_budget": True,
        "roc_auc": True,
        AVERAGE_PRECISION: True,
        "review_recall": True,
        REVIEW_FPR: False,
        "review_precision": True,
        "review_f1": True,
        "decline_recall": True,
        DECLINE_FPR: False,
        "decline_precision": True,
        "decline_f1": True,
        LOSS: False,
        "money_passed_per_month": False,
        CALIBRATION: False,
    }
)

# Cells: the sums that a row adds to. The first are those that measures at fixed cut-offs are made of, the rest those of
# the ranking.
_KINDS = 6  # honest or fraud, by decision; the first cells
_LOSS, _PASSED = 6, 7
_SURPLUS = 8  # of the first calibration bin
_RANKED = _SURPLUS + CALIBRATION_BINS  # of the ranking's first sum


class MeasuredModel:
    """One model on the gate's rows, ready to be measured under draw after draw.

    Every measure is made of sums over rows, and a draw only says how often each cluster's share of them counts. So the
    shares are added up once, and a draw costs what they are, not what the rows are.

    Parameters
    ----------
    clusters
        Of the rows, as `GateRows.cluster` names them.
    """

    def __init__(self, rows: GateRows, model: ScoredModel, *, clusters: Clusters, rules: GateRules) -> None:
        if len(model.scores) != len(rows):
            raise ValueError(f"{model.name} has {len(model.scores)} scores for {len(rows)} rows")
        self._budgets = rules.flagged_budget, rules.declined_budget
        self._months = rows.days / DAYS_PER_MONTH
        self._ranking = Ranking(rows.label, model.scores)
        self._cells = _cells(rows, model, ranking=self._ranking, clusters=clusters, rules=rules)

    def sums(self, draws: Floats) -> Floats:
        """Return the sums of all cells, (cells, b), from how often each cluster was drawn, (clusters, b)."""
        return np.asarray(self._cells @ draws)

    def measure(self, sums: Floats) -> Floats:
        """Return the values of `MEASURES`, (b, 15), from what `sums` returns; NaN for a share of nothing."""
        curve = self._ranking.curve_of(sums[_RANKED:].T)
        ranked = *(curve.recall_at_fpr(share) for share in self._budgets), curve.roc_auc, curve.average_precision
        return np.stack([*ranked, *self._at_cutoffs(sums)], axis=-1)

    def _at_cutoffs(self, sums: Floats) -> list[Floats]:
        with np.errstate(divide="ignore", invalid="ignore"):
            honest, fraud = sums[: _KINDS // 2], sums[_KINDS // 2 : _KINDS]
            figures = []
            for first_acting in (1, 2):  # review, decline
                found, alarms = fraud[first_acting:].sum(axis=0), honest[first_acting:].sum(axis=0)
                frauds, flagged = fraud.sum(axis=0), found + alarms
                f1 = np.where(frauds > 0, 2 * found / (flagged + frauds), np.nan)
                figures += [found / frauds, alarms / honest.sum(axis=0), found / flagged, f1]
            error = np.abs(sums[_SURPLUS:_RANKED]).sum(axis=0) / sums[:_KINDS].sum(axis=0)
        return [*figures, sums[_LOSS] / self._months, sums[_PASSED] / self._months, error]


def calibration_errors_by_chance(sums: Floats, drawn: Floats) -> Floats:
    """Return expected calibration errors that a perfectly calibrated model would show on such rows, (b,).

    What the bootstrap moves the surplus of each bin by is what chance does to it, runs of frauds included.

    Parameters
    ----------
    sums, drawn
        What `MeasuredModel.sums` makes of every cluster once, (cells, 1), and of b draws, (cells, b).
    """
    moved = np.abs(drawn[_SURPLUS:_RANKED] - sums[_SURPLUS:_RANKED]).sum(axis=0)
    return np.asarray(moved / sums[:_KINDS].sum())


def _cells(rows: GateRows, model: ScoredModel, *, ranking: Ranking, clusters: Clusters, rules: GateRules) -> csr_array:
    """Return what each cluster adds to each cell, sparse (cells, clusters): most customers are in few cells."""
    fraud, scores, weights = rows.label == 1, np.asarray(model.scores, dtype=np.float64), rows.weights
    acts = (scores >= model.cutoffs.review).astype(np.int64) + (scores >= model.cutoffs.decline)
    losses = row_losses(rows.label, scores, rows.amount, cutoffs=model.cutoffs, costs=rules.costs)
    passed = fraud & (acts == 0)
    parts: list[tuple[Integers, Integers, Floats]] = [
        (fraud * (_KINDS // 2) + acts, clusters.place, weights),
        (np.full(len(rows), _LOSS), clusters.place, losses * weights),
        (np.full(int(passed.sum()), _PASSED), clusters.place[passed], (rows.amount * weights)[passed]),
        (_SURPLUS + quantile_bins(scores, weights), clusters.place, (scores - fraud) * weights),
        (_RANKED + ranking.sum_of_row(), clusters.place, weights),
    ]
    cell, cluster, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    return csr_array(coo_array((value, (cell, cluster)), shape=(_RANKED + ranking.n_sums, clusters.n)))
