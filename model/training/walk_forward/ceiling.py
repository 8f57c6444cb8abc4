"""What could be known at best: frauds of which nothing tells, when they happen, that they are not honest."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.features import FEATURE_NAMES
from model.statistics import HOUR, Floats, Integers
from model.training.dataset import Dataset
from model.training.evaluation import FPR_REQUIRED, STRICT_FPR
from model.training.walk_forward.runs import Runs, find_runs
from model.training.walk_forward.tested import Mask

TERMINAL_SCENARIO = 2  # of the simulator: everything at a taken terminal is fraud, and looks as before
ORDINARY_DEVIATIONS = 3.0
ORDINARY_QUANTILE = 0.999  # of the amounts of honest transactions
DEFINITION = (
    "A fraud is silent if no report of the present run at its terminal, nor of its customer's present run, had arrived"
    " when the statistics that it was scored with were made, and its amount is ordinary: at most the 99.9 % quantile of"
    " honest amounts and at most 3 standard deviations above the customer's 30-day mean. A run ends after seven days"
    " without a fraud. Silent frauds are found by chance only, as often as honest payments are flagged; the ceiling"
    " catches all others: 1 - silent share x (1 - false positive rate)."
)
SCENARIO_DEFINITION = (
    "The same where the scenario is known: silent are the frauds of taken terminals (scenario 2) of whose present run"
    " no report had arrived; whatever else is known of customer and amount is taken to be chance."
)


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Which of n rows are silent frauds: by what was known alone, and by the scenario where the history names it."""

    silent: Mask
    silent_by_scenario: Mask | None


def find_silent(rows: Dataset, *, statistics_age_hours: int) -> Ceiling:
    """Return the silent frauds among all rows of a history."""
    fraud = rows.label == 1
    reported_at_terminal = _reported(rows, rows.terminal_key, fraud, statistics_age_hours)
    reported_of_customer = _reported(rows, rows.customer_key, fraud, statistics_age_hours)
    silent = fraud & ~reported_at_terminal & ~reported_of_customer & _is_ordinary(rows)
    if not (rows.scenario > 0).any():
        return Ceiling(silent, None)
    taken = fraud & (rows.scenario == TERMINAL_SCENARIO)
    return Ceiling(silent, taken & ~_reported(rows, rows.terminal_key, taken, statistics_age_hours))


def runs_of(rows: Dataset, key: Integers, chosen: Mask) -> Runs:
    """Return the runs of the chosen frauds by their keys."""
    return find_runs(key[chosen], rows.transactions.tx_seconds[chosen], rows.report_hour[chosen])


def _reported(rows: Dataset, key: Integers, chosen: Mask, age_hours: int) -> Mask:
    """Say of which chosen frauds the present run had a report by the refresh before them."""
    runs = runs_of(rows, key, chosen)
    hour = rows.transactions.tx_seconds[chosen] // HOUR
    run = runs.of(key[chosen], rows.transactions.tx_seconds[chosen])
    answer = np.zeros(len(rows), dtype=np.bool_)
    # A report counts from the hour after the one in which it arrived.
    answer[chosen] = runs.first_report_hour[run] < hour - hour % age_hours
    return answer


def _is_ordinary(rows: Dataset) -> Mask:
    amount: Floats = rows.transactions.tx_amount
    limit = np.quantile(amount[rows.label == 0], ORDINARY_QUANTILE)
    deviations = rows.features[:, FEATURE_NAMES.index("customer_amount_zscore_30d")]
    # A customer of whom nothing is known has no normal to leave.
    return np.asarray((amount <= limit) & ~(deviations > ORDINARY_DEVIATIONS))


def ceiling_figures(fraud: Mask, silent: Mask, weight: Floats, definition: str) -> dict[str, Any]:
    """Return the ceiling of tested rows, all (n,), with its definition in words."""
    share = float(weight[fraud & silent].sum() / weight[fraud].sum())
    return {
        "silent_fraud_share": share,
        "recall_at_fpr_5pct": 1 - share * (1 - FPR_REQUIRED),
        "recall_at_fpr_1pct": 1 - share * (1 - STRICT_FPR),
        "definition": definition,
    }


def best_ceiling(ceiling: dict[str, Any]) -> dict[str, Any]:
    """Return the ceiling to judge by: that of the scenarios, as it is exact, where they are known."""
    return dict(ceiling["by_scenario"] or ceiling)
