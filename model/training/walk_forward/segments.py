"""The same figures for parts of the bank, so that a good mean cannot hide a part that is badly served."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix, hstack

from model.statistics import ENTITIES, HOUR, ROW_PLACES, Floats
from model.training.dataset import Dataset
from model.training.evaluation import FPR_REQUIRED, RECALL_REQUIRED
from model.training.walk_forward.bootstrap import Bootstrap, with_intervals
from model.training.walk_forward.ceiling import runs_of
from model.training.walk_forward.tested import Mask, Outcomes

AMOUNT_QUANTILES = (0.25, 0.5, 0.75, 0.95, 0.99)
FEWEST_FRAUDS = 30  # fewer cannot tell a recall of 95 % from one of 90 %
_PER_SEGMENT = 4  # transactions, frauds, flagged, flagged frauds


@dataclass(frozen=True, slots=True)
class Segment:
    """Some of the tested rows, (n,), under a name within a group."""

    group: str
    name: str
    chosen: Mask


def find_segments(rows: Dataset, tested: Outcomes, place: Any) -> Iterator[Segment]:
    """Yield the segments of tested transactions.

    Parameters
    ----------
    rows
        All rows of the history, of which `place` gives the tested ones, in the order of `tested`.
    """
    for entity in ENTITIES:
        yield Segment("unknown", f"unknown {entity}", np.isnan(rows.sums[place, ROW_PLACES[entity].start]))
    yield from _first_days(rows, tested)
    yield from _amount_bands(tested)
    for scenario in np.unique(tested.scenario[tested.fraud & (tested.scenario > 0)]):
        yield Segment("scenario", f"scenario {scenario}", tested.fraud & (tested.scenario == scenario))
    hour = tested.seconds // HOUR % 24
    for start in range(24):
        yield Segment("hour", f"{start:02d}:00 UTC", hour == start)


def _first_days(rows: Dataset, tested: Outcomes) -> Iterator[Segment]:
    for entity in ("terminal", "customer"):
        runs = runs_of(rows, getattr(rows, f"{entity}_key"), rows.label == 1)
        first = runs.in_first_day(getattr(tested, entity), tested.seconds)
        yield Segment("run", f"first day of a run at a {entity}", first)
        later = tested.fraud & ~first & (runs.size[runs.of(getattr(tested, entity), tested.seconds)] >= 2)
        yield Segment("run", f"later days of a run at a {entity}", later)


def _amount_bands(tested: Outcomes) -> Iterator[Segment]:
    edges = sorted({float(f"{edge:.2g}") for edge in np.quantile(tested.amount, AMOUNT_QUANTILES)})
    band = np.searchsorted(edges, tested.amount, side="right")
    names = [f"amount below {edges[0]:g}", *(f"amount {low:g} to {high:g}" for low, high in pairwise(edges))]
    for number, name in enumerate([*names, f"amount {edges[-1]:g} and more"]):
        yield Segment("amount", name, band == number)


def segment_figures(segments: list[Segment], tested: Outcomes, bootstrap: Bootstrap) -> list[dict[str, Any]]:
    """Return for each segment its size, and recall, false positive rate and precision at the review cut-off."""
    member = csc_matrix(np.stack([segment.chosen for segment in segments], axis=1).astype(np.float64))
    fraud, flagged = tested.fraud.astype(np.float64)[:, None], tested.flagged.astype(np.float64)[:, None]
    kinds = (np.ones_like(fraud), fraud, flagged, fraud * flagged)
    columns = csr_matrix(hstack([csc_matrix(member.multiply(kind)) for kind in kinds]))
    total = bootstrap.totals(columns).reshape(_PER_SEGMENT, -1)
    drawn = bootstrap.sums(columns).reshape(-1, _PER_SEGMENT, len(segments))
    answer = []
    for place, segment in enumerate(segments):
        figures = with_intervals(
            {name: float(value) for name, value in _shares(total[:, place]).items()}, _shares(drawn[:, :, place].T)
        )
        sizes = {"transactions": float(total[0, place]), "frauds": float(total[1, place])}
        answer.append({"group": segment.group, "name": segment.name, **sizes, **figures, **_judged(figures, sizes)})
    return answer


def _shares(sums: Floats) -> dict[str, Floats]:
    transactions, frauds, flagged, found = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "recall": found / frauds,
            "false_positive_rate": (flagged - found) / (transactions - frauds),
            "precision": found / flagged,
        }


def _judged(figures: dict[str, float], sizes: dict[str, float]) -> dict[str, Any]:
    """Say whether the requirement is met, and whether chance alone could be to blame if not; None: too few to say."""
    recall, fpr = figures["recall"], figures["false_positive_rate"]
    enough = sizes["frauds"] >= FEWEST_FRAUDS
    too_few_found = enough and recall < RECALL_REQUIRED
    too_many_flagged = bool(fpr > FPR_REQUIRED)  # NaN where a segment has frauds only
    clearly = (enough and figures["recall_high"] < RECALL_REQUIRED) or figures["false_positive_rate_low"] > FPR_REQUIRED
    failed = too_few_found or too_many_flagged
    return {"meets_requirement": False if failed else (True if enough else None), "clearly_failed": failed and clearly}
