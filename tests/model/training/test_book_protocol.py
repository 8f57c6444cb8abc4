from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np
import pytest

from model.training.book_protocol import (
    DAY,
    BookError,
    Protocol,
    Week,
    book_features_sql,
    card_precision,
    last_weeks,
    rows_to_test,
)
from tests.model.training.histories import START, moment, payment, prepared, write_parquet

FIRST = START // DAY
WEEK = Week(train_start=100, train_end=107, test_start=114, test_end=121)


def days_in_test(defrauded_on: int) -> list[int]:
    """Return the days on which a customer is tested who pays once a day and is defrauded on one of them."""
    day = np.arange(95, 125)
    label = (day == defrauded_on).astype(np.int64)
    chosen = rows_to_test(day, np.ones_like(day), label, week=WEEK, delay_days=7)
    return [int(number) for number in day[chosen]]


# --- test weeks -------------------------------------------------------------------------------------------------------


def test_the_last_weeks_stand_one_after_the_other_and_end_with_the_history() -> None:
    weeks = last_weeks(0, 42 * DAY, Protocol())
    assert [(week.test_start, week.test_end) for week in weeks] == [(14, 21), (21, 28), (28, 35), (35, 42)]
    assert [(week.train_start, week.train_end) for week in weeks] == [(0, 7), (7, 14), (14, 21), (21, 28)]


def test_a_last_day_that_is_not_over_counts_as_one() -> None:
    (week,) = last_weeks(5 * DAY + 9, 60 * DAY - 100, Protocol(weeks=1))
    assert (week.test_start, week.test_end) == (53, 60)


def test_a_history_that_is_a_day_too_short_is_refused_with_both_numbers() -> None:
    with pytest.raises(BookError, match=r"4 test weeks of the book need 42 days \(UTC\), it has 41"):
        last_weeks(0, 41 * DAY, Protocol())


# --- customers left out -----------------------------------------------------------------------------------------------


def test_a_customer_defrauded_in_training_is_not_tested() -> None:
    assert days_in_test(100) == days_in_test(106) == []


def test_a_fraud_before_training_began_is_forgotten() -> None:
    assert days_in_test(99) == list(range(114, 121))


def test_a_fraud_since_training_counts_once_the_delay_has_passed() -> None:
    assert days_in_test(107) == [114]
    assert days_in_test(110) == [114, 115, 116, 117]
    assert days_in_test(113) == list(range(114, 121))


def test_a_customer_defrauded_in_the_test_is_tested_to_the_end() -> None:
    assert days_in_test(114) == list(range(114, 121))


def test_one_customer_s_fraud_leaves_the_others_in_the_test() -> None:
    day = np.array([103, 114, 114])
    customers = np.array([1, 1, 2])
    chosen = rows_to_test(day, customers, np.array([1, 0, 0]), week=WEEK, delay_days=7)
    assert chosen.tolist() == [False, False, True]


# --- card precision ---------------------------------------------------------------------------------------------------


def test_card_precision_counts_customers_and_not_payments() -> None:
    customers = np.array([1, 1, 1, 2])
    assert card_precision(np.zeros(4, dtype=np.int64), customers, np.array([1, 1, 0, 0]), np.ones(4)) == 0.01


def test_only_the_hundred_most_suspicious_customers_of_a_day_are_looked_at() -> None:
    customers = np.arange(150)
    label = (customers < 60).astype(np.int64)
    day = np.zeros(150, dtype=np.int64)
    assert card_precision(day, customers, label, -customers.astype(np.float64)) == 0.60
    assert card_precision(day, customers, label, customers.astype(np.float64)) == 0.10  # ranks 50 to 149


def test_a_customer_who_was_found_is_left_out_on_later_days() -> None:
    day, customers = np.array([0, 1, 1]), np.array([1, 1, 2])
    assert card_precision(day, customers, np.array([1, 1, 1]), np.ones(3)) == pytest.approx(0.01)
    assert card_precision(day, customers, np.array([0, 1, 1]), np.ones(3)) == pytest.approx(0.01)
    assert card_precision(day, customers, np.array([0, 1, 0]), np.ones(3)) == pytest.approx(0.005)


def test_a_customer_is_as_suspicious_as_the_most_suspicious_payment() -> None:
    customers = np.concatenate([np.arange(100), [500, 500]])
    score = np.concatenate([np.full(100, 0.5), [0.0, 0.9]])
    label = np.concatenate([np.zeros(100, dtype=np.int64), [1, 0]])
    assert card_precision(np.zeros(102, dtype=np.int64), customers, label, score) == 0.01


# --- the book's features ----------------------------------------------------------------------------------------------


def test_features_are_what_plain_python_counts(tmp_path: Path) -> None:
    random = Random(3)  # noqa: S311  no secret is made here
    rows = [
        payment(
            number,
            tx_datetime=moment(START + random.choice([random.randrange(45 * DAY), 7 * DAY * random.randrange(6)])),
            customer_id=random.randrange(3),
            terminal_id=random.randrange(3),
            tx_amount=float(random.randrange(1, 500)),
            tx_fraud=random.choice([0, 0, 1, None]),
        )
        for number in range(250)
    ]
    with prepared(write_parquet(tmp_path / "history.parquet", rows)) as (connection, _):
        found = connection.execute(book_features_sql(delay_days=7)).fetchnumpy()
        cleaned = connection.execute(
            "SELECT tx_seconds, customer_key, terminal_key, tx_amount, COALESCE(tx_fraud, 0) FROM transactions"
        ).fetchall()
    columns = [name for name in found if name.startswith("book_")]
    assert len(columns) == 15
    table = sorted(zip(*(found[name].tolist() for name in found), strict=True))
    assert len(table) == len(rows)
    for seconds, customer, terminal, amount, _, *values in table:
        assert values == pytest.approx(by_hand(cleaned, seconds, customer, terminal, amount))


def by_hand(
    cleaned: list[tuple[int, int, int, float, int]], seconds: int, customer: int, terminal: int, amount: float
) -> list[float]:
    when = datetime.fromtimestamp(seconds, UTC)
    values = [amount, float(when.weekday() >= 5), float(when.hour <= 6)]
    for days in (1, 7, 30):
        own = [row[3] for row in cleaned if row[1] == customer and seconds - days * DAY < row[0] <= seconds]
        values += [len(own), sum(own) / len(own)]
    for days in (1, 7, 30):
        end = seconds - 7 * DAY
        theirs = [row[4] for row in cleaned if row[2] == terminal and end - days * DAY < row[0] <= end]
        values += [len(theirs), sum(theirs) / len(theirs) if theirs else 0.0]
    return values
