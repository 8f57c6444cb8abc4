from typing import Any

import numpy as np
import pytest

from model.statistics import ENTITIES, HOUR, SUMS
from model.training.dataset import Dataset
from model.training.split import DAY
from model.training.walk_forward.ceiling import ceiling_figures, find_silent
from model.transaction import Transactions

START = 17_622 * DAY
N = 8


def history(**columns: Any) -> Dataset:
    """Return eight frauds, one a day, at one terminal, of different customers, with ordinary amounts; and changes."""
    given = {
        "seconds": START + DAY * np.arange(N) + 10 * HOUR,
        "amount": np.full(N, 20.0),
        "label": np.ones(N, dtype=np.int64),
        "scenario": np.full(N, 2),
        "report_hour": (START + DAY * np.arange(N) + 10 * HOUR + 30 * HOUR) // HOUR,
        "customer": np.arange(N),
        "terminal": np.full(N, 5),
    } | {name: np.asarray(values) for name, values in columns.items()}
    known = {"transactions": 10, "amount": 10 * 2_000, "amount_squared": 10 * (2_000**2 + 500**2), "reports": 0}
    sums = np.tile([float(known[one.quantity]) for entity in ENTITIES for one in SUMS[entity]], (N, 1))
    return Dataset(
        Transactions(given["seconds"], given["amount"].astype(float)),
        sums,
        given["label"],
        given["scenario"],
        given["report_hour"],
        given["customer"],
        given["terminal"],
        np.ones(N),
    )


def silent(rows: Dataset, age_hours: int = 1) -> list[bool]:
    return [bool(each) for each in find_silent(rows, statistics_age_hours=age_hours).silent]


def with_an_honest_row(**columns: Any) -> Dataset:
    """Return the same with an honest last row: without one there is no ordinary amount."""
    return history(label=[1] * (N - 1) + [0], **columns)


def test_frauds_before_the_first_report_of_their_run_are_silent() -> None:
    # The first report comes 30 hours after the first fraud: the second fraud is still silent, the third is not.
    assert silent(with_an_honest_row()) == [True, True, False, False, False, False, False, False]


@pytest.mark.parametrize(("hours", "expected"), [(23, False), (24, True)])
def test_report_counts_from_the_hour_after_it_arrived(hours: int, expected: bool) -> None:
    report_hour = (START + DAY * np.arange(N) + 10 * HOUR) // HOUR + hours
    assert silent(with_an_honest_row(report_hour=report_hour))[1] is expected


def test_statistics_of_midnight_know_less_than_those_of_the_hour() -> None:
    report_hour = (START + DAY * np.arange(N) + 10 * HOUR) // HOUR + 20  # at six in the morning of the next day
    assert silent(with_an_honest_row(report_hour=report_hour), 1)[1] is False
    assert silent(with_an_honest_row(report_hour=report_hour), 24)[1] is True


def test_report_of_an_earlier_run_tells_nothing() -> None:
    seconds = START + DAY * np.array([0, 1, 20, 21, 22, 23, 24, 25]) + 10 * HOUR
    found = silent(with_an_honest_row(seconds=seconds, report_hour=seconds // HOUR + 30))
    assert found == [True, True, True, True, False, False, False, False]


def test_report_on_the_same_customer_and_a_large_amount_both_tell() -> None:
    assert silent(with_an_honest_row(terminal=np.arange(N), customer=np.full(N, 3)))[:3] == [True, True, False]
    assert silent(with_an_honest_row(amount=[20, 90, 20, 20, 20, 20, 20, 90]))[:2] == [True, False]


def test_scenario_counts_only_frauds_of_taken_terminals() -> None:
    ceiling = find_silent(with_an_honest_row(scenario=[3, 2, 2, 2, 2, 2, 2, 0]), statistics_age_hours=1)
    assert ceiling.silent_by_scenario is not None
    assert ceiling.silent_by_scenario.tolist() == [False, True, True, False, False, False, False, False]
    assert find_silent(with_an_honest_row(scenario=[0] * N), statistics_age_hours=1).silent_by_scenario is None


def test_ceiling_catches_all_that_is_not_silent_and_the_rest_by_chance() -> None:
    fraud, quiet = np.array([True] * 4 + [False]), np.array([True, False, False, False, True])
    figures = ceiling_figures(fraud, quiet, np.ones(5), "as defined")
    assert figures["silent_fraud_share"] == 0.25
    assert figures["recall_at_fpr_5pct"] == pytest.approx(0.75 + 0.25 * 0.05)
    assert figures["recall_at_fpr_1pct"] == pytest.approx(0.75 + 0.25 * 0.01)
