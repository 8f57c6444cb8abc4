"""Whenever a refresh is killed, the next one gives the right answer."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from model.statistics import HOUR
from tests.model.training.histories import START, moment, payment
from tests.model.training.refresh.banks import Bank, Report, from_scratch, refreshed, same

ADVANCING = (
    "begin:before", "begin:before:2", "bring_in:after:1", "insert:after:2", "advance:before", "let_go:before",
    "let_go:after", "take_in:after", "find_repeated:after", "note:after", "before:after",
    "advance:after", "change:after", "change:after:2", "after:after", "report:before", "report:after",
)  # fmt: skip
BUILDING = (
    "create:after",
    "take_in:after",
    "advance:after",
    "put_in_place:before",
    "replace:before",
    "put_in_place:after",
)

FIRST_HOUR, LAST_HOUR = START // HOUR + 1, START // HOUR + 3


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    bank = Bank(tmp_path / "bank")
    bank.write("a.parquet", [payment(number, customer_id=number % 3) for number in range(1, 9)])
    bank.write("b.parquet", [payment(number, tx_fraud=1) for number in range(6, 12)])
    return bank


def change(bank: Bank) -> None:
    """Let files come, change and vanish."""
    bank.write("a.parquet", [payment(number, customer_id=number % 2) for number in range(1, 8)])
    bank.remove("b.parquet")
    bank.write("c.csv", [payment(3, tx_datetime=moment(START)), payment(20, tx_datetime=moment(START + 2 * HOUR))])
    bank.write_reports("r.csv", [Report(20, START + 2 * HOUR, 1)])


def die(bank: Bank, points: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "tests.model.training.refresh.killed", str(bank.folder), *points]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize("points", [ADVANCING, BUILDING])
def test_after_a_kill_at_any_point_the_next_run_is_right(bank: Bank, tmp_path: Path, points: Sequence[str]) -> None:
    if points is ADVANCING:
        bank.write("big.parquet", [payment(number) for number in range(100, 160)])  # so that most rows stay
        refreshed(bank.task())
        change(bank)
    assert die(bank, points) == [f"{point} died" for point in points]
    expected = from_scratch(
        bank, as_of_hour=LAST_HOUR if points is ADVANCING else FIRST_HOUR, work=tmp_path / "expected"
    )
    assert expected is not None
    for point in points:
        fresh = refreshed(Bank(Path(f"{bank.folder}-{point}")).task())
        assert fresh.snapshot is not None
        assert same(fresh.snapshot, expected), point
        assert bool(fresh.rebuilt) == (points is BUILDING and point != "put_in_place:after"), point
