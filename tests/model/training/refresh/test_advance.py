import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from model.statistics import HOUR, SUM_COLUMNS, Snapshot
from model.training.addresses import open_address, snapshot
from model.training.database import connect
from model.training.history import HistoryError
from model.training.prepare import CAUSES, CleaningReport, prepare
from model.training.refresh.advance import STATE, Fresh, Task, note_published
from model.training.refresh.contract import RefreshBusyError, RefreshError, Rules
from model.training.terms import Terms
from model.transaction import IdHasher
from tests.model.training.histories import DAY, HASHER, START, moment, payment, write_csv
from tests.model.training.refresh.banks import FIRST, LABEL_DELAY, RULES, Bank, Report, from_scratch, refreshed, same

HOUR_AFTER = START // HOUR + 3


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """Five payments, one of them a fraud, in two files."""
    bank = Bank(tmp_path)
    bank.write("a.parquet", [payment(number, customer_id=number % 2) for number in range(1, 4)])
    bank.write("b.csv", [payment(4, tx_fraud=1), payment(5, tx_datetime=moment(START + HOUR))])
    return bank


def snapshot_of(fresh: Fresh) -> Snapshot:
    assert fresh.snapshot is not None
    return fresh.snapshot


def reports_at(snapshot: Snapshot, terminal: int = 8, window: str = "30d") -> float:
    """Return how many reports a terminal has over a window."""
    sums = snapshot.terminal.lookup(snapshot.terminal.keys[snapshot.terminal.keys == HASHER.terminal(str(terminal))])
    return float(sums[0, SUM_COLUMNS["terminal"].index(f"reports_{window}")])


def expected_of(bank: Bank, hour: int) -> Snapshot:
    expected = from_scratch(bank, as_of_hour=hour, work=bank.folder / f"expected-{hour}")
    assert expected is not None
    return expected


# --- what a run reads -------------------------------------------------------------------------------------------------


def test_only_new_files_are_read(bank: Bank) -> None:
    first = refreshed(bank.task())
    bank.write("c.parquet", [payment(6, tx_datetime=moment(START + 2 * HOUR))])
    second = refreshed(bank.task())
    assert (first.files_read, first.cleaning.rows_read, first.rebuilt) == (2, 5, "there is none yet")
    assert (second.files_read, second.cleaning.rows_read, second.rebuilt) == (1, 1, "")
    assert (first.as_of_hour, second.as_of_hour) == (START // HOUR + 2, START // HOUR + 3)


def test_what_was_published_is_not_added_up_again(bank: Bank) -> None:
    task = bank.task()
    refreshed(task)
    note_published(task, "the digest")
    assert refreshed(dataclasses.replace(task, current_digest="the digest")).snapshot is None
    assert refreshed(dataclasses.replace(task, current_digest="another")).snapshot is not None
    later = dataclasses.replace(task, current_digest="the digest", as_of_hour=HOUR_AFTER)
    assert refreshed(later).snapshot is not None


def test_a_late_row_counts_in_the_hour_of_its_transaction(bank: Bank) -> None:
    refreshed(bank.task(START // HOUR + 30))
    bank.write("late.parquet", [payment(9, tx_datetime=moment(START))])
    fresh = refreshed(bank.task(START // HOUR + 30))
    customer = snapshot_of(fresh).customer.lookup(snapshot_of(fresh).customer.keys).sum(axis=0)
    assert customer[8] == 6  # transactions of 30 days
    assert customer[0] == 0  # and of the last day
    assert same(snapshot_of(fresh), expected_of(bank, START // HOUR + 30))


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([(1, 5, 1)], 2.0),
        ([(1, 5, None)], 2.0),  # who reports and says no more means a fraud
        ([(1, 5, 1), (1, 6, 1)], 2.0),  # told twice
        ([(1, 5, 1), (1, 6, 0)], 1.0),  # taken back
        ([(1, 5, 1), (1, 5, 0)], 1.0),
        ([(1, 6, 1), (1, 5, 0)], 2.0),  # reported again
        ([(4, 5, 0)], 0.0),  # the label of the history was wrong
        ([(77, 5, 1)], 1.0),  # of no transaction that is known
    ],
)
def test_reports_that_come_later_are_counted_and_taken_back(
    bank: Bank, lines: list[tuple[int, int, int | None]], count: float
) -> None:
    hour = START // HOUR + 40  # the report of payment 4 came after the label delay
    assert reports_at(snapshot_of(refreshed(bank.task(hour)))) == 1.0
    bank.write_reports("r.csv", [Report(number, START + at * HOUR, fraud) for number, at, fraud in lines])
    fresh = refreshed(bank.task(hour))
    assert reports_at(snapshot_of(fresh)) == count
    assert (fresh.reports.read, fresh.reports.unusable) == (len(lines), 0)
    assert same(snapshot_of(fresh), expected_of(bank, hour))


def test_a_report_counts_in_the_hour_in_which_it_arrived(bank: Bank) -> None:
    arrived = START // HOUR + 50
    bank.write_reports("r.parquet", [Report(1, arrived * HOUR + 1, 1)])
    before, after, a_day_later = (
        reports_at(snapshot_of(refreshed(bank.task(arrived + hours))), window="1d") for hours in (0, 1, 25)
    )
    assert (before, after, a_day_later) == (1.0, 2.0, 0.0)


def test_a_report_may_come_before_its_transaction(bank: Bank) -> None:
    hour = START // HOUR + 40
    bank.write_reports("r.csv", [Report(9, START + 3 * HOUR, 1)])
    assert reports_at(snapshot_of(refreshed(bank.task(hour)))) == 1.0
    bank.write("late.parquet", [payment(9)])
    assert reports_at(snapshot_of(refreshed(bank.task(hour)))) == 2.0


def test_lines_of_reports_that_say_nothing_are_counted(bank: Bank) -> None:
    lines = "1,2026-03-02 05:00:00,1\n,2026-03-02 05:00:00,1\n-999999,2026-03-02 05:00:00,1\n2,,1\n2,never,1\n"
    text = f"transaction_id,report_datetime,tx_fraud\n{lines}3,2026-03-02 05:00:00,9\n3,2026-03-02\n"
    write_csv(bank.folder / "reports" / "r.csv", text.encode() + b"3,2026-03-02 05:00:00,\xff\n")
    fresh = refreshed(bank.task(START // HOUR + 40))
    assert (fresh.reports.read, fresh.reports.unusable) == (8, 7)
    assert reports_at(snapshot_of(fresh)) == 2.0


def test_reports_without_a_label_column_are_frauds(bank: Bank) -> None:
    write_csv(bank.folder / "reports" / "r.csv", "report_datetime,transaction_id\n2026-03-02 05:00:00,1\n")
    assert reports_at(snapshot_of(refreshed(bank.task(START // HOUR + 40)))) == 2.0


def test_reports_without_their_time_are_refused(bank: Bank) -> None:
    write_csv(bank.folder / "reports" / "r.csv", "transaction_id\n1\n")
    with pytest.raises(HistoryError, match="report_datetime is missing"):
        refreshed(bank.task())


def test_reports_that_are_not_where_they_should_be_are_an_error(bank: Bank) -> None:
    with pytest.raises(HistoryError, match="no such file"):
        refreshed(dataclasses.replace(bank.task(), reports=bank.folder / "elsewhere"))


# --- cleaning ---------------------------------------------------------------------------------------------------------


def cleaned_from_scratch(bank: Bank) -> CleaningReport:
    with connect(bank.folder / "scratch", memory_limit="1GB", threads=1) as connection:
        return prepare(connection, bank.history, Terms(HASHER, LABEL_DELAY))


def test_causes_and_counts_are_those_of_a_preparation(bank: Bank) -> None:
    dirty = [
        payment(1, tx_amount=3.0),
        payment(6, tx_datetime=None),
        payment(-999_999),
        payment(7, customer_id=None),
        payment(8, tx_amount=-1.0),
        payment(9, tx_fraud=5),
        payment(10, tx_fraud=None),
        payment(11, tx_fraud=0, tx_fraud_scenario=2),
        payment(12, tx_fraud=0, tx_fraud_scenario=2),
        payment(12, tx_fraud=0, tx_fraud_scenario=2),
    ]
    bank.write("dirty.csv", dirty)
    with (bank.history / "dirty.csv").open("ab") as file:
        file.write(b"1,2\n\xff\xfe\n")
    assert refreshed(bank.task()).cleaning == cleaned_from_scratch(bank)


def test_the_counts_of_all_runs_add_up_to_those_of_a_preparation(bank: Bank) -> None:
    found = [refreshed(bank.task()).cleaning]
    bank.write("c.parquet", [payment(1, tx_datetime=moment(START)), payment(6), payment(6), payment(7, tx_amount=-1)])
    found.append(refreshed(bank.task()).cleaning)
    bank.write("d.parquet", [payment(6), payment(8), payment(8)])
    found.append(refreshed(bank.task()).cleaning)
    whole = cleaned_from_scratch(bank)
    assert sum(one.rows_kept for one in found) == whole.rows_kept == 8 - 1
    assert {cause: sum(one.dropped[cause] for one in found) for cause in CAUSES} == whole.dropped


def test_rows_older_than_any_window_are_left_out_and_counted(bank: Bank) -> None:
    bank.write("old.parquet", [payment(20, tx_datetime=moment(START - 60 * DAY)), payment(21)])
    fresh = refreshed(bank.task())
    assert (fresh.too_old, fresh.cleaning.rows_kept) == (1, 6)


def test_a_fraud_older_than_the_longest_delay_counts_while_its_own_report_is_within_a_window(bank: Bank) -> None:
    old = payment(20, tx_datetime=moment(START - 60 * DAY), tx_fraud=1, report_datetime=moment(START))
    bank.write("old.parquet", [old])
    assert reports_at(snapshot_of(refreshed(bank.task(START // HOUR + 1)))) == 1.0
    assert reports_at(snapshot_of(refreshed(bank.task(START // HOUR + 720)))) == 2.0
    assert reports_at(snapshot_of(refreshed(bank.task(START // HOUR + 721)))) == 1.0


# --- the hour ---------------------------------------------------------------------------------------------------------


def test_a_date_far_off_does_not_move_the_hour(bank: Bank) -> None:
    rows = [payment(number, tx_datetime=moment(START + number)) for number in range(100, 1200)]
    bank.write("many.parquet", [*rows, payment(99, tx_datetime=moment(START + 4000 * DAY))])
    assert refreshed(bank.task()).as_of_hour == START // HOUR + 2


def test_statistics_in_use_are_never_set_back_in_time(bank: Bank) -> None:
    in_use = dataclasses.replace(bank.task(), current_hour=HOUR_AFTER)
    for task in (in_use, dataclasses.replace(in_use, as_of_hour=HOUR_AFTER - 1)):
        with pytest.raises(RefreshError, match="never go back in time"):
            refreshed(task)
    assert refreshed(dataclasses.replace(in_use, as_of_hour=HOUR_AFTER)).snapshot is not None


def test_an_earlier_hour_is_added_up_from_the_whole_history(bank: Bank) -> None:
    bank.write("old.parquet", [payment(20, tx_datetime=moment(START - 30 * DAY))])
    refreshed(bank.task(START // HOUR + 700))
    fresh = refreshed(bank.task(START // HOUR + 1))
    assert "earlier than" in fresh.rebuilt
    assert same(snapshot_of(fresh), expected_of(bank, START // HOUR + 1))


def test_an_hour_before_anything_happened_is_refused(bank: Bank) -> None:
    with pytest.raises(RefreshError, match="no transaction in the 30 days before"):
        refreshed(bank.task(START // HOUR - 1))
    with pytest.raises(RefreshError, match="no transaction in the 30 days before"):
        refreshed(bank.task(START // HOUR + 5000))


def test_a_history_without_a_usable_row_is_refused(bank: Bank) -> None:
    bank.write("a.parquet", [payment(1, tx_amount=-1.0)])
    bank.write("b.csv", [payment(2, tx_amount=-1.0)])
    with pytest.raises(RefreshError, match="no usable transaction"):
        refreshed(bank.task())


# --- the state --------------------------------------------------------------------------------------------------------


def other_key(task: Task) -> Task:
    return dataclasses.replace(task, hasher=IdHasher(b"another key of the tests"))


def other_delay(task: Task) -> Task:
    return dataclasses.replace(task, rules=Rules(LABEL_DELAY + 1, RULES.longest_report_delay))


def other_span(task: Task) -> Task:
    return dataclasses.replace(task, rules=Rules(LABEL_DELAY, RULES.longest_report_delay + 1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_key, "another id key"),
        (other_delay, "another label delay or longest report delay"),
        (other_span, "another label delay or longest report delay"),
    ],
)
def test_a_state_of_another_key_or_rule_is_built_anew(bank: Bank, change: Callable[[Task], Task], reason: str) -> None:
    refreshed(bank.task())
    task = change(bank.task())
    said: list[str] = []
    fresh = refreshed(task, said)
    assert reason in fresh.rebuilt
    assert said == [f"building the state from the whole history: {fresh.rebuilt}"]
    assert refreshed(task).rebuilt == ""


def damaged_head(state: Path) -> None:
    state.write_bytes(b"nonsense" * 1000)


def cut_off(state: Path) -> None:
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])


def emptied(state: Path) -> None:
    state.write_bytes(b"")


def overwritten_inside(state: Path) -> None:
    content = bytearray(state.read_bytes())
    content[12288:] = b"\x5a" * (len(content) - 12288)  # all but the headers
    state.write_bytes(content)


def without_tables(state: Path) -> None:
    state.unlink()
    duckdb.connect(str(state)).close()


@pytest.mark.parametrize("damage", [damaged_head, cut_off, emptied, overwritten_inside, without_tables])
def test_a_damaged_state_is_built_anew(bank: Bank, damage: Callable[[Path], None]) -> None:
    task = bank.task(HOUR_AFTER)
    expected = snapshot_of(refreshed(task))
    damage(task.folder / STATE)
    fresh = refreshed(task)
    assert fresh.rebuilt
    assert same(snapshot_of(fresh), expected)
    assert refreshed(task).rebuilt == ""


def test_a_file_that_cannot_be_read_leaves_the_state_as_it_was(bank: Bank) -> None:
    refreshed(bank.task())
    (bank.history / "c.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(HistoryError, match=r"c\.parquet"):
        refreshed(bank.task())
    bank.write("c.parquet", [payment(6)])
    fresh = refreshed(bank.task())
    assert (fresh.rebuilt, fresh.files_read) == ("", 1)
    assert same(snapshot_of(fresh), expected_of(bank, fresh.as_of_hour))


def test_a_few_odd_values_of_a_small_new_file_stop_nothing(bank: Bank) -> None:
    refreshed(bank.task())
    bank.write("c.csv", [payment(6, tx_datetime="soon")])
    fresh = refreshed(bank.task())
    assert fresh.cleaning.dropped["unusable_time"] == 1
    assert same(snapshot_of(fresh), expected_of(bank, fresh.as_of_hour))


def test_a_state_that_another_program_has_open_is_not_thrown_away(bank: Bank, tmp_path: Path) -> None:
    refreshed(bank.task())
    state = tmp_path / "work" / STATE
    holder = f"import duckdb; opened = duckdb.connect({str(state)!r}); print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=-1, stdout=-1, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        with pytest.raises(RefreshBusyError, match="another program"):
            refreshed(bank.task())
        program.communicate("\n")
    assert refreshed(bank.task()).rebuilt == ""


def test_no_raw_id_stands_in_the_state(bank: Bank) -> None:
    row = payment(1, transaction_id="tx-4711-private", customer_id="customer-4711-private", terminal_id="till-4711")
    bank.write("a.parquet", [row])
    bank.write("b.csv", [row | {"transaction_id": "tx-4712-private"}])
    bank.write_reports("r.parquet", [Report("tx-4711-private", START + HOUR, 1)])
    task = bank.task()
    refreshed(task)
    with duckdb.connect(str(task.folder / STATE)) as connection:
        tables = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        content = {name: repr(connection.execute(f"SELECT * FROM {name}").fetchall()) for name in tables}
    assert str(HASHER.customer("customer-4711-private")) in content["rows"]
    assert not any("4711" in text or "4712" in text for text in content.values())
    assert sorted(path.name for path in task.folder.iterdir()) == ["scratch", STATE]


# --- files that cannot be read, and folders of days -------------------------------------------------------------------


def test_a_broken_file_is_skipped_if_asked_and_taken_in_once_it_is_whole(tmp_path: Path) -> None:
    bank, task = Bank(tmp_path), Bank(tmp_path).task()
    for number, name in enumerate(("a.parquet", "b.parquet")):
        bank.write(name, [payment(10 * number + i) for i in range(1, 6)])
    whole = (bank.history / "b.parquet").read_bytes()
    (bank.history / "b.parquet").write_bytes(whole[:-9])
    with pytest.raises(HistoryError, match=r"b\.parquet: not a readable parquet file"):
        refreshed(task)
    task = dataclasses.replace(task, skip_unreadable=True)
    for _ in range(2):  # each run says so again
        fresh = refreshed(task)
        assert fresh.cleaning.files_skipped == (str(bank.history / "b.parquet"),)
    (bank.history / "b.parquet").write_bytes(whole)
    fresh = refreshed(task)
    assert (fresh.files_read, fresh.cleaning.rows_kept, fresh.cleaning.files_skipped) == (1, 5, ())
    assert same(snapshot_of(fresh), expected_of(bank, fresh.as_of_hour))


def test_only_folders_of_days_that_can_matter_are_read_and_later_ones_when_they_come(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    first = FIRST // DAY
    for day in range(60):
        rows = [payment(100 * day + n, tx_datetime=moment(FIRST + day * DAY + 3600 * n)) for n in range(1, 5)]
        bank.write(f"date={moment(FIRST + day * DAY).date()}/part.parquet", rows)
    # 30 days of the longest window, 10 in which reports may come, and one around each end.
    for last, files in ((50, 42), (52, 2)):
        hour = (first + last) * 24
        fresh = refreshed(bank.task(as_of_hour=hour))
        assert fresh.files_read == files
        assert same(snapshot_of(fresh), expected_of(bank, hour))


def test_the_history_may_be_a_snapshot_and_the_next_one_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bank = Bank(Path("bank"))
    for total in (3, 7):
        bank.write("a.parquet", [payment(number) for number in range(1, total)])
        with snapshot(open_address("published")) as draft:
            draft.upload("date=2026-03-02/a.parquet", bank.history / "a.parquet")
        fresh = refreshed(dataclasses.replace(bank.task(), history=Path("published")))
        assert same(snapshot_of(fresh), expected_of(bank, fresh.as_of_hour))
