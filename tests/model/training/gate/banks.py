"""Rows with a known truth for the gate's tests: frauds in runs, two models of stated quality."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from model.decision import CutOffs
from model.training.gate import GateRows, GateRules, ScoredModel

DAY = 86_400
RULES = GateRules(resamples=299, min_frauds=20)


@dataclass(frozen=True)
class Truth:
    """What every row of a bank is drawn from.

    Attributes
    ----------
    signal
        How far, in standard deviations of a model's noise, frauds lie above honest payments.
    run
        How strongly the payments of one customer resemble each other to a model, 0 to 1: frauds come in runs.
    """

    customers: int = 300
    payments: int = 5
    frauds_share: float = 0.1
    signal: float = 2.0
    run: float = 0.7


def draw_bank(seed: int, truth: Truth = Truth()) -> tuple[GateRows, np.random.Generator]:
    """Return rows whose frauds are whole customers: a run each."""
    rng = np.random.default_rng(seed)
    cluster = np.repeat(rng.permutation(truth.customers), truth.payments)
    label = (rng.random(truth.customers) < truth.frauds_share)[cluster].astype(np.int64)
    n = len(cluster)
    amount = np.round(rng.lognormal(4, 0.5, n), 2)
    return GateRows(label, amount, rng.integers(0, 30 * DAY, n), cluster), rng


def draw_model(rows: GateRows, rng: np.random.Generator, truth: Truth = Truth(), *, name: str = "one") -> ScoredModel:
    """Return a model with noise of its own, half of it shared by a customer's payments.

    Scores are calibrated and the cut-offs keep their budgets exactly, so that two models of one signal are equally good
    in every measure, and what sets them apart on these rows is chance.
    """
    shared = rng.normal(size=int(rows.cluster.max()) + 1)[rows.cluster]
    noise = np.sqrt(truth.run) * shared + np.sqrt(1 - truth.run) * rng.normal(size=len(rows))
    prior = np.log(truth.frauds_share / (1 - truth.frauds_share))
    # Two normal distributions of equal spread: the log-odds are linear in what the model sees.
    seen = truth.signal * rows.label + noise

    def score_of(value: Any) -> Any:
        return expit(prior + truth.signal * value - truth.signal**2 / 2)

    cutoffs = CutOffs(review=float(score_of(norm.isf(0.05))), decline=float(score_of(norm.isf(0.01))))
    return ScoredModel(name, score_of(seen), cutoffs)
