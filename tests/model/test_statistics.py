import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.statistics import (
    ENTITIES,
    RECENT_WINDOWS,
    ROW_COLUMNS,
    SUM_COLUMNS,
    SUMS,
    WINDOWS,
    EntityStatistics,
    Snapshot,
    StatisticsError,
    Sum,
    hour_text,
    point_in_time_sql,
    snapshot_sql,
    tiles_sql,
)

AS_OF = 490_000  # hours since 1970, some day in 2025
WIDEST = max(WINDOWS.values())
BOUNDS = [*WINDOWS.values(), *RECENT_WINDOWS.values()]
LARGEST = 10**14  # hundredths; the largest amount that cleaning lets through

Sums = dict[int, list[float]]


class Tx(NamedTuple):
    """A row of the cleaned table, with small keys."""

    customer: int
    terminal: int
    hour: int
    amount: int
    fraud: int | None = 0
    report_hour: int = 0


def key(row: Tx, entity: str) -> int:
    return row.customer if entity == "customer" else row.terminal


def by_hand(rows: Sequence[Tx], entity: str, as_of: int) -> Sums:
    """Return the sums of every key known at an hour, in plain Python, in the order of `SUM_COLUMNS[entity]`."""
    sums = {}
    for known in {key(row, entity) for row in rows}:
        own = [row for row in rows if key(row, entity) == known]
        numbers: list[float] = []
        for days in (1, 7, 30):
            numbers += quantities(own, as_of, days)
        if not (numbers[-4] or numbers[-1]):
            continue
        for days in (2, 3, 4, 5) if entity == "terminal" else ():
            payments, _, _, reports = quantities(own, as_of, days)
            numbers += [payments, reports]
        sums[known] = numbers
    return sums


def quantities(own: Sequence[Tx], as_of: int, days: int) -> list[float]:
    """Return payments, amounts, squared amounts and reports over some days."""
    amounts = [row.amount for row in own if as_of - 24 * days <= row.hour < as_of]
    reports = [row for row in own if row.fraud == 1 and as_of - 24 * days <= row.report_hour < as_of]
    return [len(amounts), float(sum(amounts)), float(sum(a * a for a in amounts)), len(reports)]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, rows: Sequence[Tx]) -> None:
    """Make the tables of tiles from cleaned rows."""
    connection.execute(
        "CREATE OR REPLACE TABLE cleaned (customer_key BIGINT, terminal_key BIGINT, tx_hour BIGINT,"
        " amount_hundredths BIGINT, tx_fraud BIGINT, report_hour BIGINT)"
    )
    if rows:
        connection.executemany("INSERT INTO cleaned VALUES (?, ?, ?, ?, ?, ?)", rows)
    for entity in ENTITIES:
        connection.execute(f"CREATE OR REPLACE TABLE {entity}_tiles AS {tiles_sql(entity, transactions='cleaned')}")


def snapshot_of(connection: duckdb.DuckDBPyConnection, entity: str, as_of: int) -> Sums:
    answer = connection.execute(snapshot_sql(entity, tiles=f"{entity}_tiles", as_of_hour=as_of)).fetchall()
    assert [row[0] for row in answer] == sorted(row[0] for row in answer)
    return {row[0]: list(row[1:]) for row in answer}


def points_of(
    connection: duckdb.DuckDBPyConnection, entity: str, points: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[float]]:
    connection.execute("CREATE OR REPLACE TABLE points (key BIGINT, hour BIGINT)")
    if points:
        connection.executemany("INSERT INTO points VALUES (?, ?)", points)
    query = point_in_time_sql(entity, tiles=f"{entity}_tiles", points="points")
    columns = ", ".join(SUM_COLUMNS[entity])
    answer = connection.execute(f"SELECT key, hour, {columns} FROM ({query}) AS answer").fetchall()
    assert len({row[:2] for row in answer}) == len(answer)
    return {row[:2]: list(row[2:]) for row in answer}


near_a_bound = st.sampled_from([n * hours + d for hours in BOUNDS for n in (0, 1, 2) for d in (-1, 0, 1)])
hours = st.one_of(near_a_bound, st.integers(-2, 2 * WIDEST)).map(lambda before: AS_OF - before)
# Sums of these squares are whole numbers below 2**53, which a float holds to the last bit. Beyond that engines turn a
# decimal into the nearest float or the one beside it.
amounts = st.one_of(st.integers(0, 100_000), st.integers(0, 10**7))
transactions = st.builds(
    Tx,
    customer=st.integers(-2, 2),
    terminal=st.integers(1, 2),
    hour=hours,
    amount=amounts,
    fraud=st.sampled_from([0, 0, 1, None]),
    report_hour=hours,
)
histories = st.lists(transactions, max_size=30)


# --- the same numbers in three ways -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(histories, st.sampled_from([0, 1, 23, 24, 25, 168, 720, 721]))
def test_snapshot_and_point_in_time_are_what_plain_python_adds_up(
    connection: duckdb.DuckDBPyConnection, rows: list[Tx], before: int
) -> None:
    fill(connection, rows)
    as_of = AS_OF - before
    for entity in ENTITIES:
        expected = by_hand(rows, entity, as_of)
        assert snapshot_of(connection, entity, as_of) == expected
        asked = [(known, as_of) for known in {*expected, 1, 2, 99}]
        assert points_of(connection, entity, asked) == {(known, as_of): sums for known, sums in expected.items()}


@settings(deadline=None, max_examples=25)
@given(histories)
def test_every_row_sees_at_its_own_hour_what_a_snapshot_of_that_hour_says(
    connection: duckdb.DuckDBPyConnection, rows: list[Tx]
) -> None:
    fill(connection, rows)
    for entity in ENTITIES:
        asked = sorted({(key(row, entity), row.hour) for row in rows})
        expected = {
            (known, hour): sums
            for known, hour in asked
            if (sums := snapshot_of(connection, entity, hour).get(known)) is not None
        }
        assert points_of(connection, entity, asked) == expected


@settings(deadline=None, max_examples=25)
@given(histories, histories)
def test_later_rows_and_reports_never_change_an_earlier_snapshot(
    connection: duckdb.DuckDBPyConnection, rows: list[Tx], more: list[Tx]
) -> None:
    as_of = AS_OF - 48
    later = [
        row._replace(hour=as_of + abs(row.hour - AS_OF), report_hour=as_of + abs(row.hour - AS_OF)) for row in more
    ]
    fill(connection, rows)
    before = [snapshot_of(connection, entity, as_of) for entity in ENTITIES]
    fill(connection, [*rows, *later])
    assert [snapshot_of(connection, entity, as_of) for entity in ENTITIES] == before


@settings(deadline=None, max_examples=25)
@given(histories, st.integers())
def test_the_order_of_rows_changes_no_bit(connection: duckdb.DuckDBPyConnection, rows: list[Tx], seed: int) -> None:
    fill(connection, rows)
    before = [repr(snapshot_of(connection, entity, AS_OF)) for entity in ENTITIES]
    fill(connection, Random(seed).sample(rows, len(rows)))  # noqa: S311  no secret is made here
    assert [repr(snapshot_of(connection, entity, AS_OF)) for entity in ENTITIES] == before


def test_sums_that_no_float_could_add_up_are_exact(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [Tx(1, 1, AS_OF - 1, LARGEST), *(Tx(1, 1, AS_OF - 1 - i % 24, 1) for i in range(1000))]
    fill(connection, rows)
    sums = snapshot_of(connection, "customer", AS_OF)[1]
    assert sums[1] == LARGEST + 1000
    assert sums[2] == pytest.approx(float(LARGEST**2 + 1000), rel=1e-15)
    assert points_of(connection, "customer", [(1, AS_OF)])[1, AS_OF] == sums


# --- bounds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "one"), [(entity, one) for entity in ENTITIES for one in SUMS[entity]], ids=lambda value: str(value)[:60]
)
def test_a_window_begins_exactly_its_length_before_and_ends_right_before_as_of(
    connection: duckdb.DuckDBPyConnection, entity: str, one: Sum
) -> None:
    column, quantity, length = SUM_COLUMNS[entity].index(one.column), one.quantity, one.hours
    assert one.window == f"{length // 24}d"
    counted = {-length - 1: False, -length: True, -1: True, 0: False, 1: False}
    for offset, counts in counted.items():
        hour = AS_OF + offset
        event = (
            Tx(1, 1, AS_OF - 5 * WIDEST, 300, fraud=1, report_hour=hour)
            if quantity == "reports"
            else Tx(1, 1, hour, 300)
        )
        fill(connection, [event])
        expected = {"transactions": 1, "amount": 300, "amount_squared": 90_000, "reports": 1}[quantity] * counts
        nothing = [0.0] * len(SUMS[entity])
        assert snapshot_of(connection, entity, AS_OF).get(1, nothing)[column] == expected, offset
        assert points_of(connection, entity, [(1, AS_OF)]).get((1, AS_OF), nothing)[column] == expected, offset


def test_a_report_counts_when_it_arrives_and_not_when_the_payment_was_made(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    fill(connection, [Tx(1, 1, AS_OF - 30, 500, fraud=1, report_hour=AS_OF - 2)])
    reports = SUM_COLUMNS["terminal"].index("reports_1d")
    assert snapshot_of(connection, "terminal", AS_OF - 2)[1][reports] == 0
    assert snapshot_of(connection, "terminal", AS_OF - 1)[1][reports] == 1


def test_a_key_whose_last_report_is_still_in_the_window_is_known(connection: duckdb.DuckDBPyConnection) -> None:
    fill(connection, [Tx(1, 1, AS_OF - 2 * WIDEST, 500, fraud=1, report_hour=AS_OF - 1)])
    assert snapshot_of(connection, "customer", AS_OF) == {1: [0.0, 0.0, 0.0, 1.0] * 3}
    assert points_of(connection, "customer", [(1, AS_OF)]) == {(1, AS_OF): [0.0, 0.0, 0.0, 1.0] * 3}


def test_a_key_forgotten_for_30_days_is_unknown_again(connection: duckdb.DuckDBPyConnection) -> None:
    fill(connection, [Tx(1, 1, AS_OF - WIDEST, 500)])
    assert set(snapshot_of(connection, "customer", AS_OF)) == {1}
    assert snapshot_of(connection, "customer", AS_OF + 1) == {}
    assert points_of(connection, "customer", [(1, AS_OF + 1)]) == {}


def test_an_empty_history_has_an_empty_snapshot(connection: duckdb.DuckDBPyConnection) -> None:
    fill(connection, [])
    assert snapshot_of(connection, "customer", AS_OF) == {}
    assert points_of(connection, "customer", [(1, AS_OF)]) == {}


# --- look-ups ---------------------------------------------------------------------------------------------------------


def statistics_of(keys: Sequence[int], entity: str = "customer") -> EntityStatistics:
    """Return statistics where the sums of a key are the key and the next numbers."""
    sums = np.array(keys, dtype=np.float64)[:, None] + np.arange(len(SUMS[entity]))
    return EntityStatistics(np.array(keys, dtype=np.int64), sums.reshape(len(keys), len(SUMS[entity])))


KEYS = (-(2**63), -5, 3, 40, 2**63 - 1)


@pytest.mark.parametrize(
    "asked",
    [
        np.array([3, 4, -5, 2**63 - 1, -(2**63), 41], dtype=np.int64),
        [3, 4, -5, 2**63 - 1, -(2**63), 41],
        (3, 4, -5, 2**63 - 1, -(2**63), 41),
    ],
    ids=["int64", "list of Python integers", "tuple"],
)
def test_known_keys_get_their_sums_and_others_get_nan(asked: npt.NDArray[np.int64]) -> None:
    found = statistics_of(KEYS).lookup(asked)
    assert found.shape == (6, 12)
    assert found[[0, 2]].tolist() == [[3.0 + i for i in range(12)], [-5.0 + i for i in range(12)]]
    assert np.isnan(found).all(axis=1).tolist() == [False, True, False, False, False, True]


def test_a_number_that_is_no_64_bit_key_is_refused_and_not_rounded() -> None:
    with pytest.raises(OverflowError):
        statistics_of(KEYS).lookup([2**63])  # type: ignore[arg-type]


def test_a_look_up_hands_out_a_copy() -> None:
    statistics = statistics_of(KEYS)
    statistics.lookup(np.array([3]))[:] = 0
    assert statistics.lookup(np.array([3]))[0, 0] == 3.0


def test_nobody_is_known_in_an_empty_snapshot() -> None:
    found = Snapshot(AS_OF, statistics_of([]), statistics_of([], "terminal")).lookup(np.array([1, 2]), np.array([3, 4]))
    assert found.shape == (2, 32)
    assert np.isnan(found).all()


def test_a_snapshot_gives_the_sums_in_the_order_of_their_names() -> None:
    snapshot = Snapshot(AS_OF, statistics_of([100]), statistics_of([500], "terminal"))
    found = dict(zip(ROW_COLUMNS, snapshot.lookup(np.array([100]), np.array([500]))[0].tolist(), strict=True))
    for entity, start in (("customer", 100), ("terminal", 500)):
        for place, column in enumerate(SUM_COLUMNS[entity]):
            assert found[f"{entity}_{column}"] == start + place


def test_sums_of_one_entity_are_not_taken_for_those_of_the_other() -> None:
    with pytest.raises(StatisticsError, match=r"sums of a terminal are 20 numbers, these are of shape \(1, 12\)"):
        Snapshot(AS_OF, statistics_of([1]), statistics_of([1]))


@pytest.mark.parametrize(
    ("keys", "sums", "message"),
    [
        (np.array([2, 1]), np.zeros((2, 12)), "sorted"),
        (np.array([1, 1]), np.zeros((2, 12)), "stand once"),
        (np.array([1, 2]), np.zeros((3, 12)), "2 keys do not fit"),
        (np.array([1, 2]), np.zeros(2), "2 keys do not fit"),
        (np.array([1, 2], dtype=np.uint64), np.zeros((2, 12)), "int64"),
        (np.array([1, 2]), np.zeros((2, 12), dtype=np.float32), "float64"),
    ],
)
def test_damaged_statistics_are_refused(
    keys: npt.NDArray[np.int64], sums: npt.NDArray[np.float64], message: str
) -> None:
    with pytest.raises(StatisticsError, match=message):
        EntityStatistics(keys, sums)


def test_an_hour_is_told_as_a_moment_in_utc() -> None:
    assert hour_text(0) == "1970-01-01T00:00:00Z"
    assert Snapshot(494_557, statistics_of([]), statistics_of([], "terminal")).as_of == "2026-06-02T13:00:00Z"
    assert math.isclose(494_557 % 24, 13)
