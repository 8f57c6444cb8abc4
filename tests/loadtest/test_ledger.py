import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import Ledger, Outcome, classify, percentile

values = st.lists(st.floats(0, 1e6) | st.integers(0, 5).map(float), min_size=1, max_size=200)
shares = st.floats(0.001, 1) | st.sampled_from([0.5, 0.9, 0.99, 1.0])


@given(values, shares)
def test_a_percentile_is_the_smallest_value_that_enough_do_not_exceed(found: list[float], share: float) -> None:
    enough = [one for one in found if sum(other <= one for other in found) >= share * len(found)]
    assert percentile(sorted(found), share) == min(enough)


def test_where_nothing_was_answered_nothing_was_answered_in_time() -> None:
    assert percentile([], 0.99) == math.inf
    result = Ledger().result(rate=1, seconds=1)
    assert result.adds_up
    assert result.p99_ms > 1e9
    assert json.loads(json.dumps(result.as_json(), allow_nan=False))["p99_ms"] is None


@pytest.mark.parametrize(
    ("status", "retry_after", "outcome"),
    [
        (200, False, Outcome.ANSWERED),
        (503, True, Outcome.REFUSED),
        (503, False, Outcome.SERVER_ERROR),
        (429, True, Outcome.CLIENT_ERROR),
        (400, False, Outcome.CLIENT_ERROR),
        (422, False, Outcome.CLIENT_ERROR),
        (500, True, Outcome.SERVER_ERROR),
        (502, False, Outcome.SERVER_ERROR),
        (302, False, Outcome.SERVER_ERROR),
        (204, False, Outcome.SERVER_ERROR),
    ],
)
def test_every_status_has_one_outcome(status: int, retry_after: bool, outcome: Outcome) -> None:
    assert classify(status, retry_after=retry_after) is outcome


@given(st.lists(st.tuples(st.sampled_from(Outcome), st.floats(0, 10))))
def test_whatever_happens_the_books_add_up(ends: list[tuple[Outcome, float]]) -> None:
    ledger = Ledger()
    for outcome, latency in ends:
        ledger.record(outcome, latency)
    result = ledger.result(rate=10, seconds=2)
    assert result.adds_up
    assert result.due == len(ends)
    answered = sorted(latency for outcome, latency in ends if outcome is Outcome.ANSWERED)
    assert result.answered == len(answered)
    assert result.errors == sum(outcome not in (Outcome.ANSWERED, Outcome.REFUSED) for outcome, _ in ends)
    assert sum(result.causes.values()) == result.errors
    assert result.max_ms == pytest.approx(1000 * answered[-1]) if answered else result.max_ms == math.inf


def test_a_refusal_does_not_flatter_the_answers_times() -> None:
    ledger = Ledger()
    ledger.record(Outcome.REFUSED, 0.001)
    ledger.record(Outcome.ANSWERED, 0.5)
    result = ledger.result(rate=1, seconds=2)
    assert (result.p50_ms, result.refused_p99_ms) == (500, 1)
