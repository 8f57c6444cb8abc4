"""What a public book on this task fixes: test weeks, customers left out, card precision, and its own features.

Source: Le Borgne, Siblini, Lebichot, Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection:
Practical Handbook", Université Libre de Bruxelles, 2022: chapter 3 (features, split), 4 (card precision) and 5 (four
consecutive test weeks).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.statistics import HOUR, Floats, Integers

DAY = 24 * HOUR  # seconds
TOP_CARDS = 100  # customers that investigators can look at in a day
NIGHT_ENDS = 6  # the book's night ends with this hour, ours before it
WINDOWS = (1, 7, 30)  # days

Mask = npt.NDArray[np.bool_]


class BookError(ValueError):
    """A history that the protocol cannot be run on."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How many days are learnt from, waited for and tested, and in how many consecutive test weeks."""

    train_days: int = 7
    delay_days: int = 7
    test_days: int = 7
    weeks: int = 4


@dataclass(frozen=True, slots=True)
class Week:
    """One test week and the days that are learnt from: `[start, end)`, days since 1970 (UTC)."""

    train_start: int
    train_end: int
    test_start: int
    test_end: int


def last_weeks(start: int, end: int, protocol: Protocol) -> tuple[Week, ...]:
    """Return the last test weeks of a history from `start` to `end`, seconds since 1970, the earliest first.

    Raises
    ------
    BookError
        If it does not reach back to the first training day.
    """
    first_day, end_day = start // DAY, -(-end // DAY)
    before = protocol.train_days + protocol.delay_days
    needed = before + protocol.weeks * protocol.test_days
    if end_day - first_day < needed:
        raise BookError(
            f"history is too short: {protocol.weeks} test weeks of the book need {needed} days (UTC), it has"
            f" {max(end_day - first_day, 0)}"
        )
    starts = (end_day - protocol.test_days * week for week in range(protocol.weeks, 0, -1))
    return tuple(
        Week(first - before, first - protocol.delay_days, first, first + protocol.test_days) for first in starts
    )


def rows_to_test(day: Integers, customer_key: Integers, label: Integers, *, week: Week, delay_days: int) -> Mask:
    """Return which rows (n,) are tested in a week: those of customers not yet known as defrauded on their day.

    Known on a day are the frauds since training began that are more than the delay older than it.
    """
    tested = np.zeros(len(day), dtype=np.bool_)
    fraud = (label == 1) & (day >= week.train_start)
    for today in range(week.test_start, week.test_end):
        known = np.unique(customer_key[fraud & (day < today - delay_days)])
        tested |= (day == today) & ~np.isin(customer_key, known)
    return tested


def card_precision(day: Integers, customer_key: Integers, label: Integers, score: Floats) -> float:
    """Return the mean share of defrauded customers among the 100 most suspicious of each day; all arrays are (n,).

    A customer is as suspicious as the most suspicious payment of the day; one who was found is left out on later days.
    """
    found: Integers = np.empty(0, dtype=np.int64)
    shares = []
    for today in np.unique(day):
        chosen = (day == today) & ~np.isin(customer_key, found)
        customers, place = np.unique(customer_key[chosen], return_inverse=True)
        highest, defrauded = np.full(len(customers), -np.inf), np.zeros(len(customers), dtype=np.int64)
        np.maximum.at(highest, place, score[chosen])
        np.maximum.at(defrauded, place, label[chosen])
        top = np.argsort(-highest, kind="stable")[:TOP_CARDS]
        caught = customers[top[defrauded[top] == 1]]
        shares.append(len(caught) / TOP_CARDS)
        found = np.concatenate((found, caught))
    return float(np.mean(shares))


def book_features_sql(*, delay_days: int) -> str:
    """Return the query for the book's 15 features of each row of the table `transactions`.

    A window of a customer is `(t - window, t]` and counts the payment itself; one of a terminal ends the delay earlier.
    """
    payment = {
        "amount": "tx_amount",
        "during_weekend": f"CAST(FLOOR(tx_seconds / {DAY}) + 3 AS BIGINT) % 7 >= 5",  # 1970-01-01 was a Thursday
        "during_night": f"tx_seconds % {DAY} < {(NIGHT_ENDS + 1) * HOUR}",
    }
    customer, terminal, windows = {}, {}, []
    delay = delay_days * DAY
    for days in WINDOWS:
        mine, late = f"c{days}", f"t{days}"
        windows += [
            f"{mine} AS ({_window('customer', days * DAY - 1)} AND CURRENT ROW)",
            f"{late} AS ({_window('terminal', delay + days * DAY - 1)} AND {delay} PRECEDING)",
        ]
        customer[f"customer_transactions_{days}d"] = f"COUNT(*) OVER {mine}"
        customer[f"customer_amount_mean_{days}d"] = f"AVG(tx_amount) OVER {mine}"
        terminal[f"terminal_transactions_{days}d"] = f"COUNT(*) OVER {late}"
        terminal[f"terminal_risk_{days}d"] = f"COALESCE(AVG(CAST(COALESCE(tx_fraud, 0) AS DOUBLE)) OVER {late}, 0)"
    features = payment | customer | terminal
    columns = ",\n    ".join(f"CAST({value} AS DOUBLE) AS book_{name}" for name, value in features.items())
    return (
        "SELECT\n    tx_seconds, customer_key, terminal_key, tx_amount, COALESCE(tx_fraud, 0) AS label,\n    "
        f"{columns}\nFROM transactions\nWINDOW {', '.join(windows)}"
    )


def _window(entity: str, seconds: int) -> str:
    return f"PARTITION BY {entity}_key ORDER BY tx_seconds RANGE BETWEEN {seconds} PRECEDING"
