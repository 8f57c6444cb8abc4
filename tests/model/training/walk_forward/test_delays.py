import math
from pathlib import Path
from statistics import NormalDist

import duckdb
import numpy as np
import pytest

from model.statistics import HOUR
from model.training.split import DAY
from model.training.walk_forward.delays import Delay, delay_seconds, has_own_report_times, report_after
from tests.model.training.histories import moment, payment, prepared, write_parquet

START = 1_772_409_600


@pytest.fixture
def history(tmp_path: Path) -> Path:
    rows = [
        payment(
            n, tx_datetime=moment(START + 5_000 * n), terminal_id=n % 3, tx_amount=10.0 + n, tx_fraud=int(n % 4 == 0)
        )
        for n in range(40)
    ]
    return write_parquet(tmp_path / "history.parquet", rows)


def tiles(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, ...]]:
    rows = connection.execute("SELECT * FROM terminal_tiles ORDER BY key, hour").fetchall()
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("days", [0, 1, 7])
def test_rewritten_reports_give_the_tiles_of_a_history_prepared_with_that_delay(history: Path, days: int) -> None:
    with prepared(history, label_delay=days * DAY) as (connection, _):
        expected = tiles(connection)
    with prepared(history, label_delay=3 * DAY) as (connection, _):
        assert tiles(connection) != expected
        report_after(connection, Delay(days * DAY))
        assert tiles(connection) == expected


def test_one_delay_after_another_leaves_no_trace_of_the_first(history: Path) -> None:
    with prepared(history, label_delay=DAY) as (connection, _):
        before = tiles(connection)
        report_after(connection, Delay(DAY, sigma=1.0))
        assert tiles(connection) != before
        report_after(connection, Delay(DAY))
        assert tiles(connection) == before


def test_random_delays_are_those_of_the_rows_and_the_same_everywhere() -> None:
    seconds, amount = START + np.arange(5) * 61, 1_000 + np.arange(5) * 7
    delays = delay_seconds(Delay(DAY, sigma=1.0), seconds, amount)
    assert delays.tolist() == [_by_the_book(int(row[0]), int(row[1])) for row in zip(seconds, amount, strict=True)]
    order = np.array([3, 0, 4, 2, 1])
    assert delay_seconds(Delay(DAY, sigma=1.0), seconds[order], amount[order]).tolist() == delays[order].tolist()


def test_random_delays_are_log_normal() -> None:
    rng = np.random.default_rng(1)
    delays = delay_seconds(Delay(DAY, sigma=0.7), START + np.arange(20_000), rng.integers(1, 10_000, 20_000))
    logs = np.log(delays / DAY)
    assert abs(logs.mean()) < 0.02
    assert abs(logs.std() - 0.7) < 0.02
    assert abs(np.mean(delays <= Delay(DAY, sigma=0.7).gap) - 0.9) < 0.01


def test_gap_of_a_fixed_delay_is_the_delay() -> None:
    assert Delay(7 * DAY).gap == 7 * DAY
    assert Delay(0).gap == 0


def test_names_say_what_the_delay_is() -> None:
    assert Delay(7 * DAY).name == "7 d"
    assert Delay(DAY, 1.0).name == "log-normal, median 1 d, sigma 1"


def test_own_report_times_are_seen(tmp_path: Path) -> None:
    rows = [payment(n, tx_fraud=1, report_datetime=moment(START + n * HOUR)) for n in range(5)]
    with prepared(write_parquet(tmp_path / "a.parquet", rows)) as (connection, _):
        assert has_own_report_times(connection, label_delay=DAY)
    for row in rows:
        del row["report_datetime"]
    with prepared(write_parquet(tmp_path / "b" / "b.parquet", rows)) as (connection, _):
        assert not has_own_report_times(connection, label_delay=DAY)


def _by_the_book(seconds: int, amount: int) -> int:
    """Return the delay computed with Python's own integers and normal distribution."""
    quantile = ((_mixed(_mixed(seconds) ^ amount) >> 11) + 0.5) / 2**53
    return math.floor(DAY * math.exp(NormalDist().inv_cdf(quantile)))


def _mixed(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)
