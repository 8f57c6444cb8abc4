"""Six scored payments that can be evaluated in the head."""

from typing import Any

from model.decision import CutOffs
from model.training.evaluate import evaluate
from model.training.evaluation import Evaluation

DAY = 86_400
JULY = 17_713 * DAY  # 2018-07-01 00:00 UTC

# Two frauds and four honest payments on two days, so a month is fifteen times as long.
TINY: dict[str, list[float]] = {
    "label": [1, 1, 0, 0, 0, 0],
    "score": [0.9, 0.3, 0.8, 0.5, 0.2, 0.1],
    "amount": [100, 40, 10, 20, 30, 60],
    "tx_seconds": [JULY, JULY + 2 * DAY - 1, JULY, JULY, JULY + DAY, JULY + DAY],
}
TINY_CUTOFFS = CutOffs(review=0.5, decline=0.85)


def evaluate_tiny(**columns: Any) -> Evaluation:
    """Return their evaluation, with some columns changed."""
    return evaluate(**(TINY | columns), cutoffs=TINY_CUTOFFS)
