"""What the stream's load tests conclude from what they saw."""

import itertools
import json

import pytest

from loadtest.kill_ledger import Ledger, bodies, page
from loadtest.stream_report import GROWTH_ALLOWED, SETTLE_SECONDS, Lag


def lag(*waiting: int) -> Lag:
    samples = [(SETTLE_SECONDS + second, messages) for second, messages in enumerate(waiting)]
    return Lag(400, 0.25, 60, [(0.0, 10**6), *samples], 50.0, 100.0)


def test_a_lag_that_goes_up_and_down_does_not_grow() -> None:
    assert lag(10, 40, 10, 40, 10, 40).thirds() == (25, 25)
    assert not lag(10, 40, 10, 40, 10, 40).grows


def test_a_lag_that_ends_half_a_second_of_traffic_higher_grows() -> None:
    assert lag(0, 0, 0, 0, 0, int(2 * GROWTH_ALLOWED) + 2).grows


def test_bodies_are_numbered_and_some_are_poison() -> None:
    found = list(bodies([{"tx_amount": 1}, {"tx_amount": 2}], 6, poison_every=3))
    assert [body.endswith(b"}") for body in found] == [False, True, True, False, True, True]
    whole = [json.loads(body if body.endswith(b"}") else body + b"}") for body in found]
    assert [one["transaction_id"] for one in whole] == list(range(6))
    assert list(itertools.islice((one["tx_amount"] for one in whole), 3)) == [1, 2, 1]


@pytest.mark.parametrize("fault", ["lost", "double", "strange"])
def test_one_message_too_few_or_too_many_spoils_the_ledger(fault: str) -> None:
    whole = {"messages": 9, "decisions": 8, "dead_letters": 1, "lost": 0, "double": 0, "strange": 0}
    assert Ledger(**whole).is_clean
    assert not Ledger(**(whole | {fault: 1})).is_clean


def test_the_page_says_what_was_lost_and_lists_each_kill() -> None:
    kill = {"number": 1, "at_seconds": 10.0, "committed": 2500, "resumed_seconds": 9.0}
    known = {"date": "2026-01-01T00:00:00", "processor": "p", "system": "s", "partitions": 4, "messages": 9}
    counts = {"decisions": 8, "dead_letters": 1, "lost": 0, "double": 3, "strange": 0}
    text = page(known | counts | {"kills": [kill]})
    assert "**0 lost, 3 double**" in text
    assert "| 1 | 10.0 | 2,500 | 9.0 |" in text
