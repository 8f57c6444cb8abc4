"""Who pays where: customers with their habits, terminals on a map, and which of them each customer can reach."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from model.training.simulation.settings import GRID_SIDE, SimulationSettings
from model.training.simulation.streams import Stream, generator

MEAN_AMOUNT_RANGE = (5.0, 100.0)  # BOOK
PAYMENTS_PER_DAY_MAX = 4.0  # BOOK: a customer's payments a day are Poisson with a mean from U(0, 4)
PAIRS_PER_CHUNK = 8_000_000  # 24 bytes each while the neighbours are searched

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Population:
    """Hold each customer's habits and the terminals in reach, as CSR arrays.

    Customer `c` pays at `reached[reach_start[c]:reach_start[c + 1]]`.
    """

    mean_amount: Floats
    payments_per_day: Floats
    reach_start: Ints
    reached: npt.NDArray[np.int32]


def draw_population(settings: SimulationSettings) -> Population:
    """Return customers with their habits; one without a terminal in reach makes no payment."""
    rng = generator(settings, Stream.POPULATION)
    homes = rng.uniform(0, GRID_SIDE, (settings.customers, 2))
    shops = rng.uniform(0, GRID_SIDE, (settings.terminals, 2))
    mean_amount = rng.uniform(*MEAN_AMOUNT_RANGE, settings.customers)
    payments_per_day = rng.uniform(0, PAYMENTS_PER_DAY_MAX, settings.customers)
    reach_start, reached = reachable_terminals(homes, shops, settings.radius)
    payments_per_day[np.diff(reach_start) == 0] = 0.0
    return Population(mean_amount, payments_per_day, reach_start, reached)


def reachable_terminals(homes: Floats, shops: Floats, radius: float) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Return the terminals within `radius` of each customer, as CSR: starts, shape (n + 1,), and terminal numbers."""
    tree = cKDTree(shops)
    chunk = max(1, PAIRS_PER_CHUNK // len(shops))
    counts, reached = [np.zeros(1, dtype=np.int64)], [np.empty(0, dtype=np.int32)]
    for first in range(0, len(homes), chunk):
        part = homes[first : first + chunk]
        pairs = cKDTree(part).sparse_distance_matrix(tree, radius, output_type="ndarray")
        pairs = pairs[np.lexsort((pairs["j"], pairs["i"]))]
        counts.append(np.bincount(pairs["i"], minlength=len(part)))
        reached.append(pairs["j"].astype(np.int32))
    return np.cumsum(np.concatenate(counts)), np.concatenate(reached)
