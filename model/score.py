"""Margins and probabilities: what a booster says of a row of features."""

import math

import lightgbm as lgb
import numpy as np

from model.statistics import Floats

# Any other objective, class or sigmoid, and the raw score is not the log-odds of fraud.
_HEADER = ("num_class=1", "num_tree_per_iteration=1", "objective=binary sigmoid:1")


class BoosterError(ValueError):
    """Text that is not a LightGBM model of the kind this project trains."""


def load_booster(text: str) -> lgb.Booster:
    """Load a booster from LightGBM's native text.

    LightGBM may end the process on text that was cut off or edited, so its hash must be known to be right (see
    `model.bundle`). What this function can see for itself, it refuses.

    Raises
    ------
    BoosterError
        If the text cannot be parsed, or is not a binary classifier whose trees add up to plain log-odds.
    """
    header = text.partition("\n\n")[0].splitlines()
    for line in _HEADER:
        if line not in header:
            raise BoosterError(f"the model's text must say {line!r}, or its raw score is not the log-odds of fraud")
    if "average_output" in header or "\nis_linear=1\n" in text:
        raise BoosterError(
            "the model must be boosted trees with constant leaves; a forest or linear leaves have no sum"
        )
    _require_whole(text, header)
    try:
        booster = lgb.Booster(model_str=text)
    except lgb.basic.LightGBMError as error:
        raise BoosterError(f"LightGBM cannot load the model: {error}") from error
    return booster


def _require_whole(text: str, header: list[str]) -> None:
    """Check that each tree begins where the header says; LightGBM jumps there without looking."""
    sizes = next((line for line in header if line.startswith("tree_sizes=")), "").removeprefix("tree_sizes=").split()
    if not sizes:
        raise BoosterError("the model has no trees")
    place = text.find("Tree=0\n")
    for number, size in enumerate(sizes):
        if not text.startswith(f"Tree={number}\n", place):
            raise BoosterError(f"the model's text was cut off or edited: tree {number} is not in its place")
        place += int(size) if size.isdecimal() else 0
    if not text.startswith("end of trees\n", place):
        raise BoosterError("the model's text was cut off or edited: its trees do not end where they should")


def probability(margin: float) -> float:
    """Return the probability of fraud for a margin in log-odds."""
    if margin >= 0:
        return 1 / (1 + math.exp(-margin))
    odds = math.exp(max(margin, -700.0))  # further down the probability is no longer a normal number
    return odds / (1 + odds)


def probabilities(margins: Floats) -> Floats:
    """Return the probability of fraud for each margin, shape (n,), equal to `probability` of each to the last bit."""
    return np.fromiter(map(probability, margins.tolist()), dtype=np.float64, count=len(margins))
