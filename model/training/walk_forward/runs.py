"""Runs of frauds: one thief at work at one terminal or with one customer's card."""

from dataclasses import dataclass

import numpy as np

from model.statistics import Integers
from model.training.split import DAY
from model.training.walk_forward.tested import Mask

GAP_DAYS = 7  # without a fraud for longer than this, the next one begins a new run
_SHIFT = 1 << 33  # above any second of the years 1970 to 2100, so that key and moment fit one sortable number


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of frauds of one entity, in order of key and start; r runs among m frauds.

    Attributes
    ----------
    keys
        The different keys, sorted.
    position
        Place of the run's key times 2^33 plus its first second, sorted, (r,).
    size
        Frauds of the run, (r,).
    first_report_hour
        Hour in which the first of its frauds was reported, (r,).
    """

    keys: Integers
    position: Integers
    size: Integers
    first_report_hour: Integers

    def of(self, key: Integers, seconds: Integers) -> Integers:
        """Return the latest run of each key that has begun by each moment, (n,); -1 for none."""
        if not len(self.keys):
            return np.full(len(key), -1, dtype=np.int64)
        place = np.minimum(self.keys.searchsorted(key), len(self.keys) - 1)
        run = self.position.searchsorted(place * _SHIFT + seconds, side="right") - 1
        fits = (self.keys[place] == key) & (run >= 0) & (self.position[np.maximum(run, 0)] // _SHIFT == place)
        return np.where(fits, run, -1)

    def in_first_day(self, key: Integers, seconds: Integers) -> Mask:
        """Say which moments lie in the first 24 hours of a run of at least two frauds, (n,)."""
        run = self.of(key, seconds)
        started = self.position[np.maximum(run, 0)] % _SHIFT if len(self.position) else np.zeros(len(key))
        sizes = self.size[np.maximum(run, 0)] if len(self.size) else np.zeros(len(key))
        return np.asarray((run >= 0) & (sizes >= 2) & (seconds < started + DAY))


def find_runs(key: Integers, seconds: Integers, report_hour: Integers) -> Runs:
    """Return the runs of m frauds, given by key, moment and hour of report, each (m,), in any order.

    A run goes on as long as no more than seven days lie between two of its frauds.
    """
    keys, place = np.unique(key, return_inverse=True)
    position = place.astype(np.int64) * _SHIFT + seconds
    order = np.argsort(position, kind="stable")
    position = position[order]
    # A change of key is a step of 2^33 or close to it, which no gap within one key can reach.
    begins = np.flatnonzero(np.diff(position, prepend=-_SHIFT) > GAP_DAYS * DAY)
    if not len(begins):
        nothing = np.zeros(0, dtype=np.int64)
        return Runs(keys, nothing, nothing, nothing)
    sizes = np.diff(begins, append=len(position)).astype(np.int64)
    return Runs(keys, position[begins], sizes, np.minimum.reduceat(report_hour[order], begins))
