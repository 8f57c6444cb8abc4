"""What another budget would do: its cut-off on the calibration period, and what that does there and on the test."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.decision import ROUNDING_ROOM, CutOffError, CutOffs, choose_cutoffs
from model.training.evaluate import at_cutoffs
from model.training.evaluation import AtCutOff

# From a budget that hardly stops anyone to one that no bank would take.
BUDGETS: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045),
    *(0.05, 0.06, 0.07, 0.08, 0.09, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2),
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Transactions of one period with the scores of one model; every column has shape (n,).

    Attributes
    ----------
    label
        1 for fraud, as it is known by now.
    weight
        How many transactions each stands for.
    """

    label: NDArray[np.int64]
    score: Floats
    amount: Floats
    tx_seconds: NDArray[np.int64]
    weight: Floats

    def columns(self) -> dict[str, Any]:
        """Return the columns by the names that `evaluate` takes."""
        return {name: getattr(self, name) for name in ("label", "score", "amount", "tx_seconds", "weight")}


def choose_weighted_cutoffs(score: Floats, weight: Floats, *, flagged_budget: float, declined_budget: float) -> CutOffs:
    """Return the lowest cut-offs that keep both budgets on honest transactions of which each stands for some.

    Parameters
    ----------
    score, weight
        (n,): scores from 0 to 1, and how many transactions each row stands for.

    Raises
    ------
    CutOffError
        As `model.decision.choose_cutoffs`, which this equals where all weights are 1.
    """
    if (weight == 1).all():
        return choose_cutoffs(score, flagged_budget=flagged_budget, declined_budget=declined_budget)
    return CutOffs(
        review=weighted_cutoff(score, weight, flagged_budget), decline=weighted_cutoff(score, weight, declined_budget)
    )


def weighted_cutoff(score: Floats, weight: Floats, budget: float) -> float:
    """Return the lowest cut-off that at most `budget` of the weight of these scores reaches; equal ones go together."""
    levels, place = np.unique(score, return_inverse=True)
    at_or_above = np.cumsum(np.bincount(place, weight)[::-1])[::-1]
    allowed = np.flatnonzero(at_or_above <= budget * at_or_above[0])
    first = int(allowed[0]) if allowed.size else len(levels)
    passed = float(levels[first - 1])  # never -1: all of the weight is more than the budget
    if passed == 1:
        raise CutOffError(f"no cut-off keeps a budget of {budget:g}: too many honest scores equal 1")
    next_score = float(levels[first]) if first < len(levels) else 1.0
    # As in `model.decision`: above the one, not above the other, whatever is lost in rounding.
    return max(passed + min(ROUNDING_ROOM, (next_score - passed) / 2), math.nextafter(passed, 1))


def budget_grid(
    calibration: ScoredRows, test: ScoredRows, *, known_honest: NDArray[np.bool_], budgets: tuple[float, ...] = BUDGETS
) -> list[dict[str, Any]]:
    """Return for each budget its cut-off, and what that does in both periods, as plain JSON values.

    Parameters
    ----------
    known_honest
        The rows of the calibration period that counted as honest when the cut-offs were chosen, (n,).
    budgets
        Shares of honest transactions that may be stopped. One that no cut-off keeps is left out.
    """
    score, weight = calibration.score[known_honest], calibration.weight[known_honest]
    chosen: dict[float, float] = {}
    for budget in budgets:
        try:
            chosen[budget] = choose_weighted_cutoffs(
                score, weight, flagged_budget=budget, declined_budget=budget
            ).review
        except CutOffError:
            continue
    periods = (at_cutoffs(chosen.values(), **rows.columns()) for rows in (calibration, test))
    return [
        {"budget": budget, "cut_off": cutoff, "calibration": _plain(known), "test": _plain(tested)}
        for (budget, cutoff), known, tested in zip(chosen.items(), *periods, strict=True)
    ]


def _plain(at_cutoff: AtCutOff) -> Mapping[str, float | None]:
    figures = {name: value for name, value in asdict(at_cutoff).items() if name != "cut_off"}
    return {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}
