"""How measures and their figures are put into words, for table and figure alike."""

import math

from model.training.gate.comparison import MeasureComparison

_SHORT = {"roc_auc": "ROC AUC", "false_positive_rate": "false positive rate", "f1": "F1"}
_MONEY = "per_month"


def is_money(name: str) -> bool:
    """Say whether a measure is in the unit of the amounts and not a share."""
    return name.endswith(_MONEY)


def title_of(name: str) -> str:
    """Return a measure's name in words."""
    words = name
    for short, long in _SHORT.items():
        words = words.replace(short, long)
    words = words.replace("_", " ")
    return words[0].upper() + words[1:]


def value_of(measure: MeasureComparison, value: float) -> str:
    """Return a value of a measure: money in whole units, shares in percent."""
    if not math.isfinite(value):
        return "n/a"
    return f"{value:,.0f}" if is_money(measure.name) else f"{100 * value:.3f}"


def difference_of(measure: MeasureComparison, value: float) -> str:
    """Return a difference or an end of its interval, with its sign."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "unknown"
    return f"{value:+,.0f}" if is_money(measure.name) else f"{100 * value:+.3f}"


def verdict_of(measure: MeasureComparison) -> str:
    """Return what the interval says of the challenger."""
    return "better" if measure.better else "worse" if measure.worse else ""
