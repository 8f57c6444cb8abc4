"""Whether today's payments still look like those the model was trained on: a sample, counted beside the answers.

Every sixteenth payment's features are copied, 450 bytes; every ten seconds another thread counts the copies into the
bins of the model's reference and shows the population stability index (see `model.drift`).
"""

import asyncio
import logging
import math
from typing import Any, Final

import numpy as np
from prometheus_client import Gauge
from prometheus_client.registry import CollectorRegistry

from model.drift import SCORE, Reference, StabilityCounter
from model.features import FEATURE_NAMES, PAYMENT_FEATURES
from model.statistics import Floats

EVERY: Final = 16  # payments, of which one is looked at
ROOM: Final = 2048  # rows between two counts; at 3 000 payments a second some are left out
COUNT_SECONDS: Final = 10.0
HALF_LIFE_SECONDS: Final = 86_400.0  # a day: shorter, and night would count as drift
CALENDAR: Final = frozenset(PAYMENT_FEATURES) - {"amount"}  # they drift with the clock, whatever happens

log = logging.getLogger("antifraud")


class Drift:
    """Collects rows in the loop's thread, counts them in another, and shows the index of each feature.

    Parameters
    ----------
    registry
        Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._features = Gauge(
            "fraud_feature_stability_index",
            "Population stability of a feature against training: above 0.1 look, above 0.25 act.",
            ("feature",),
            registry=registry,
        )
        self._score = Gauge(
            "fraud_score_stability_index",
            "Population stability of the score against training: above 0.1 look, above 0.25 act.",
            registry=registry,
        )
        self._sampled = Gauge(
            "fraud_stability_rows", "Payments that the indices rest on, less what was forgotten.", registry=registry
        )
        self._rows, self._spare_rows = (np.empty((ROOM, len(FEATURE_NAMES))) for _ in range(2))
        self._scores, self._spare_scores = (np.empty(ROOM) for _ in range(2))
        self._count, self._wait = 0, EVERY
        self._reference: Reference | None = None
        self._counter: StabilityCounter | None = None
        self._score.set(math.nan)

    def follow(self, reference: Reference | None) -> None:
        """Compare with the training of another model from now on; nothing is shown for one that does not tell it."""
        if reference == self._reference:
            return
        self._reference = reference
        self._counter = None if reference is None else StabilityCounter(reference)
        self._count = 0
        self._features.clear()
        self._score.set(math.nan)
        self._sampled.set(0)

    def sample(self, row: Floats, answer: dict[str, Any]) -> None:
        """Take note of every sixteenth payment."""
        self._wait -= 1
        if self._wait:
            return
        self._wait = EVERY
        place = self._count
        if place < ROOM:
            self._rows[place] = row
            self._scores[place] = answer["score"]
            self._count = place + 1

    async def run(self) -> None:
        """Count what was collected, again and again, until cancelled."""
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            try:
                await self.count()
            except Exception as error:
                # What is only shown must not end, nor end anything.
                log.error("unexpected %s while counting for drift", type(error).__name__, exc_info=error)

    async def count(self) -> None:
        """Count what was collected, in another thread."""
        counter, rows, scores, count = self._counter, self._rows, self._scores, self._count
        if counter is None:
            return
        # The loop goes on filling the other half; nobody writes into what the thread reads.
        self._rows, self._spare_rows = self._spare_rows, rows
        self._scores, self._spare_scores = self._spare_scores, scores
        self._count = 0
        index = await asyncio.to_thread(_counted, counter, rows[:count], scores[:count])
        if counter is self._counter:  # else another model came meanwhile
            self._show(index, counter.rows)

    def _show(self, index: dict[str, float], rows: float) -> None:
        self._sampled.set(rows)
        for name, value in index.items():
            if name == SCORE:
                self._score.set(value)
            elif name not in CALENDAR:
                self._features.labels(name).set(value)


def _counted(counter: StabilityCounter, rows: Floats, scores: Floats) -> dict[str, float]:
    counter.forget(1 - 0.5 ** (COUNT_SECONDS / HALF_LIFE_SECONDS))
    counter.add(rows, scores)
    return counter.index()
