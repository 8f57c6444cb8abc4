import math
from dataclasses import dataclass
from numbers import Real
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLAGGED_BUDGET: Final = 0.05  # requirement: share of honest transactions flagged (review or decline)
DECLINED_BUDGET: Final = 0.01  # requirement: share of honest transactions declined outright

# Two implementations of one model agree within 4e-14; a cut-off this far above a score cannot be crossed by rounding.
ROUNDING_ROOM: Final = 1e-9

Decision = Literal["approve", "review", "decline"]
DECISIONS: Final[tuple[Decision, ...]] = ("approve", "review", "decline")


class CutOffError(ValueError):
    """Say which cut-off, budget or score breaks which rule."""


@dataclass(frozen=True, slots=True)
class CutOffs:
    """Hold the scores from which a transaction is reviewed and from which it is declined.

    Parameters
    ----------
    review, decline : float
        Probabilities of fraud, 0 to 1, ``review <= decline``. A score equal to a cut-off acts.

    Raises
    ------
    CutOffError
        If a cut-off is not a number from 0 to 1, or review is above decline.
    """

    review: float
    decline: float

    def __post_init__(self) -> None:
        for name in ("review", "decline"):
            _require_probability(f"the {name} cut-off", getattr(self, name))
        if self.review > self.decline:
            raise CutOffError("the review cut-off must not be above the decline cut-off")


def decide(score: float, cutoffs: CutOffs) -> Decision:
    """Return what to do with one transaction.

    Raises
    ------
    CutOffError
        If the score is NaN: a broken score must never pass as an approval.
    """
    if math.isnan(score):
        raise CutOffError("the score must be a number, not NaN")
    if score >= cutoffs.decline:
        return "decline"
    return "review" if score >= cutoffs.review else "approve"


def decide_many(scores: ArrayLike, cutoffs: CutOffs) -> NDArray[np.str_]:
    """Return what `decide` says of each score, same shape as `scores`."""
    score = np.asarray(scores, dtype=np.float64)
    if np.isnan(score).any():
        raise CutOffError("every score must be a number, not NaN")
    severity = (score >= cutoffs.review).astype(np.intp) + (score >= cutoffs.decline)
    return np.array(DECISIONS, dtype=np.str_)[severity]


def choose_cutoffs(
    honest_scores: ArrayLike,
    *,
    flagged_budget: float = FLAGGED_BUDGET,
    declined_budget: float = DECLINED_BUDGET,
) -> CutOffs:
    """Return the lowest cut-offs that keep both budgets on these honest transactions.

    Equal scores stand or fall together, so the share at or above a cut-off can stay below its budget, never exceed it.

    Parameters
    ----------
    honest_scores : array of shape (n,)
        Scores (0 to 1) of transactions known to be honest, from a period the model was not trained on.
    flagged_budget, declined_budget : float
        Largest share of them with a score at or above the review and the decline cut-off.

    Raises
    ------
    CutOffError
        If there are no scores, a score is not from 0 to 1, a budget is not between 0 and 1, the declined budget is
        above the flagged one, or so many scores equal 1 that no cut-off keeps the budget.
    """
    for name, budget in (("flagged", flagged_budget), ("declined", declined_budget)):
        if not 0 < budget < 1:
            raise CutOffError(f"the {name} budget must be above 0 and below 1")
    if declined_budget > flagged_budget:
        raise CutOffError("the declined budget must not be above the flagged budget")
    score = _checked_scores(honest_scores)
    return CutOffs(review=_lowest_cutoff(score, flagged_budget), decline=_lowest_cutoff(score, declined_budget))


def _require_probability(name: str, value: object) -> None:
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise CutOffError(f"{name} must be a number from 0 to 1")


def _checked_scores(honest_scores: ArrayLike) -> NDArray[np.float64]:
    score = np.asarray(honest_scores, dtype=np.float64).ravel()
    if not score.size:
        raise CutOffError("cut-offs need at least one honest transaction")
    if not ((score >= 0) & (score <= 1)).all():
        raise CutOffError("every honest score must be a number from 0 to 1")
    return score


def _lowest_cutoff(score: NDArray[np.float64], budget: float) -> float:
    """Return a cut-off just above the highest score that must be let through."""
    passed = _highest_passed(score, budget)
    if passed == 1:
        raise CutOffError(f"no cut-off keeps a budget of {budget:g}: too many honest scores equal 1")
    next_score = float(score[score > passed].min(initial=1.0))
    # Half-way at most, so that the scores above stay above; the next float at least, so that this one stays below.
    return max(passed + min(ROUNDING_ROOM, (next_score - passed) / 2), math.nextafter(passed, 1))


def _highest_passed(score: NDArray[np.float64], budget: float) -> float:
    rank = score.size - 1 - _allowed(score.size, budget)
    return float(np.partition(score, rank)[rank])


def _allowed(rows: int, budget: float) -> int:
    """Return the largest count whose share of `rows` is at most `budget`."""
    count = math.floor(budget * rows) + 1
    # A product can round to just below a whole number (0.29 * 100): compare the share itself.
    while count / rows > budget:
        count -= 1
    return count
