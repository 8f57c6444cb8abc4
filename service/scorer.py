"""One transaction in, one answer out: features, SHAP values and margin, decision, reasons. Knows nothing of HTTP."""

import mmap
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

_PART = 4 * 2**20  # bytes
_NO_KEY = 0  # stands for an id that history never keeps; as a hash it is as unlikely as any other


@dataclass(frozen=True, slots=True)
class Tables:
    """The profiles of all customers and terminals of a snapshot.

    Attributes
    ----------
    mappings
        The files they lie in, where they do.
    """

    customer: ProfileTable
    terminal: ProfileTable
    mappings: tuple[mmap.mmap, ...] = ()

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Tables":
        """Make them in memory."""
        customer, terminal = snapshot.customer, snapshot.terminal
        return cls(ProfileTable.of("customer", customer), ProfileTable.of("terminal", terminal))

    def rest(self) -> None:
        """Give the memory of mapped pages back; they come again when needed. Not for the loop's thread."""
        for mapping in self.mappings:
            # A part at a time, so that this process's other threads are not held up.
            for start in range(0, len(mapping), _PART):
                mapping.madvise(mmap.MADV_DONTNEED, start, min(_PART, len(mapping) - start))


@dataclass(frozen=True, slots=True)
class Loaded:
    """A verified pair of model and statistics with their versions; it is replaced as one.

    Attributes
    ----------
    tables
        Of the snapshot, where they lie on disk already; otherwise the scorer makes them.
    model_digest, statistics_digest
        SHA-256 of the manifests, which with the versions say what this is.
    from_disk
        Whether it is the last verified copy, because the registry could not be asked.
    """

    bundle: Bundle
    snapshot: Snapshot
    model_version: str
    statistics_version: str
    tables: Tables | None = None
    model_digest: str = ""
    statistics_digest: str = ""
    from_disk: bool = False


class Scorer:
    """Score transactions, one at a time, with one loaded pair. Not for several threads: it works in one row.

    Parameters
    ----------
    loaded
        Model and statistics.
    hasher
        Holds the id key that the pair was made with.

    Attributes
    ----------
    row
        Features of the payment answered last, (61,); overwritten by the next.
    """

    def __init__(self, loaded: Loaded, hasher: IdHasher) -> None:
        self.loaded = loaded
        self._hasher = hasher
        tables = loaded.tables or Tables.of(loaded.snapshot)
        self._customers, self._terminals = tables.customer, tables.terminal
        self._builder = RowBuilder()
        self.row = self._builder.row
        self._explain = loaded.bundle.explainer.explain_into
        self._base_value = loaded.bundle.explainer.base
        self._contributions = np.empty(len(FEATURE_NAMES))
        self._as_of = loaded.snapshot.as_of

    def answer(
        self, transaction: Transaction, *, full: bool = False, keys: tuple[int, int] | None = None
    ) -> tuple[dict[str, Any], tuple[int, int]]:
        """Return the answer, and the hashes of customer and terminal.

        Parameters
        ----------
        full
            Add every feature with its SHAP value.
        keys
            The hashes, where they are known without hashing.
        """
        customer_key, terminal_key = keys = keys or self._keys(transaction)
        customer, terminal = self._customers.find(customer_key), self._terminals.find(terminal_key)
        amount = transaction.tx_amount + 0.0  # minus zero is zero, and must not be printed otherwise
        row = self._builder.build(
            epoch_seconds(transaction.tx_datetime),
            amount,
            ProfileTable.UNKNOWN["customer"] if customer is None else customer,
            ProfileTable.UNKNOWN["terminal"] if terminal is None else terminal,
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
        return answer, keys

    def _keys(self, transaction: Transaction) -> tuple[int, int]:
        customer, terminal = canonical_id(transaction.customer_id), canonical_id(transaction.terminal_id)
        return (
            _NO_KEY if customer is None else self._hasher.customer(customer),
            _NO_KEY if terminal is None else self._hasher.terminal(terminal),
        )
