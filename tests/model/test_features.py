import math
import os
import time
from datetime import UTC, datetime
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from model import features
from model.features import FEATURE_NAMES, FeatureMismatchError, build_features, schema_fingerprint
from model.statistics import ENTITIES, QUANTITIES, ROW_COLUMNS, ROW_PLACES, SUMS, WINDOWS, Sum, sums_schema
from model.transaction import MAX_AMOUNT, Transactions

Floats = npt.NDArray[np.float64]

RECENT = ("2d", "3d", "4d", "5d")
SATURDAY_NIGHT = int(datetime(2026, 11, 21, 3, 30, tzinfo=UTC).timestamp())
NAN = math.nan

# What is known before the payment: transactions, amount and amount squared in hundredths, reports.
CUSTOMER = {
    "1d": (1, 2_000, 4_000_000, 0),  # 20.00
    "7d": (2, 6_000, 20_000_000, 1),  # 20.00 and 40.00
    "30d": (4, 8_000, 20_000_000, 3),  # 10.00, 10.00, 30.00, 30.00
}
TERMINAL = {
    "1d": (0, 0, 0, 2),  # no payment, but two reports of older ones
    "7d": (3, 15_000, 75_000_000, 2),  # 50.00 three times
    "30d": (5, 25_000, 141_000_000, 5),  # 30.00, 70.00, 30.00, 70.00, 50.00
    # Of these days the payments and the reports alone are kept.
    "2d": (0, 0, 0, 2),
    "3d": (1, 5_000, 25_000_000, 2),
    "4d": (2, 10_000, 50_000_000, 2),
    "5d": (3, 15_000, 75_000_000, 2),
}
BY_HAND = {
    "amount": 50.0,
    "hour": 3.0,
    "weekday": 5.0,
    "is_night": 1.0,
    "is_weekend": 1.0,
    "customer_transactions_1d": 1.0,
    "customer_amount_mean_1d": 20.0,
    "customer_amount_std_1d": NAN,  # one payment has no spread
    "customer_amount_difference_1d": 30.0,
    "customer_amount_ratio_1d": 2.5,
    "customer_amount_zscore_1d": NAN,
    "customer_reports_1d": 0.0,
    "customer_report_rate_1d": 0.0,
    "customer_transactions_7d": 2.0,
    "customer_amount_mean_7d": 30.0,
    "customer_amount_std_7d": 10.0,
    "customer_amount_difference_7d": 20.0,
    "customer_amount_ratio_7d": 5 / 3,
    "customer_amount_zscore_7d": 2.0,
    "customer_reports_7d": 1.0,
    "customer_report_rate_7d": 0.5,
    "customer_transactions_30d": 4.0,
    "customer_amount_mean_30d": 20.0,
    "customer_amount_std_30d": 10.0,
    "customer_amount_difference_30d": 30.0,
    "customer_amount_ratio_30d": 2.5,
    "customer_amount_zscore_30d": 3.0,
    "customer_reports_30d": 3.0,
    "customer_report_rate_30d": 0.75,
    "terminal_transactions_1d": 0.0,
    "terminal_amount_mean_1d": NAN,
    "terminal_amount_std_1d": NAN,
    "terminal_amount_difference_1d": NAN,
    "terminal_amount_ratio_1d": NAN,
    "terminal_amount_zscore_1d": NAN,
    "terminal_reports_1d": 2.0,
    "terminal_report_rate_1d": NAN,
    "terminal_transactions_7d": 3.0,
    "terminal_amount_mean_7d": 50.0,
    "terminal_amount_std_7d": 0.0,
    "terminal_amount_difference_7d": 0.0,
    "terminal_amount_ratio_7d": 1.0,
    "terminal_amount_zscore_7d": NAN,  # nothing to measure against
    "terminal_reports_7d": 2.0,
    "terminal_report_rate_7d": 2 / 3,
    "terminal_transactions_30d": 5.0,
    "terminal_amount_mean_30d": 50.0,
    "terminal_amount_std_30d": math.sqrt(320),
    "terminal_amount_difference_30d": 0.0,
    "terminal_amount_ratio_30d": 1.0,
    "terminal_amount_zscore_30d": 0.0,
    "terminal_reports_30d": 5.0,
    "terminal_report_rate_30d": 1.0,
    "terminal_reports_2d": 2.0,
    "terminal_reports_3d": 2.0,
    "terminal_reports_4d": 2.0,
    "terminal_cleared_1d": -2.0,  # no payment of the day that ended a day ago, but two reports
    "terminal_cleared_2d": -1.0,
    "terminal_cleared_3d": 0.0,
    "terminal_cleared_4d": 1.0,
    "terminal_idle_days": 2.0,
}


def one(amount: float, *, seconds: int = SATURDAY_NIGHT) -> Transactions:
    return Transactions(np.array([seconds]), np.array([amount]))


Known = dict[str, tuple[int, int, int, int]]


def sums_of(customer: Known, terminal: Known) -> Floats:
    """Return the sums (1, 32) of what is known over each window."""

    def number(known: Known, one: Sum) -> float:
        return known.get(one.window, known["7d"])[QUANTITIES.index(one.quantity)]

    both = {"customer": customer, "terminal": terminal}
    return np.array([[number(both[entity], one) for entity in ENTITIES for one in SUMS[entity]]], dtype=np.float64)


def same(amounts: int, hundredths: int) -> Known:
    """Return what is known after some payments of one amount."""
    return dict.fromkeys(WINDOWS, (amounts, amounts * hundredths, amounts * hundredths**2, 0))


def named(row: Floats) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, row.tolist(), strict=True))


@st.composite
def payments(draw: st.DrawFn) -> tuple[Transactions, Floats]:
    """Return a few payments with sums that some history could have, now and then of nobody known."""
    n = draw(st.integers(1, 12))
    amount = draw(arrays.arrays(np.float64, n, elements=st.floats(0, MAX_AMOUNT)))
    seconds = draw(arrays.arrays(np.int64, n, elements=st.integers(631_152_000, 4_102_444_799)))
    history = st.lists(st.integers(0, 10**14), max_size=4)
    rows = []
    for _ in range(n):
        customer, terminal = ({window: one_window(draw, history) for window in (*WINDOWS, *RECENT)} for _ in ENTITIES)
        row = sums_of(customer, terminal)[0]
        for entity in ENTITIES:
            if draw(st.booleans()):
                row[ROW_PLACES[entity]] = np.nan
        rows.append(row)
    return Transactions(seconds, amount), np.array(rows)


def one_window(draw: st.DrawFn, history: st.SearchStrategy[list[int]]) -> tuple[int, int, int, int]:
    amounts = draw(history)
    return len(amounts), sum(amounts), sum(a * a for a in amounts), draw(st.integers(0, 3))


def test_every_feature_of_a_small_case_is_as_computed_by_hand() -> None:
    built = build_features(one(50.0), sums_of(CUSTOMER, TERMINAL))
    assert built.shape == (1, 61)
    assert named(built[0]) == pytest.approx(BY_HAND, rel=1e-14, nan_ok=True)
    assert list(BY_HAND) == list(FEATURE_NAMES)


@given(payments())
def test_one_row_equals_the_batch_bit_for_bit(case: tuple[Transactions, Floats]) -> None:
    transactions, sums = case
    batch = build_features(transactions, sums)
    for i in range(len(batch)):
        row = Transactions(transactions.tx_seconds[i : i + 1], transactions.tx_amount[i : i + 1])
        assert build_features(row, sums[i : i + 1]).tobytes() == batch[i : i + 1].tobytes()


@given(payments(), st.randoms(use_true_random=False))
def test_permuting_rows_permutes_the_output(case: tuple[Transactions, Floats], random: Random) -> None:
    transactions, sums = case
    order = random.sample(range(len(sums)), len(sums))
    permuted = Transactions(transactions.tx_seconds[order], transactions.tx_amount[order])
    assert build_features(permuted, sums[order]).tobytes() == build_features(transactions, sums)[order].tobytes()


@given(payments())
def test_whatever_the_payment_and_the_history_no_feature_is_infinite(case: tuple[Transactions, Floats]) -> None:
    assert not np.isinf(build_features(*case)).any()


@given(payments())
def test_features_leave_their_input_alone(case: tuple[Transactions, Floats]) -> None:
    transactions, sums = case
    before = (transactions.tx_seconds.tobytes(), transactions.tx_amount.tobytes(), sums.tobytes())
    build_features(transactions, sums)
    assert (transactions.tx_seconds.tobytes(), transactions.tx_amount.tobytes(), sums.tobytes()) == before


def test_features_depend_on_nothing_but_their_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    case = one(50.0), sums_of(CUSTOMER, TERMINAL)
    expected = build_features(*case).tobytes()
    monkeypatch.setitem(os.environ, "TZ", "Pacific/Auckland")
    time.tzset()
    try:
        build_features(one(3.0), sums_of(same(9, 1), same(2, 7)))
        assert build_features(*case).tobytes() == expected
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("unknown", "other"), [("customer", "terminal"), ("terminal", "customer")])
def test_all_about_an_unknown_customer_or_terminal_is_nan_and_all_else_is_as_ever(unknown: str, other: str) -> None:
    sums = sums_of(CUSTOMER, TERMINAL)
    sums[0, ROW_PLACES[unknown]] = np.nan
    built = named(build_features(one(50.0), sums)[0])
    assert all(math.isnan(value) for name, value in built.items() if name.startswith(unknown))
    rest = {name: value for name, value in built.items() if not name.startswith(unknown)}
    assert rest == pytest.approx({name: BY_HAND[name] for name in rest}, rel=1e-14, nan_ok=True)
    assert any(name.startswith(other) for name in rest)


def test_equal_amounts_have_no_spread_however_awkward_they_are() -> None:
    for hundredths in (1, 3, 333, 1_234_567, 99_999_999_999_999):
        for count in (2, 3, 7, 1_000, 1_000_000):
            built = named(build_features(one(1.0), sums_of(same(count, hundredths), same(count, hundredths)))[0])
            assert built["customer_amount_std_30d"] == 0.0, (hundredths, count)
            assert math.isnan(built["customer_amount_zscore_30d"])


def test_a_small_true_spread_is_not_taken_for_rounding() -> None:
    count, squares = 2, 10_000**2 + 10_001**2  # 100.00 and 100.01
    known = dict.fromkeys(WINDOWS, (count, 20_001, squares, 0))
    built = named(build_features(one(100.02), sums_of(known, known))[0])
    assert built["customer_amount_std_7d"] == pytest.approx(0.005)
    assert built["customer_amount_zscore_7d"] == pytest.approx(3.0)


def test_payments_of_nothing_have_a_mean_but_no_ratio() -> None:
    built = named(build_features(one(5.0), sums_of(same(3, 0), same(3, 0)))[0])
    assert built["customer_amount_mean_1d"] == 0.0
    assert built["customer_amount_std_1d"] == 0.0
    assert built["customer_amount_difference_1d"] == 5.0
    assert math.isnan(built["customer_amount_ratio_1d"])
    assert math.isnan(built["customer_amount_zscore_1d"])


@pytest.mark.parametrize(
    ("moment", "hour", "weekday", "night", "weekend"),
    [
        (datetime(2026, 11, 22, 0, 0, 0, tzinfo=UTC), 0, 6, 1, 1),
        (datetime(2026, 11, 22, 5, 59, 59, tzinfo=UTC), 5, 6, 1, 1),
        (datetime(2026, 11, 23, 6, 0, 0, tzinfo=UTC), 6, 0, 0, 0),
        (datetime(2026, 11, 20, 23, 59, 59, tzinfo=UTC), 23, 4, 0, 0),
        (datetime(2026, 11, 21, 0, 0, 0, tzinfo=UTC), 0, 5, 1, 1),
        (datetime(1970, 1, 1, 12, 0, 0, tzinfo=UTC), 12, 3, 0, 0),
    ],
)
def test_hour_and_weekday_are_those_of_utc(moment: datetime, hour: int, weekday: int, night: int, weekend: int) -> None:
    transactions = one(1.0, seconds=int(moment.timestamp()))
    built = build_features(transactions, np.full((1, len(ROW_COLUMNS)), np.nan))[0]
    assert built[1:5].tolist() == [hour, weekday, night, weekend]


@pytest.mark.parametrize(
    ("last", "days"), [("2d", 1), ("3d", 2), ("4d", 3), ("5d", 4), ("7d", 6), ("30d", 7), (None, 7)]
)
def test_idle_days_lead_back_to_the_last_payment_that_a_report_would_have_come_for(last: str | None, days: int) -> None:
    order = ("1d", "2d", "3d", "4d", "5d", "7d", "30d")
    counts = [4 + (last is not None and place >= order.index(last)) for place in range(len(order))]
    terminal = {window: (count, 0, 0, 1) for window, count in zip(order, counts, strict=True)}
    assert named(build_features(one(1.0), sums_of(CUSTOMER, terminal))[0])["terminal_idle_days"] == days


def test_no_payments_give_no_rows() -> None:
    nothing = Transactions(np.empty(0, dtype=np.int64), np.empty(0))
    assert build_features(nothing, np.empty((0, len(ROW_COLUMNS)))).shape == (0, 61)


@pytest.mark.parametrize("shape", [(2, 32), (1, 24), (1, 2, 4, 4), (32,)])
def test_sums_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FeatureMismatchError, match=r"sums must have shape \(1, 32\), they have"):
        build_features(one(1.0), np.zeros(shape))


def test_no_raw_id_is_a_feature() -> None:
    assert not [name for name in FEATURE_NAMES if "id" in name.split("_")]


def test_the_schema_fingerprint_is_of_names_order_and_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = {schema_fingerprint()}
    others: dict[str, list[object]] = {
        "FEATURE_NAMES": [("sum", *FEATURE_NAMES[1:]), (*FEATURE_NAMES[1:], FEATURE_NAMES[0]), FEATURE_NAMES[:-1]],
        "sums_schema": [lambda: ("customer reports 168h",), lambda: sums_schema()[::-1]],
    }
    for name, values in others.items():
        for value in values:
            with monkeypatch.context() as patch:
                patch.setattr(features, name, value)
                fingerprints.add(schema_fingerprint())
    assert len(fingerprints) == 6
    assert all(len(fingerprint) == 32 for fingerprint in fingerprints)
