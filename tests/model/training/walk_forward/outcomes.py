"""Tested rows for tests: a few made by hand, or many at random."""

from typing import Any

import numpy as np

from model.statistics import HOUR
from model.training.split import DAY
from model.training.walk_forward.tested import Outcomes

JULY = 17_713 * DAY  # 2018-07-01 00:00 UTC


def outcomes(n: int, **columns: Any) -> Outcomes:
    """Return n honest rows of one minute after the other, with changes."""
    given = {
        "fraud": np.zeros(n, dtype=bool),
        "score": np.zeros(n),
        "review_from": np.full(n, 0.5),
        "decline_from": np.full(n, 0.9),
        "amount": np.full(n, 10.0),
        "seconds": JULY + 60 * np.arange(n),
        "customer": np.arange(n),
        "terminal": np.arange(n),
        "scenario": np.zeros(n, dtype=np.int64),
        "weight": np.ones(n),
        "fold": np.ones(n, dtype=np.int64),
    }
    return Outcomes(**given | {name: np.asarray(values) for name, values in columns.items()})


def random_outcomes(n: int = 600, *, seed: int = 1, terminals: int = 40, days: int = 4) -> Outcomes:
    """Return rows whose frauds fill whole terminals, scored so that most of a terminal is found or missed together."""
    rng = np.random.default_rng(seed)
    terminal = rng.integers(0, terminals, n)
    fraud = (terminal < terminals // 8) & (rng.random(n) < 0.9)
    luck = rng.random(terminals)
    score = np.clip(0.55 * fraud * (luck[terminal] > 0.3) + 0.6 * rng.random(n), 0, 1).round(2)
    return outcomes(
        n,
        fraud=fraud,
        score=score,
        amount=rng.gamma(2.0, 30.0, n).round(2),
        seconds=np.sort(JULY + rng.integers(0, days * DAY, n)) // HOUR * HOUR,
        customer=rng.integers(0, 80, n),
        terminal=terminal,
        scenario=np.where(fraud, 2, 0),
    )
