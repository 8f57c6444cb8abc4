from collections.abc import Iterator

import numpy as np
import pytest

from model.bundle import explainer_of
from model.features import build_features
from model.training.gate import explain_microseconds
from tests.model.test_bundle import SOME_FEATURES, booster_of, payments


def test_the_cost_is_the_best_rounds_mean_of_a_row() -> None:
    explainer = explainer_of(booster_of(SOME_FEATURES))
    features = build_features(*payments(1))[:100]

    def ticks() -> Iterator[float]:
        now = 0.0
        for seconds in (3.0, 0.5, 0.002, 4.0, 1.0, 1.0, 1.0):
            yield now
            now += seconds
            yield now

    clock = ticks()
    assert explain_microseconds(explainer, features, clock=lambda: next(clock)) == pytest.approx(20)


def test_the_cost_of_a_small_model_is_microseconds() -> None:
    features = build_features(*payments(1))
    assert 0 < explain_microseconds(explainer_of(booster_of(SOME_FEATURES)), features) < 10_000


def test_the_cost_of_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        explain_microseconds(explainer_of(booster_of(SOME_FEATURES)), np.zeros((0, 61)))
