"""Golden rows: payments that travel with a model, with the answers that any correct scorer gives to them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.decision import CutOffs, decide
from model.explain import TreeExplainer, margins
from model.features import FEATURE_NAMES, build_features
from model.score import probability
from model.statistics import ROW_COLUMNS, Floats
from model.transaction import Transactions

GOLDEN_TOLERANCE = 1e-9  # log-odds; another processor may round differently, another model is further away


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """A payment and what was known at its moment, with the answer that any correct scorer gives.

    `features` and `contributions` are those of the model's own features, in its order.
    """

    tx_seconds: int
    tx_amount: float
    sums: list[float | None]
    features: list[float | None]
    contributions: list[float]
    margin: float
    decision: str


def golden_cases(
    transactions: Transactions,
    sums: Floats,
    *,
    explainer: TreeExplainer,
    cutoffs: CutOffs,
    feature_names: Sequence[str] = FEATURE_NAMES,
) -> list[GoldenCase]:
    """Return the golden cases that n transactions with their sums (n, 32) make.

    Parameters
    ----------
    explainer
        Of rows of all features, as `model.bundle.explainer_of` makes it.
    feature_names
        The model's own features in its order.
    """
    features = build_features(transactions, sums)
    contributions, base_value = explainer.explain(features)
    own = [FEATURE_NAMES.index(name) for name in feature_names]
    rows = zip(
        transactions.tx_seconds.tolist(),
        transactions.tx_amount.tolist(),
        sums.tolist(),
        features[:, own].tolist(),
        contributions[:, own].tolist(),
        margins(contributions, base_value).tolist(),
        strict=True,
    )
    return [
        GoldenCase(
            tx_seconds=seconds,
            tx_amount=amount,
            sums=_gaps(known),
            features=_gaps(row),
            contributions=shares,
            margin=margin,
            decision=decide(probability(margin), cutoffs),
        )
        for seconds, amount, known, row, shares, margin in rows
    ]


def first_disagreement(
    cases: Sequence[GoldenCase], *, explainer: TreeExplainer, cutoffs: CutOffs, feature_names: Sequence[str]
) -> int | None:
    """Return the place of the first golden row that now gets another answer, None if all get theirs."""
    transactions = Transactions(
        np.array([case.tx_seconds for case in cases], dtype=np.int64),
        np.array([case.tx_amount for case in cases], dtype=np.float64),
    )
    sums = np.array([case.sums for case in cases], dtype=np.float64)
    again = golden_cases(
        transactions,
        sums.reshape(len(cases), len(ROW_COLUMNS)),
        explainer=explainer,
        cutoffs=cutoffs,
        feature_names=feature_names,
    )
    pairs = enumerate(zip(cases, again, strict=True))
    return next((place for place, (expected, got) in pairs if not _agree(expected, got)), None)


def _agree(expected: GoldenCase, got: GoldenCase) -> bool:
    numbers = zip((*expected.contributions, expected.margin), (*got.contributions, got.margin), strict=True)
    return (
        expected.features == got.features
        and expected.decision == got.decision
        and all(math.isclose(a, b, rel_tol=0, abs_tol=GOLDEN_TOLERANCE) for a, b in numbers)
    )


def _gaps(numbers: list[float]) -> list[float | None]:
    return [None if math.isnan(number) else number for number in numbers]
