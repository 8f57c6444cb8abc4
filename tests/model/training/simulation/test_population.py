import numpy as np
import pytest

from model.training.simulation import population
from model.training.simulation.population import reachable_terminals


def test_terminals_in_reach_equal_those_found_by_measuring_every_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "PAIRS_PER_CHUNK", 700)  # several chunks, the last one shorter
    rng = np.random.default_rng(0)
    homes, shops = rng.uniform(0, 100, (50, 2)), rng.uniform(0, 100, (90, 2))
    start, reached = reachable_terminals(homes, shops, 12.0)
    near = np.linalg.norm(homes[:, None] - shops[None], axis=2) <= 12.0
    assert np.diff(start).tolist() == near.sum(axis=1).tolist()
    assert reached.tolist() == np.nonzero(near)[1].tolist()
