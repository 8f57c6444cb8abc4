import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.schedules import even_schedule, random_schedule


@given(st.floats(1, 1000), st.floats(0.1, 5))
def test_an_even_schedule_has_the_rate_and_no_gap(rate: float, seconds: float) -> None:
    moments = even_schedule(rate, seconds)
    assert len(moments) == round(rate * seconds)
    assert all(later - earlier == pytest.approx(1 / rate) for earlier, later in itertools.pairwise(moments))


def test_a_random_schedule_has_about_the_rate_and_gaps_of_all_lengths() -> None:
    moments = random_schedule(100, 100, random.Random(1))  # noqa: S311
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(moments) == pytest.approx(10_000, rel=0.05)
    assert min(gaps) > 0
    assert max(moments) < 100
    # Independent arrivals: the share of gaps longer than the mean is 1 / e.
    assert sum(gap > 0.01 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.03)
