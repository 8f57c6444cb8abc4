"""What the gate is given: rules, the transactions both models are held against, and what each model says of them."""

import math
from dataclasses import dataclass, field

import numpy as np

from model.decision import DECLINED_BUDGET, FLAGGED_BUDGET, CutOffs
from model.training.measures import Costs, Floats, Integers, fewest_resamples
from model.training.ranking import checked_column, checked_labels, require_same_length

SECONDS_PER_DAY = 86_400


class GateError(ValueError):
    """Say which rule, column or score the gate cannot work with."""


@dataclass(frozen=True, slots=True)
class GateRules:
    """What a challenger must show before it replaces the champion.

    Attributes
    ----------
    alpha
        Share of equally good models that may be called different by chance.
    resamples
        Of the bootstrap.
    recall_margin
        Loss of recall at the flagged budget that the interval of the difference must leave out.
    flagged_budget, declined_budget
        Largest share of honest transactions at or above the review and the decline cut-off.
    fpr_tolerance
        How far above its budget the upper bound of a false positive rate may lie.
    calibration_limit
        Largest expected calibration error.
    explain_budget_us
        Microseconds that scoring and explaining one row may take.
    costs
        Of decisions, for the expected loss.
    min_frauds
        Fewer, and nothing can be said: an interval from a handful of frauds is short because they are few.
    require_improvement
        Whether a challenger must be better in something to be promoted. Off, a challenger that is not worse is enough:
        it was trained on later payments, and a model ages. On, only a claim that stands up to the bootstrap counts.
    seed
        Of the bootstrap.
    """

    alpha: float = 0.05
    resamples: int = 1000
    recall_margin: float = 0.005
    flagged_budget: float = FLAGGED_BUDGET
    declined_budget: float = DECLINED_BUDGET
    fpr_tolerance: float = 0.005
    calibration_limit: float = 0.002
    explain_budget_us: float = 200.0
    costs: Costs = field(default_factory=Costs)
    min_frauds: int = 50
    require_improvement: bool = False
    seed: int = 7

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise GateError("alpha must be above 0 and below 1")
        # A third of alpha: the claims about three measures are held to alpha together.
        if self.resamples < fewest_resamples(self.alpha / 3):
            raise GateError(f"resamples must be at least {fewest_resamples(self.alpha / 3)} for this alpha")
        if not 0 < self.declined_budget <= self.flagged_budget < 1:
            raise GateError("budgets must be above 0 and below 1, the declined one not above the flagged one")
        for name in ("recall_margin", "fpr_tolerance", "calibration_limit", "explain_budget_us", "min_frauds"):
            if not 0 <= getattr(self, name) < math.inf:
                raise GateError(f"{name} must be a finite number, not negative")


@dataclass(frozen=True, slots=True, eq=False)
class GateRows:
    """n recent transactions with labels that are known by now; neither model was trained on them.

    Attributes
    ----------
    label
        1 for fraud, 0 for honest, (n,).
    amount
        In the unit of the currency, not negative, (n,).
    tx_seconds
        Since 1970-01-01 UTC, (n,).
    cluster
        What the bootstrap draws as one, such as the hashed customer, int64 (n,). Frauds come in runs: drawn one by one
        they would promise more evidence than there is.
    weight
        How many transactions of the bank each row stands for: 1 / the probability that it was kept, (n,). None: 1 each.

    Raises
    ------
    GateError, MeasureError
        If a column breaks the rule above.
    """

    label: Integers
    amount: Floats
    tx_seconds: Integers
    cluster: Integers
    weight: Floats | None = None

    def __post_init__(self) -> None:
        checked_labels(self.label)
        columns = {"label": self.label, "amount": self.amount, "tx_seconds": self.tx_seconds, "cluster": self.cluster}
        if self.weight is not None:
            columns["weight"] = self.weight
            if not (checked_column("weight", self.weight) > 0).all():
                raise GateError("weight must be above 0 in every row")
        require_same_length(**columns)
        if (checked_column("amount", self.amount) < 0).any():
            raise GateError("amount must not be negative")
        if self.cluster.dtype.kind not in "iu" or self.tx_seconds.dtype.kind not in "iu":
            raise GateError("cluster and tx_seconds must be columns of integers")

    def __len__(self) -> int:
        return len(self.label)

    @property
    def weights(self) -> Floats:
        """The weight of each row, (n,)."""
        return np.ones(len(self)) if self.weight is None else self.weight.astype(np.float64)

    @property
    def days(self) -> int:
        """Days (UTC) from the first transaction to the last, both included."""
        return int(np.ptp(self.tx_seconds // SECONDS_PER_DAY)) + 1


@dataclass(frozen=True, slots=True, eq=False)
class ScoredModel:
    """What one model says of the rows, whichever features it uses.

    Attributes
    ----------
    name
        As it stands in the report, such as "version 12".
    scores
        Calibrated probabilities of fraud, 0 to 1, (n,).
    cutoffs
        The model's own, chosen before these rows.
    """

    name: str
    scores: Floats
    cutoffs: CutOffs

    def __post_init__(self) -> None:
        scores = checked_column(f"scores of {self.name}", self.scores)
        if not ((scores >= 0) & (scores <= 1)).all():
            raise GateError(f"scores of {self.name} must be from 0 to 1 in every row")
