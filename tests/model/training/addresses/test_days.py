from datetime import UTC, date, datetime

import pytest

from model.training.addresses import Days
from model.training.addresses.days import folder_day, named_day

WEEK = Days(date(2026, 1, 5), date(2026, 1, 11))


@pytest.mark.parametrize("key", ["date", "tx_date", "dt"])
def test_a_folder_named_after_a_day_gives_it(key: str) -> None:
    assert folder_day(f"region=3/{key}=2026-01-31/hour=05/a.parquet") == date(2026, 1, 31)


@pytest.mark.parametrize("name", ["date=2026-01-31", "a.parquet", "date=2026-13-45/a", "update=2026-01-31/a", "x/y/z"])
def test_other_names_give_no_day_and_are_always_read(name: str) -> None:
    assert folder_day(name) is None
    assert WEEK.may_hold(name)


@pytest.mark.parametrize(
    ("day", "held"),
    [("2026-01-03", False), ("2026-01-04", True), ("2026-01-05", True), ("2026-01-12", True), ("2026-01-13", False)],
)
def test_one_day_around_is_kept_for_other_time_zones(day: str, held: bool) -> None:
    assert WEEK.may_hold(f"date={day}/a.parquet") is held


def test_days_may_be_open_at_either_end() -> None:
    assert Days(last=date(2026, 1, 11)).may_hold("dt=1990-01-01/a")
    assert Days(first=date(2026, 1, 5)).may_hold("dt=2990-01-01/a")
    assert Days().may_hold("dt=2026-01-01/a")


def test_seconds_give_the_days_that_they_touch() -> None:
    start, end = (int(datetime(2026, 1, day, tzinfo=UTC).timestamp()) for day in (5, 12))
    assert Days.of_seconds(start, end) == WEEK
    assert str(Days.of_seconds(None, end)) == "... to 2026-01-11"


def test_for_an_error_the_day_may_stand_in_the_name_of_the_file() -> None:
    assert named_day("x/transactions-2026-01-31.parquet") == date(2026, 1, 31)
    assert named_day("x/part-0.parquet") is None
