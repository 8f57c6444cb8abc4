"""Tested transactions of all folds side by side: what came of each, what the model said, what it would have done."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from model.statistics import Floats, Integers
from model.training.split import DAY

DAYS_PER_MONTH = 30
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """n tested transactions in order of time; every array is (n,).

    Attributes
    ----------
    fraud
        What really came of it, however late that became known.
    score
        Calibrated probability of fraud, by the model of its fold.
    review_from, decline_from
        The cut-offs of its fold, chosen before the fold's test began.
    amount, seconds, customer, terminal, scenario
        What the transaction was; scenario 0 for none or not known.
    weight
        How many transactions of the bank it stands for.
    fold
        Number of the fold that it was tested in.
    """

    fraud: Mask
    score: Floats
    review_from: Floats
    decline_from: Floats
    amount: Floats
    seconds: Integers
    customer: Integers
    terminal: Integers
    scenario: Integers
    weight: Floats
    fold: Integers

    def __len__(self) -> int:
        return len(self.fraud)

    @property
    def flagged(self) -> Mask:
        """Whether it would have been reviewed or declined."""
        return self.score >= self.review_from

    @property
    def declined(self) -> Mask:
        """Whether it would have been declined outright."""
        return self.score >= self.decline_from

    @property
    def day(self) -> Integers:
        """Day of each, in days since 1970."""
        return self.seconds // DAY

    @property
    def days(self) -> int:
        """How many days were tested."""
        return len(np.unique(self.day))

    @property
    def months(self) -> float:
        """How many months of 30 days were tested."""
        return self.days / DAYS_PER_MONTH

    def where(self, chosen: Mask) -> "Outcomes":
        """Return the transactions that a mask chooses."""
        return Outcomes(*(getattr(self, field.name)[chosen] for field in fields(self)))


def joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Return the transactions of several folds as one."""
    columns: list[npt.NDArray[Any]] = [
        np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Outcomes)
    ]
    return Outcomes(*columns)
