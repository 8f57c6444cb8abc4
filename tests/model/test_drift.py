import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.drift import MIN_ROWS, SCORE, Reference, StabilityCounter, make_reference
from model.features import FEATURE_NAMES
from model.statistics import Floats

N = len(FEATURE_NAMES)


def rows(seed: int, n: int = 5000, *, shift: float = 0.0) -> tuple[Floats, Floats]:
    """Rows as they come: continuous columns, a constant, a rare flag, one that is half unknown, one never known."""
    rng = np.random.default_rng(seed)
    features = rng.lognormal(shift, 1.0, (n, N))
    features[:, 1] = 7.0
    features[:, 2] = rng.random(n) < 0.02
    features[rng.random(n) < 0.5, 3] = np.nan
    features[:, 4] = np.nan
    return features, rng.beta(1, 50, n)


def small_reference(**changes: Any) -> Reference:
    parts: dict[str, Any] = {"names": ("amount",), "edges": ((1.0, 2.0),), "shares": ((0.5, 0.25, 0.25, 0.0),)}
    return Reference(**(parts | changes))


def test_training_rows_fill_their_own_deciles_evenly() -> None:
    reference = make_reference(*rows(1))
    assert reference.names == (*FEATURE_NAMES, SCORE)
    assert reference.shares[0] == pytest.approx([*[0.1] * 10, 0.0])
    assert reference.shares[-1] == pytest.approx([*[0.1] * 10, 0.0])
    assert (reference.edges[1], reference.shares[1]) == ((7.0,), (1.0, 0.0, 0.0))
    assert reference.edges[2] == (0.0,)
    assert reference.shares[3][-1] == pytest.approx(0.5, abs=0.03)
    assert (reference.edges[4], reference.shares[4]) == ((), (0.0, 1.0))


def test_a_reference_survives_json() -> None:
    reference = make_reference(*rows(1))
    assert Reference.from_dict(json.loads(json.dumps(reference.as_dict(), allow_nan=False))) == reference


def test_the_same_population_is_stable_in_every_feature() -> None:
    counter = StabilityCounter(make_reference(*rows(1)))
    counter.add(*rows(2))
    index = counter.index()
    assert set(index) == {*FEATURE_NAMES, SCORE}
    assert all(0 <= value < 0.02 for value in index.values())


def test_what_drifted_stands_out_and_the_rest_does_not() -> None:
    counter = StabilityCounter(make_reference(*rows(1)))
    features, scores = rows(2)
    features[:, 0] *= 3
    features[:, 1] = 8.0
    features[:, 2] = 1.0
    features[:, 3] = 1.0
    features[:, 4] = 0.5
    counter.add(features, np.sqrt(scores))
    index = counter.index()
    drifted = {name for name, value in index.items() if value > 0.25}
    assert drifted == {*FEATURE_NAMES[:5], SCORE}
    assert all(math.isfinite(value) for value in index.values())


def test_the_index_of_three_bins_is_as_computed_by_hand() -> None:
    counter = StabilityCounter(small_reference(), min_rows=1)
    features = np.zeros((4, N))
    features[:, 0] = [1.0, 1.5, 2.0, 3.0]  # one, two and one: an edge belongs to the bin below
    counter.add(features, np.zeros(4))
    expected = (0.25 - 0.5) * math.log(0.5) + (0.5 - 0.25) * math.log(2)
    assert counter.index() == {"amount": pytest.approx(expected)}


def test_a_weighted_sample_is_the_reference_of_the_rows_it_stands_for() -> None:
    features, scores = rows(1, 2000)
    times = np.random.default_rng(3).integers(1, 6, 2000)
    weighted = make_reference(features, scores, weight=times.astype(np.float64))
    whole = make_reference(np.repeat(features, times, axis=0), np.repeat(scores, times))
    assert weighted.edges == whole.edges
    for one, other in zip(weighted.shares, whole.shares, strict=True):
        assert one == pytest.approx(other)


@given(cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_it_does_not_matter_in_which_parts_rows_are_added(cuts: list[int]) -> None:
    reference = make_reference(*rows(1, 500))
    features, scores = rows(2)
    whole, parts = StabilityCounter(reference), StabilityCounter(reference)
    whole.add(features, scores)
    edges = [0, *sorted(cuts), len(scores)]
    for start, end in pairwise(edges):
        parts.add(features[start:end], scores[start:end])
    assert parts.index() == whole.index()


def test_there_is_no_index_before_there_are_enough_rows() -> None:
    counter = StabilityCounter(make_reference(*rows(1)))
    features, scores = rows(2)
    counter.add(features[: MIN_ROWS - 1], scores[: MIN_ROWS - 1])
    assert all(math.isnan(value) for value in counter.index().values())
    counter.add(features[:1], scores[:1])
    assert not any(math.isnan(value) for value in counter.index().values())


def test_what_is_forgotten_gives_way_to_what_is_new() -> None:
    counter = StabilityCounter(make_reference(*rows(1)), min_rows=100)
    counter.add(*rows(2))
    before = counter.index()
    counter.forget(0.5)
    assert counter.rows == pytest.approx(2500)
    assert counter.index() == pytest.approx(before)
    counter.forget(0.9)
    counter.add(*rows(3, shift=2.0))
    assert counter.index()["amount"] > 1
    counter.forget(1)
    assert counter.rows == 0
    assert all(math.isnan(value) for value in counter.index().values())
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            counter.forget(share)


def test_a_reference_of_fewer_or_other_features_is_counted_where_it_fits() -> None:
    reference = small_reference(
        names=("no_longer_built", "hour", SCORE),
        edges=((1.0,), (12.0,), (0.5,)),
        shares=((0.5, 0.5, 0.0), (0.5, 0.5, 0.0), (0.9, 0.1, 0.0)),
    )
    counter = StabilityCounter(reference, min_rows=10)
    features = np.zeros((10, N))
    features[:5, FEATURE_NAMES.index("hour")] = 20
    counter.add(features, np.where(np.arange(10) < 9, 0.1, 0.9))
    assert counter.index() == pytest.approx({"hour": 0, SCORE: 0})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": ()}, "names must differ"),
        ({"names": ("amount", "amount")}, "names must differ"),
        ({"names": ("amount", "hour")}, "each needs its edges"),
        ({"edges": ((2.0, 1.0),)}, "edges of amount"),
        ({"edges": ((1.0, math.nan),)}, "edges of amount"),
        ({"edges": (tuple(map(float, range(10))),)}, "edges of amount"),
        ({"shares": ((0.5, 0.5),)}, "shares of amount"),
        ({"shares": ((0.5, 0.5, 0.5, 0.5),)}, "shares of amount"),
        ({"shares": ((1.5, -0.5, 0.0, 0.0),)}, "shares of amount"),
        ({"shares": ((math.nan, 1.0, 0.0, 0.0),)}, "shares of amount"),
    ],
)
def test_a_reference_that_does_not_fit_together_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small_reference(**changes)


def test_rows_of_another_shape_are_refused() -> None:
    counter = StabilityCounter(make_reference(*rows(1)))
    for features, scores in ((np.zeros((3, N - 1)), np.zeros(3)), (np.zeros((3, N)), np.zeros(2))):
        with pytest.raises(ValueError, match="must have shape"):
            counter.add(features, scores)
    with pytest.raises(ValueError, match="at least one row"):
        make_reference(np.zeros((0, N)), np.zeros(0))
