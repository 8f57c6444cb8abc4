"""Reasons: SHAP values put together by what they speak of, in words that carry the payment's own numbers."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypedDict

import numpy as np

from model.features import FEATURE_NAMES, build_features
from model.reason_codes import CODES, GROUPS
from model.statistics import SUMS, Floats
from model.transaction import Transactions, epoch_seconds

__all__ = ["CODES", "GROUPS", "Reason", "catalogue", "explain_in_words"]

# The groups' features side by side, so that one call sums up all groups.
_ORDER = np.array([FEATURE_NAMES.index(name) for group in GROUPS for name in group.features])
_GROUP_PLACES = range(len(GROUPS))
_STARTS = np.cumsum([0, *(len(group.features) for group in GROUPS[:-1])])


class Reason(TypedDict):
    """What one group says of one payment; `contribution` in log-odds, above 0 speaks for fraud."""

    code: str
    text: str
    contribution: float
    features: dict[str, float]


def explain_in_words(features: Sequence[float], contributions: Floats) -> list[Reason]:
    """Return a reason per group, the strongest first, for one payment.

    Parameters
    ----------
    features
        Plain floats in the order of `FEATURE_NAMES`.
    contributions
        SHAP values in the same order, (61,), in log-odds.
    """
    if len(features) != len(FEATURE_NAMES):
        raise ValueError(f"a payment has {len(FEATURE_NAMES)} features, not {len(features)}")
    shares: list[float] = np.add.reduceat(contributions.take(_ORDER), _STARTS).tolist()
    weakness = [-abs(share) for share in shares]
    return [_reason(place, features, shares[place]) for place in sorted(_GROUP_PLACES, key=weakness.__getitem__)]


def _reason(place: int, features: Sequence[float], contribution: float) -> Reason:
    group = GROUPS[place]
    code, words = group.choose(features)
    return {
        "code": code.name,
        "text": code.pattern % words,
        "contribution": contribution,
        "features": {name: features[at] for name, at in group.shown_at},
    }


def catalogue() -> str:
    """Return the page of all reason codes, Markdown, that `docs/reasons.md` holds."""
    examples = _examples()
    lines = [_CATALOGUE_HEAD]
    for group in GROUPS:
        features = ", ".join(f"`{name}`" for name in group.features)
        lines += [f"## {group.name}", "", f"Features: {features}.", ""]
        lines += ["| code | given when | text | for example |", "|---|---|---|---|"]
        lines += [f"| `{code.name}` | {code.when} | {code.template} | {examples[code.name]} |" for code in group.codes]
        lines += [""]
    return "\n".join(lines)


_CATALOGUE_HEAD = """# Reason codes

Every answer carries one reason from each group below, the strongest first. A reason's `contribution` is the sum of the
exact SHAP values of the group's features, in log-odds: above 0 it speaks for fraud, below 0 for the payment. All
contributions and the base value add up to the log-odds of the score. A text says what is so, its contribution what the
model makes of it: an amount not far from the mean may still speak for fraud, if this customer's amounts hardly differ.

"The last day" and "30 days" end at the hour that the answer states as `statistics_as_of`. Reports count on the day they
arrive, which may be after the payment they speak of has left the 30 days. Words in braces are filled in with the
payment's own numbers.

This page is generated from `model/reason_codes.py` by `antifraud reasons`; `make check` compares the two.
"""

# What was known of a customer or terminal: payments and reports in 1, 7 and 30 days, and the mean amount.
_Known = tuple[tuple[int, int, int], tuple[int, int, int], float]
_UNSEEN: _Known | None = None

# Payments that between them are given every code: moment, amount, what was known of the customer and of the terminal.
_EXAMPLE_PAYMENTS: tuple[tuple[str, float, _Known | None, _Known | None], ...] = (
    ("2026-11-24T14:25", 412.0, ((4, 20, 87), (0, 0, 0), 98.10), ((12, 80, 310), (2, 3, 3), 61.40)),
    ("2026-11-28T02:10", 20.0, ((9, 21, 45), (0, 0, 1), 98.10), ((31, 90, 330), (0, 0, 0), 61.40)),
    ("2026-11-24T14:25", 90.0, ((0, 3, 12), (0, 0, 0), 98.10), ((3, 20, 80), (0, 0, 0), 85.0)),
    ("2026-11-24T14:25", 5.0, ((0, 1, 4), (0, 0, 0), 0.0), ((0, 2, 6), (0, 0, 0), 0.0)),
    ("2026-11-24T14:25", 35.0, _UNSEEN, _UNSEEN),
    ("2026-11-24T14:25", 35.0, ((0, 0, 0), (1, 1, 1), 0.0), ((0, 0, 0), (0, 0, 1), 0.0)),
)


def _examples() -> dict[str, str]:
    """Return a text for each code: the first that one of the example payments is given."""
    examples: dict[str, str] = {}
    for features in _example_features():
        for reason in explain_in_words(features, np.zeros(len(features))):
            examples.setdefault(reason["code"], reason["text"])
    return examples


def _example_features() -> Iterator[list[float]]:
    for moment, amount, customer, terminal in _EXAMPLE_PAYMENTS:
        seconds = epoch_seconds(datetime.fromisoformat(moment).replace(tzinfo=UTC))
        sums = np.array([[*_sums("customer", customer), *_sums("terminal", terminal)]])
        yield from build_features(Transactions(np.array([seconds]), np.array([amount])), sums).tolist()


def _sums(entity: str, known: _Known | None) -> list[float]:
    if known is None:
        return [float("nan")] * len(SUMS[entity])
    counts, reports, mean = known
    cents = 100 * mean
    # Amounts that differ from their mean by half of it.
    of_one = {"amount": cents, "amount_squared": cents * cents * 1.25}
    days = [one.hours // 24 for one in SUMS[entity]]
    places = [0 if day == 1 else 1 if day <= 7 else 2 for day in days]
    return [
        float(reports[place]) if one.quantity == "reports" else counts[place] * of_one.get(one.quantity, 1.0)
        for one, place in zip(SUMS[entity], places, strict=True)
    ]
