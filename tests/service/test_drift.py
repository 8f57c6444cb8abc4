import asyncio
import math
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from model.drift import MIN_ROWS, Reference, make_reference
from model.features import FEATURE_NAMES
from model.statistics import Floats
from service.drift import CALENDAR, EVERY, ROOM, Drift

N = len(FEATURE_NAMES)


def rows_of(rng: np.random.Generator, count: int) -> Floats:
    return rng.normal(size=(count, N))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def reference(rng: np.random.Generator) -> Reference:
    return make_reference(rows_of(rng, 20_000), rng.random(20_000))


class Watched:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.drift = Drift(self.registry)

    def pay(self, rows: Floats, scores: Floats) -> None:
        """Answer a payment for each row so often that each row is taken, and count."""
        for start in range(0, len(rows), ROOM):
            for row, score in zip(rows[start : start + ROOM], scores[start : start + ROOM], strict=True):
                for _ in range(EVERY):
                    self.drift.sample(row, {"score": float(score)})
            asyncio.run(self.drift.count())

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def watched(reference: Reference) -> Watched:
    watched = Watched()
    watched.drift.follow(reference)
    return watched


def index(watched: Watched, feature: str = "amount") -> float:
    value = watched.value("fraud_feature_stability_index", feature=feature)
    assert value is not None
    return value


def test_payments_like_those_of_training_are_stable(watched: Watched, rng: np.random.Generator) -> None:
    watched.pay(rows_of(rng, 4000), rng.random(4000))
    assert index(watched) < 0.02
    score = watched.value("fraud_score_stability_index")
    assert score is not None
    assert score < 0.02


def test_one_feature_that_moved_and_scores_that_rose_are_seen_and_nothing_else(
    watched: Watched, rng: np.random.Generator
) -> None:
    rows = rows_of(rng, 4000)
    rows[:, FEATURE_NAMES.index("amount")] += 1
    watched.pay(rows, rng.random(4000) ** 0.25)
    assert index(watched) > 0.25
    assert index(watched, FEATURE_NAMES[-1]) < 0.02
    score = watched.value("fraud_score_stability_index")
    assert score is not None
    assert score > 0.25


def test_what_moves_with_the_clock_is_not_shown(watched: Watched, rng: np.random.Generator) -> None:
    watched.pay(rows_of(rng, 2000), rng.random(2000))
    assert {"hour", "weekday", "is_night", "is_weekend"} == CALENDAR
    assert all(watched.value("fraud_feature_stability_index", feature=name) is None for name in CALENDAR)


def test_too_few_payments_say_nothing(watched: Watched, rng: np.random.Generator) -> None:
    watched.pay(rows_of(rng, MIN_ROWS // 2), rng.random(MIN_ROWS // 2))
    assert math.isnan(index(watched))


def test_every_sixteenth_payment_is_copied_and_never_more_than_there_is_room_for(
    watched: Watched, rng: np.random.Generator
) -> None:
    row = rows_of(rng, 1)[0]
    for _ in range(EVERY * 10 + 3):
        watched.drift.sample(row, {"score": 0.5})
    assert watched.drift._count == 10
    for _ in range(EVERY * (ROOM + 5)):
        watched.drift.sample(row, {"score": 0.5})
    assert watched.drift._count == ROOM


def test_another_model_begins_from_nothing(watched: Watched, rng: np.random.Generator) -> None:
    watched.pay(rows_of(rng, 4000) + 3, rng.random(4000))
    watched.drift.follow(make_reference(rows_of(rng, 5000), rng.random(5000)))
    assert watched.value("fraud_feature_stability_index", feature="amount") is None
    watched.pay(rows_of(rng, 4000), rng.random(4000))
    assert index(watched) < 0.02


def test_a_model_that_does_not_tell_its_training_shows_nothing(watched: Watched, rng: np.random.Generator) -> None:
    watched.drift.follow(None)
    watched.pay(rows_of(rng, 2000), rng.random(2000))
    assert watched.value("fraud_feature_stability_index", feature="amount") is None
    score = watched.value("fraud_score_stability_index")
    assert score is not None
    assert math.isnan(score)


def test_the_same_model_goes_on_after_a_refresh_of_the_statistics(
    watched: Watched, reference: Reference, rng: np.random.Generator
) -> None:
    watched.pay(rows_of(rng, 4000), rng.random(4000))
    watched.drift.follow(reference)
    assert index(watched) < 0.02


def test_an_error_while_counting_ends_nothing(watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr("service.drift.COUNT_SECONDS", 0.001)
    monkeypatch.setattr("service.drift._counted", lambda *_: 1 / 0)

    async def for_a_while() -> bool:
        running = asyncio.create_task(watched.drift.run())
        async with asyncio.timeout(60):
            while caplog.text.count("ZeroDivisionError: ") < 2:  # it has gone on after the first
                await asyncio.sleep(0.01)
        done = running.done()
        running.cancel()
        return done

    assert not asyncio.run(for_a_while())
    assert "ZeroDivisionError" in caplog.text
