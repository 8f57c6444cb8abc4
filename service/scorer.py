"""One transaction in, one answer out: features, SHAP values and margin, decision, reasons. Knows nothing of HTTP."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from model.bundle import Bundle
from model.decision import decide
from model.features import FEATURE_NAMES, ProfileTable, RowBuilder
from model.reasons import explain_in_words
from model.score import probability
from model.statistics import Snapshot
from model.transaction import IdHasher, canonical_id, epoch_seconds
from service.schemas import Transaction

_NO_KEY = 0  # stands for an id that history never keeps; as a hash it is as unlikely as any other


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified pair of model and statistics with their versions; it is replaced as one."""

    bundle: Bundle
    snapshot: Snapshot
    model_version: str
    statistics_version: str


class Scorer:
    """Score transactions, one at a time, with one loaded pair. Not for several threads: it works in one row.

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
        self._customers = ProfileTable(loaded.snapshot.customer.keys, loaded.snapshot.customer.sums)
        self._terminals = ProfileTable(loaded.snapshot.terminal.keys, loaded.snapshot.terminal.sums)
        self._builder = RowBuilder()
        self._explain = loaded.bundle.explainer.explain_into
        self._base_value = loaded.bundle.explainer.base
        self._contributions = np.empty(len(FEATURE_NAMES))
        self._as_of = loaded.snapshot.as_of

    def answer(self, transaction: Transaction, *, full: bool = False) -> tuple[dict[str, Any], tuple[int, int]]:
        """Return the answer, and the hashes of customer and terminal; `full` adds every feature with its SHAP value."""
        customer_key, terminal_key = self._keys(transaction)
        customer, terminal = self._customers.find(customer_key), self._terminals.find(terminal_key)
        amount = transaction.tx_amount + 0.0  # minus zero is zero, and must not be printed otherwise
        row = self._builder.build(
            epoch_seconds(transaction.tx_datetime),
            amount,
            ProfileTable.UNKNOWN if customer is None else customer,
            ProfileTable.UNKNOWN if terminal is None else terminal,
        )
        contributions, features = self._contributions, row.tolist()
        score = probability(self._explain(row, contributions))
        answer: dict[str, Any] = {
            "transaction_id": transaction.transaction_id,
            "decision": decide(score, self.loaded.bundle.cutoffs),
            "score": score,
            "base_value": self._base_value,
            "reasons": explain_in_words(features, contributions),
            "customer_known": customer is not None,
            "terminal_known": terminal is not None,
            "model_version": self.loaded.model_version,
            "statistics_as_of": self._as_of,
        }
        if full:
            pairs = zip(FEATURE_NAMES, features, contributions.tolist(), strict=True)
            answer["features"] = {name: {"value": value, "contribution": share} for name, value, share in pairs}
        return answer, (customer_key, terminal_key)

    def _keys(self, transaction: Transaction) -> tuple[int, int]:
        customer, terminal = canonical_id(transaction.customer_id), canonical_id(transaction.terminal_id)
        return (
            _NO_KEY if customer is None else self._hasher.customer(customer),
            _NO_KEY if terminal is None else self._hasher.terminal(terminal),
        )
