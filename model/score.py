"""Margins and probabilities: what a booster says of a row of features."""

import math

import lightgbm as lgb
import numpy as np

from model.statistics import Floats


class BoosterError(ValueError):
    """Text that is not a LightGBM model of the kind this project trains."""


def load_booster(text: str) -> lgb.Booster:
    """Load a booster from LightGBM's native text.

    The text must be known to be whole (see `model.bundle`): LightGBM ends the process on a truncated one.

    Raises
    ------
    BoosterError
        If the text cannot be parsed, or is not a binary classifier with plain log-odds.
    """
    if "\nobjective=binary sigmoid:1\n" not in text:
        raise BoosterError("the model's objective must be binary with sigmoid 1: its raw score is not a log-odds")
    try:
        return lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise BoosterError(f"LightGBM cannot load the model: {error}") from error


def probability(margin: float) -> float:
    """Return the probability of fraud for a margin in log-odds."""
    if margin >= 0:
        return 1 / (1 + math.exp(-margin))
    odds = math.exp(max(margin, -700.0))  # further down the probability is no longer a normal number
    return odds / (1 + odds)


def probabilities(margins: Floats) -> Floats:
    """Return the probability of fraud for each margin, shape (n,), equal to `probability` of each to the last bit."""
    return np.fromiter(map(probability, margins.tolist()), dtype=np.float64, count=len(margins))
