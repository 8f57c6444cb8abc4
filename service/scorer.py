"""One transaction in, one answer out: features, margin and SHAP values, decision, reasons. Knows nothing of HTTP."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.bundle import Bundle
from model.decision import decide
from model.explain import margins
from model.features import FEATURE_NAMES, build_features
from model.reasons import Reason, explain_in_words
from model.score import probability
from model.statistics import Integers, Snapshot
from model.transaction import IdHasher, Transactions, canonical_id, epoch_seconds
from service.schemas import Transaction

_NO_KEY = 0  # stands for an id that history never keeps; 0 itself is as unlikely a hash as any other


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified pair of model and statistics with their versions; it is replaced as one."""

    bundle: Bundle
    snapshot: Snapshot
    model_version: str
    statistics_version: str


class Scorer:
    """Score transactions with one loaded pair.

    Parameters
    ----------
    loaded
        Model and statistics.
    hasher
        Holds the id key that the pair was made with.
    """

    def __init__(self, loaded: Loaded, hasher: IdHasher) -> None:
        self.loaded = loaded
        self._hasher = hasher

    def answer(self, transactions: Sequence[Transaction], *, full: bool = False) -> list[dict[str, Any]]:
        """Return an answer for each transaction, in order; `full` adds every feature's value and SHAP value."""
        sums = self.loaded.snapshot.lookup(
            self._keys([self._hash(self._hasher.customer, one.customer_id) for one in transactions]),
            self._keys([self._hash(self._hasher.terminal, one.terminal_id) for one in transactions]),
        )
        features = build_features(_columns(transactions), sums)
        contributions, base_value = self.loaded.bundle.explainer.explain(features)
        known = ~np.isnan(sums[:, :, 0, 0])
        rows = zip(
            transactions,
            features.tolist(),
            contributions.tolist(),
            margins(contributions, base_value).tolist(),
            known.tolist(),
            strict=True,
        )
        return [self._answer(*row, base_value=base_value, full=full) for row in rows]

    def _answer(
        self,
        transaction: Transaction,
        features: list[float],
        contributions: list[float],
        margin: float,
        known: list[bool],
        *,
        base_value: float,
        full: bool,
    ) -> dict[str, Any]:
        score = probability(margin)
        answer: dict[str, Any] = {
            "transaction_id": transaction.transaction_id,
            "decision": decide(score, self.loaded.bundle.cutoffs),
            "score": score,
            "base_value": base_value,
            "reasons": [_reason(reason) for reason in explain_in_words(features, contributions)],
            "customer_known": known[0],
            "terminal_known": known[1],
            "model_version": self.loaded.model_version,
            "statistics_as_of": self.loaded.snapshot.as_of,
        }
        if full:
            pairs = zip(FEATURE_NAMES, features, contributions, strict=True)
            answer["features"] = {name: {"value": value, "contribution": share} for name, value, share in pairs}
        return answer

    @staticmethod
    def _hash(hash_id: Callable[[str], int], raw: int | str) -> int:
        text = canonical_id(raw)
        return _NO_KEY if text is None else hash_id(text)

    @staticmethod
    def _keys(hashes: list[int]) -> Integers:
        return np.array(hashes, dtype=np.int64)


def _columns(transactions: Sequence[Transaction]) -> Transactions:
    seconds = np.array([epoch_seconds(one.tx_datetime) for one in transactions], dtype=np.int64)
    # An amount of minus zero is zero, and must not be printed otherwise.
    return Transactions(seconds, np.array([one.tx_amount + 0.0 for one in transactions], dtype=np.float64))


def _reason(reason: Reason) -> dict[str, Any]:
    return {
        "code": reason.code,
        "text": reason.text,
        "contribution": reason.contribution,
        "features": reason.features,
    }
