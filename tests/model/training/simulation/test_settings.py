from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from model.training.simulation import SimulationError
from tests.model.training.simulation.banks import TINY


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"customers": 0}, "customers must be a whole number from 1 to 100000000, got 0"),
        ({"terminals": 0}, "terminals must be a whole number from 1"),
        ({"days": -1}, "days must be a whole number from 1"),
        ({"days": 2.5}, r"days must be a whole number from 1 to \d+, got 2.5"),
        ({"days": 10_000_000}, "days must be a whole number from 1"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"start": datetime(2026, 1, 1)}, "start must be a date without a time"),
        ({"start": "2026-01-01"}, "start must be a date without a time"),
        ({"dirt": 1.01}, "dirt must be a number from 0 to 1, got 1.01"),
        ({"dirt": float("nan")}, "dirt must be a number from 0 to 1, got nan"),
        ({"dirt": True}, "dirt must be a number from 0 to 1, got True"),
        ({"radius": -5.0}, "radius must be a number from 0 to"),
        ({"customers": 10**6, "terminals": 10**6}, "radius is too large"),
        ({"terminals_taken_per_day": 301}, "terminals_taken_per_day must be a whole number from 0 to 300, got 301"),
        ({"customers_taken_per_day": -1}, "customers_taken_per_day must be a whole number from 0 to 200, got -1"),
        ({"takeovers_before_start": 1}, "takeovers_before_start must be true or false, got 1"),
    ],
)
def test_a_bad_setting_is_named_with_its_rule(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SimulationError, match=message):
        replace(TINY, **bad)
