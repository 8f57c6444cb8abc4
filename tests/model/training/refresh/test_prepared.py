"""Statistics from a history that was prepared before: those of the raw one, and of no hour that it cannot know."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from model.statistics import HOUR, hour_text
from model.training.database import connect
from model.training.history import HistoryError
from model.training.prepared import AsOf, prepare_files
from model.training.progress import Stages
from model.training.refresh.advance import STATE, Fresh, Task
from model.training.refresh.contract import RefreshError
from model.training.refresh.prepared import add_up, find_prepared
from model.training.terms import Terms
from tests.model.training.histories import HASHER, START, payment
from tests.model.training.refresh.banks import (
    DAY,
    FIRST,
    LABEL_DELAY,
    SPAN,
    Bank,
    Report,
    random_moment,
    random_row,
    refreshed,
    same,
)

LAST = START // HOUR + 1  # the hour after the payments of the small bank below


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    made = Bank(tmp_path / "bank")
    made.write("1.parquet", [payment(number) for number in range(1, 40)])
    return made


def prepared(bank: Bank, *, as_of: AsOf = None) -> Task:
    """Prepare all that a bank has, and return the task of refreshing from that."""
    task, scratch = bank.task(), bank.folder / "preparing"
    with connect(scratch, memory_limit="1GB", threads=1) as connection:
        prepare_files(
            connection,
            bank.history,
            bank.folder / "prepared",
            Terms(HASHER, LABEL_DELAY, task.reports),
            scratch=scratch / "files",
            as_of=as_of,
        )
    return replace(task, history=bank.folder / "prepared", folder=bank.folder / "other work")


def added_up(task: Task) -> Fresh:
    found = find_prepared(task)
    assert found is not None
    with Stages(9, shown=False) as stages:
        return add_up(task, found, stages=stages)


@pytest.mark.parametrize("seed", range(4))
def test_the_statistics_of_any_hour_are_those_of_the_raw_history(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)  # noqa: S311  no secret hangs on it
    bank = Bank(tmp_path / "bank")
    for number, name in enumerate(("1.parquet", "2.csv", "3.csv.gz")):
        bank.write(name, [random_row(draw, number * 1000 + draw.randrange(300)) for _ in range(400)])
    numbers = [draw.randrange(2300) for _ in range(60)]
    reports = [Report(number, random_moment(draw, number), draw.choice((0, 1, None))) for number in numbers]
    bank.write_reports("r.parquet", reports)
    task = prepared(bank)
    last = added_up(task).as_of_hour
    earlier = [(FIRST + days * DAY) // HOUR + 5 for days in (20, 45, 60)]
    assert max(earlier) < last <= (FIRST + SPAN) // HOUR
    for hour in (*earlier, last):
        # With a state of its own for each: what one hour needs is then nothing that another has let go of.
        raw = refreshed(replace(bank.task(hour), folder=bank.folder / f"work-{hour}")).snapshot
        found = added_up(replace(task, as_of_hour=hour)).snapshot
        assert raw is not None
        assert found is not None
        assert same(found, raw)
        assert found.terminal.sums.any()
    assert not (task.folder / STATE).exists()


def test_what_cleaning_said_is_said_again(bank: Bank) -> None:
    bank.write("2.csv", [payment(41, tx_amount=-1.0), payment(1)])
    bank.write_reports("r.csv", [Report(1, START + DAY, 0), Report("", START + DAY, 1)])
    raw, found = refreshed(bank.task()), added_up(prepared(bank))
    assert found.cleaning == raw.cleaning
    assert found.cleaning.dropped["unusable_amount"] == found.cleaning.dropped["repeated_transaction_id"] == 1
    assert found.reports == raw.reports
    assert (found.reports.read, found.reports.unusable) == (2, 1)
    assert (found.files_read, found.from_prepared) == (3, True)


def test_an_hour_after_what_was_prepared_is_refused(bank: Bank) -> None:
    task = replace(prepared(bank), as_of_hour=LAST + 1)
    with pytest.raises(RefreshError) as refused:
        added_up(task)
    assert str(refused.value).startswith(
        f"history {task.history}: it was prepared up to {hour_text(LAST)}, and statistics as of {hour_text(LAST + 1)}"
        " are asked for: nothing was published; run antifraud prepare again"
    )


def test_a_quiet_hour_that_was_prepared_for_is_known(bank: Bank) -> None:
    task = prepared(bank, as_of=LAST + 2)
    found = added_up(replace(task, as_of_hour=LAST + 2))
    assert found.snapshot is not None
    assert found.snapshot.as_of_hour == LAST + 2
    with pytest.raises(RefreshError, match="prepared up to"):
        added_up(replace(task, as_of_hour=LAST + 3))


def test_nobody_is_set_back_in_time(bank: Bank) -> None:
    with pytest.raises(RefreshError, match="never go back in time"):
        added_up(replace(prepared(bank), current_hour=LAST + 1))


def test_an_hour_that_no_payment_lies_before_has_no_statistics(bank: Bank) -> None:
    with pytest.raises(RefreshError, match="no transaction in the 30 days before"):
        added_up(replace(prepared(bank), as_of_hour=START // HOUR))


def test_other_reports_than_it_was_prepared_with_are_refused(bank: Bank) -> None:
    late = bank.folder / "late.csv"
    with pytest.raises(HistoryError, match=f"with the reports {bank.folder}/reports, and {late} is asked for now; run"):
        added_up(replace(prepared(bank), reports=late))


def test_a_raw_history_is_none(bank: Bank) -> None:
    assert find_prepared(bank.task()) is None
