"""Random numbers: each purpose and day has a stream of its own, so a day never depends on another."""

from enum import IntEnum

import numpy as np

from model.training.simulation.settings import SimulationSettings

DAYS_BEFORE_START = 28  # takeovers under way on the first day began up to so long before; more is not drawn


class Stream(IntEnum):
    """Name the independent streams of random numbers; one more never changes the others."""

    POPULATION = 0
    PAYMENTS = 1
    TERMINALS_TAKEN = 2
    CUSTOMERS_TAKEN = 3
    DIRT = 4


def generator(settings: SimulationSettings, stream: Stream, day: int = 0) -> np.random.Generator:
    """Return the generator of one purpose and day; day 0 is the start, the days before it are negative."""
    key = (int(stream), day + DAYS_BEFORE_START)
    return np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))
