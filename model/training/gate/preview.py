"""Promotion preview: which past decisions the challenger would have taken otherwise, and for what other reason."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from model.decision import decide_many
from model.explain import TreeExplainer
from model.reasons import explain_in_words
from model.training.gate.inputs import GateError, GateRows, ScoredModel
from model.training.measures import Floats, Integers

AMOUNT_BANDS: Final = (10.0, 50.0, 100.0, 250.0, 1000.0)  # upper ends, in the unit of the currency
LARGEST: Final = 20
_ROWS_AT_ONCE: Final = 4096
_KEY_BITS: Final = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Flip:
    """One past decision that the challenger would have taken otherwise; `key` is the hashed customer, hexadecimal."""

    day: str
    key: str
    amount: float
    fraud: bool
    before: str
    after: str
    reason_before: str
    reason_after: str


@dataclass(frozen=True, slots=True)
class FlipCount:
    """How many decisions flipped alike.

    Attributes
    ----------
    group
        What they have in common, by plain names: `before`, `after`, `band`, `reason_before`, ...
    transactions, frauds, amount
        That the flipped rows stand for, by their weights.
    """

    group: dict[str, str]
    transactions: float
    frauds: float
    amount: float


@dataclass(frozen=True, slots=True)
class Flips:
    """Every decision that would flip, counted in several ways, and the largest of them.

    Attributes
    ----------
    transactions, flipped
        Transactions looked at, and those whose decision flips, by their weights.
    by_decision
        By decision before and after.
    by_band
        By band of the amount, the smallest first, and decision before and after.
    by_reason
        By main reason before and after, only where it changed, the most frequent first.
    largest
        The largest amounts.
    """

    champion: str
    challenger: str
    transactions: float
    flipped: float
    by_decision: tuple[FlipCount, ...]
    by_band: tuple[FlipCount, ...]
    by_reason: tuple[FlipCount, ...]
    largest: tuple[Flip, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        counts = ("by_decision", "by_band", "by_reason")
        return {
            **{name: getattr(self, name) for name in ("champion", "challenger", "transactions", "flipped")},
            **{
                name: [{**count.group, **_sizes(count)} for count in getattr(self, name)]  # plain rows, for a table
                for name in counts
            },
            "largest": [asdict(flip) for flip in self.largest],
        }


def flips(
    rows: GateRows,
    features: Floats,
    champion: ScoredModel,
    challenger: ScoredModel,
    *,
    explainers: tuple[TreeExplainer, TreeExplainer],
    keys: Integers | None = None,
    largest: int = LARGEST,
    progress: Callable[[], object] = lambda: None,
) -> Flips:
    """Return which decisions on past transactions would be others with the challenger.

    Only flipped rows are explained. The main reason is the one that comes first in an answer.

    Parameters
    ----------
    features
        Of the same rows, all of `FEATURE_NAMES`, (n, 61).
    explainers
        Of champion and challenger; each takes rows of all features (`model.bundle.Bundle.explainer`).
    keys
        Hashed customers, int64 (n,), never raw ids. Default: `rows.cluster`.
    largest
        How many of the largest flipped amounts to list.
    progress
        Called once after every 4096 flipped rows.

    Raises
    ------
    GateError
        If columns have different numbers of rows.
    """
    hashed = rows.cluster if keys is None else keys
    if not len(rows) == len(features) == len(champion.scores) == len(challenger.scores) == len(hashed):
        raise GateError("rows, features, scores and keys must have the same number of rows")
    before, after = (decide_many(model.scores, model.cutoffs) for model in (champion, challenger))
    flipped = np.flatnonzero(before != after)
    table = {"before": before[flipped], "after": after[flipped], "band": _bands(rows.amount[flipped])}
    table["reason_before"], table["reason_after"] = _reasons(features, flipped, explainers, progress)
    count = _Counter(rows, flipped, table)
    bands = band_names()
    by_amount = np.argsort(-rows.amount[flipped], kind="stable")[:largest]
    return Flips(
        champion=champion.name,
        challenger=challenger.name,
        transactions=float(rows.weights.sum()),
        flipped=float(rows.weights[flipped].sum()),
        by_decision=count.by("before", "after"),
        by_band=tuple(sorted(count.by("band", "before", "after"), key=lambda one: bands.index(one.group["band"]))),
        by_reason=count.by("reason_before", "reason_after", where=table["reason_before"] != table["reason_after"]),
        largest=tuple(_flip(rows, hashed, flipped, table, int(place)) for place in by_amount),
    )


def _reasons(
    features: Floats, flipped: Integers, explainers: Iterable[TreeExplainer], progress: Callable[[], object]
) -> list[np.ndarray[Any, np.dtype[np.str_]]]:
    """Return the code of the main reason of each flipped row, by each model."""
    codes: list[list[str]] = [[], []]
    for start in range(0, len(flipped), _ROWS_AT_ONCE):
        part = features[flipped[start : start + _ROWS_AT_ONCE]]
        for named, explainer in zip(codes, explainers, strict=True):
            contributions, _ = explainer.explain(part)
            rows = zip(part.tolist(), contributions, strict=True)
            named += [explain_in_words(row, shares)[0]["code"] for row, shares in rows]
        progress()
    return [np.array(named, dtype=np.str_) for named in codes]


class _Counter:
    """Counts flipped rows that are alike in some columns."""

    def __init__(self, rows: GateRows, flipped: Integers, table: dict[str, np.ndarray[Any, np.dtype[np.str_]]]) -> None:
        weight = rows.weights[flipped]
        self._table = table
        self._sizes = np.stack([weight, weight * (rows.label[flipped] == 1), weight * rows.amount[flipped]])

    def by(self, *names: str, where: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> tuple[FlipCount, ...]:
        """Return the groups of equal values in the named columns, the largest first."""
        chosen = slice(None) if where is None else where
        sizes = self._sizes[:, chosen]
        if not sizes.shape[1]:
            return ()
        columns = np.stack([self._table[name][chosen] for name in names], axis=1)
        groups, place = np.unique(columns, axis=0, return_inverse=True)
        sums = [np.bincount(place.ravel(), size, minlength=len(groups)) for size in sizes]
        order = np.argsort(-sums[0], kind="stable")
        return tuple(
            FlipCount(dict(zip(names, groups[one].tolist(), strict=True)), *(float(total[one]) for total in sums))
            for one in order
        )


def band_names() -> list[str]:
    """Return what the bands of amounts are called, the smallest first."""
    lower = ("0", *(f"{end:g}" for end in AMOUNT_BANDS))
    return [f"{low} to {high:g}" for low, high in zip(lower, AMOUNT_BANDS, strict=False)] + [f"{lower[-1]} and more"]


def _bands(amount: Floats) -> np.ndarray[Any, np.dtype[np.str_]]:
    return np.array(band_names(), dtype=np.str_)[np.searchsorted(AMOUNT_BANDS, amount, side="right")]


def _flip(
    rows: GateRows,
    keys: Integers,
    flipped: Integers,
    table: dict[str, np.ndarray[Any, np.dtype[np.str_]]],
    place: int,
) -> Flip:
    row = int(flipped[place])
    told = {name: str(column[place]) for name, column in table.items() if name != "band"}
    return Flip(
        day=datetime.fromtimestamp(int(rows.tx_seconds[row]), UTC).date().isoformat(),
        key=f"{int(keys[row]) & _KEY_BITS:016x}",
        amount=float(rows.amount[row]),
        fraud=bool(rows.label[row]),
        **told,
    )


def _sizes(count: FlipCount) -> dict[str, float]:
    return {"transactions": count.transactions, "frauds": count.frauds, "amount": count.amount}
