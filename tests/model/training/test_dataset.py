import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from model.features import build_features
from model.statistics import ENTITIES, ROW_COLUMNS, SUM_COLUMNS, SUMS
from model.training import dataset
from model.training.dataset import Dataset, end_hour, read_batches, read_dataset, read_snapshot, time_range
from model.training.prepare import CleaningError
from model.training.simulation import PROFILES, simulate
from model.transaction import REPORT_COLUMN
from tests.model.training.histories import DAY, HASHER, START, Row, moment, payment, prepared, write_csv, write_parquet

HOUR = 3600
MISSING = -999_999
ALWAYS = {"start": 0, "end": 2**40}


# --- plain Python -----------------------------------------------------------------------------------------------------


class Clean(NamedTuple):
    """A usable row; their order tells which of several with one id stays, as the cleaning promises."""

    seconds: int
    keys: tuple[int, int]
    amount: float
    fraud: float  # infinite where it is missing, which comes last
    report: float
    ids: tuple[int, int]

    @property
    def hundredths(self) -> int:
        return math.floor(self.amount * 100 + 0.5)

    def reported(self, delay: int) -> int:
        return max(self.seconds, self.seconds + delay if self.report == math.inf else int(self.report))


def is_usable(row: Row) -> bool:
    amount = row["tx_amount"]
    return (
        row["tx_datetime"] is not None
        and not {None, MISSING} & {row[name] for name in ("transaction_id", "customer_id", "terminal_id")}
        and amount is not None
        and 0 <= amount < math.inf
        and row["tx_fraud"] in (0, 1, None)
    )


def cleaned_by_hand(rows: Sequence[Row]) -> list[Clean]:
    """Return the usable rows, each id once, in order of time."""
    first: dict[int, Clean] = {}
    for row in filter(is_usable, rows):
        customer, terminal = row["customer_id"], row["terminal_id"]
        keys = (HASHER.customer(str(customer)), HASHER.terminal(str(terminal)))
        late = [math.inf if row[name] is None else row[name] for name in ("tx_fraud", REPORT_COLUMN)]
        clean = Clean(row["tx_datetime"], keys, row["tx_amount"], late[0], late[1], (customer, terminal))
        first[row["transaction_id"]] = min(clean, first.get(row["transaction_id"], clean))
    return sorted(first.values())


def sums_by_hand(rows: Sequence[Clean], entity: int, who: int, *, as_of: int, delay: int) -> list[float]:
    """Return what is known of one customer (entity 0) or terminal (1) at an hour, in the order of `SUM_COLUMNS`."""
    own = [row for row in rows if row.ids[entity] == who]
    kept = SUMS[ENTITIES[entity]]

    def over(quantity: str, hours: int) -> float:
        amounts = [row.hundredths for row in own if as_of - hours <= row.seconds // HOUR < as_of]
        reports = [row for row in own if row.fraud == 1 and as_of - hours <= row.reported(delay) // HOUR < as_of]
        squares = float(sum(a * a for a in amounts))
        found = {"transactions": len(amounts), "amount": sum(amounts), "amount_squared": squares}
        return (found | {"reports": len(reports)})[quantity]

    if not over("transactions", 720) and not over("reports", 720):
        return [math.nan] * len(kept)
    return [over(one.quantity, one.hours) for one in kept]


# --- dirty histories --------------------------------------------------------------------------------------------------

around_a_bound = st.builds(
    lambda hours, seconds: START + 40 * DAY - hours * HOUR + seconds,
    st.sampled_from([0, 1, 23, 24, 25, 47, 48, 72, 96, 97, 120, 167, 168, 169, 719, 720, 721]),
    st.sampled_from([-1, 0, 1, 1800]),
)
moments = st.one_of(around_a_bound, st.integers(START, START + 45 * DAY))
ids = st.sampled_from([1, 2, 3, 1, 2, None, MISSING])
raw_rows = st.fixed_dictionaries(
    {
        "transaction_id": st.one_of(st.integers(1, 60), st.sampled_from([None, MISSING])),
        "tx_datetime": st.one_of(moments, st.none()),
        "customer_id": ids,
        "terminal_id": ids,
        "tx_amount": st.one_of(
            st.integers(0, 10**6).map(lambda n: n / 100), st.sampled_from([None, -1.0, math.nan, math.inf])
        ),
        "tx_fraud": st.sampled_from([0, 0, 1, 1, None, 5]),
        "tx_fraud_scenario": st.sampled_from([0, 1, 2, None]),
        REPORT_COLUMN: st.one_of(st.none(), moments),
    }
)
histories = st.lists(raw_rows, min_size=1, max_size=40)


@contextmanager
def prepared_in_files(rows: Sequence[Row], *, delay: int) -> Iterator[duckdb.DuckDBPyConnection]:
    """Clean rows that lie in two files of different kinds."""
    written = [
        row | {name: None if row[name] is None else moment(row[name]) for name in ("tx_datetime", REPORT_COLUMN)}
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history"
        middle = len(rows) // 2
        write_parquet(history / "b.parquet", written[middle:])
        if middle:
            write_csv(history / "a.csv", written[:middle])
        with prepared(history, label_delay=delay) as (connection, _):
            yield connection


@settings(deadline=None, max_examples=15)
@given(histories, st.sampled_from([0, 2 * HOUR, DAY]))
def test_dirty_history_has_the_sums_that_plain_python_adds_up(rows: list[Row], delay: int) -> None:
    """Point in time for every row = the snapshot of its hour = plain Python, for refreshes each hour and each day."""
    usable = cleaned_by_hand(rows)
    assume(usable)
    with prepared_in_files(rows, delay=delay) as connection:
        for age in (1, 24):
            expected = []
            for row in usable:
                as_of = row.seconds // HOUR // age * age
                known = [n for e in (0, 1) for n in sums_by_hand(usable, e, row.ids[e], as_of=as_of, delay=delay)]
                customer, terminal = (np.array([key]) for key in row.keys)
                assert told(read_snapshot(connection, as_of_hour=as_of).lookup(customer, terminal)[0]) == repr(known)
                label = int(row.fraud == 1)
                expected.append((row.seconds, row.amount, label, row.reported(delay) // HOUR, repr(known)))
            found = read_dataset(connection, **ALWAYS, statistics_age_hours=age)
            assert sorted(all_of(found)) == sorted(expected)
            assert found.transactions.tx_seconds.tolist() == [row.seconds for row in usable]


def test_a_history_with_nothing_but_dirt_is_refused() -> None:
    row = payment(1) | {"tx_datetime": START, "customer_id": MISSING, REPORT_COLUMN: None}
    with pytest.raises(CleaningError), prepared_in_files([row], delay=0):
        pass


def told(sums: npt.NDArray[np.float64]) -> str:
    """Return the sums of a row (32,) as the text of whole numbers, or of NaN."""
    named = zip(ROW_COLUMNS, sums.tolist(), strict=True)
    return repr([x if math.isnan(x) or "squared" in name else int(x) for name, x in named])


def all_of(rows: Dataset) -> list[tuple[object, ...]]:
    """Return what a data set says of each row."""
    columns = (rows.transactions.tx_seconds, rows.transactions.tx_amount, rows.label, rows.report_hour)
    return list(zip(*(column.tolist() for column in columns), map(told, rows.sums), strict=True))


# --- a small bank -----------------------------------------------------------------------------------------------------

BANK = replace(PROFILES["small"], customers=80, terminals=40, days=40, radius=30.0, seed=5)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("bank") / "history"
    simulate(BANK, folder, progress=False)
    with prepared(folder) as (connection, _):
        yield connection


def equal(one: Dataset, other: Dataset) -> bool:
    """Return whether two data sets are the same to the last bit."""
    arrays = [
        (
            rows.transactions.tx_seconds,
            rows.transactions.tx_amount,
            rows.sums,
            rows.label,
            rows.scenario,
            rows.report_hour,
            rows.customer_key,
            rows.terminal_key,
            rows.weight,
        )
        for rows in (one, other)
    ]
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(*arrays, strict=True))


def test_all_rows_come_in_order_of_time_with_their_types(bank: duckdb.DuckDBPyConnection) -> None:
    start, end = time_range(bank)
    rows = read_dataset(bank, start=start, end=end)
    assert len(rows) == len(rows.features) == bank.execute("SELECT COUNT(*) FROM transactions").fetchall()[0][0] > 5000
    assert rows.transactions.tx_seconds.min() == start
    assert rows.transactions.tx_seconds.max() == end - 1
    assert (np.diff(rows.transactions.tx_seconds) >= 0).all()
    assert rows.sums.shape == (len(rows), len(ROW_COLUMNS))
    assert {rows.label.dtype, rows.scenario.dtype, rows.report_hour.dtype} == {np.dtype(np.int64)}
    assert set(rows.label.tolist()) == {0, 1}
    assert ((rows.scenario > 0) == (rows.label == 1)).all()


@pytest.mark.parametrize("age", [1, 24])
@pytest.mark.parametrize("rows_per_batch", [300, 3000])
def test_batches_hold_the_same_rows_as_the_whole(
    age: int, rows_per_batch: int, bank: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, end = time_range(bank)
    whole = read_dataset(bank, start=start, end=end, statistics_age_hours=age)
    batches = list(read_batches(bank, start=start, end=end, statistics_age_hours=age, rows_per_batch=rows_per_batch))
    assert len(batches) == -(-len(whole) // rows_per_batch) > 1
    assert sorted(row for batch in batches for row in all_of(batch)) == sorted(all_of(whole))
    assert max(map(len, batches)) < len(whole) / 1.5

    monkeypatch.setattr(dataset, "ROWS_PER_BATCH", rows_per_batch)
    joined = read_dataset(bank, start=start, end=end, statistics_age_hours=age)
    assert sorted(all_of(joined)) == sorted(all_of(whole))
    assert joined.transactions.tx_seconds.tobytes() == whole.transactions.tx_seconds.tobytes()


def test_a_range_of_time_has_the_rows_that_the_whole_has_there(bank: duckdb.DuckDBPyConnection) -> None:
    first, last = time_range(bank)
    whole = read_dataset(bank, start=first, end=last)
    for start, end in [(first + 33 * DAY, last), (first, first + 1), (first + 35 * DAY + 1234, first + 36 * DAY)]:
        assert equal(read_dataset(bank, start=start, end=end), whole.between(start, end))


def test_a_range_without_rows_is_empty(bank: duckdb.DuckDBPyConnection) -> None:
    rows = read_dataset(bank, start=0, end=1)
    assert len(rows) == 0
    assert rows.features.shape == (0, 61)


def test_reading_twice_gives_the_same_bits_and_leaves_no_table(bank: duckdb.DuckDBPyConnection) -> None:
    start, end = time_range(bank)
    before = bank.execute("SHOW TABLES").fetchall()
    assert equal(read_dataset(bank, start=start, end=end), read_dataset(bank, start=start, end=end))
    parts = read_batches(bank, start=start, end=end, rows_per_batch=500)
    next(parts)
    parts.close()
    assert bank.execute("SHOW TABLES").fetchall() == before


def test_a_row_sees_the_statistics_of_the_last_refresh_and_never_fresher_ones(
    bank: duckdb.DuckDBPyConnection,
) -> None:
    _, end = time_range(bank)
    keys = bank.execute(
        "SELECT tx_seconds, customer_key, terminal_key FROM transactions WHERE tx_seconds >= ? ORDER BY tx_seconds",
        [end - 2 * DAY],
    ).fetchnumpy()
    for age in (1, 24):
        rows = read_dataset(bank, start=end - 2 * DAY, end=end, statistics_age_hours=age)
        as_of = keys["tx_seconds"] // HOUR // age * age
        for hour in np.unique(as_of):
            here = as_of == hour
            snapshot = read_snapshot(bank, as_of_hour=int(hour))
            expected = snapshot.lookup(keys["customer_key"][here], keys["terminal_key"][here])
            order = np.lexsort(expected.reshape(here.sum(), -1).T[::-1])
            found = rows.sums[here]
            assert found[np.lexsort(found.reshape(here.sum(), -1).T[::-1])].tobytes() == expected[order].tobytes()


def test_features_are_those_of_the_one_definition(bank: duckdb.DuckDBPyConnection) -> None:
    _, end = time_range(bank)
    rows = read_dataset(bank, start=end - DAY, end=end)
    assert rows.features.tobytes() == build_features(rows.transactions, rows.sums).tobytes()


def test_later_days_change_no_earlier_row(tmp_path: Path) -> None:
    found = []
    for days in (20, 25):
        simulate(replace(BANK, days=days), tmp_path / f"{days}", progress=False)
        with prepared(tmp_path / f"{days}") as (connection, _):
            start, _ = time_range(connection)
            found.append(read_dataset(connection, start=start, end=start + 20 * DAY))
    short = found[0].transactions.tx_seconds[-1] + 1
    assert equal(found[0], found[1].between(0, int(short)))


def test_a_snapshot_has_every_key_sorted_once(bank: duckdb.DuckDBPyConnection) -> None:
    _, end = time_range(bank)
    snapshot = read_snapshot(bank, as_of_hour=end_hour(end))
    expected = {HASHER.terminal(str(i)) for i in range(BANK.terminals)}
    assert set(snapshot.terminal.keys.tolist()) <= expected
    assert len(snapshot.terminal.keys) > 30
    assert (np.diff(snapshot.customer.keys.astype(float)) > 0).all()
    assert (
        snapshot.terminal.sums[:, SUM_COLUMNS["terminal"].index("transactions_30d")].sum()
        == bank.execute("SELECT COUNT(*) FROM transactions WHERE tx_hour >= ? - 720", [end_hour(end)]).fetchall()[0][0]
    )


def test_before_its_first_hour_a_history_has_an_empty_snapshot(bank: duckdb.DuckDBPyConnection) -> None:
    start, _ = time_range(bank)
    snapshot = read_snapshot(bank, as_of_hour=start // HOUR)
    assert len(snapshot.customer.keys) == len(snapshot.terminal.keys) == 0


def test_missing_labels_and_scenarios_count_as_honest(tmp_path: Path) -> None:
    history = write_parquet(tmp_path / "h.parquet", [payment(1, tx_fraud=None, tx_fraud_scenario=None), payment(2)])
    with prepared(history) as (connection, _):
        rows = read_dataset(connection, **ALWAYS)
    assert rows.label.tolist() == [0, 0]
    assert rows.scenario.tolist() == [0, 0]


def test_choosing_rows_keeps_their_columns_together(bank: duckdb.DuckDBPyConnection) -> None:
    start, end = time_range(bank)
    rows = read_dataset(bank, start=start, end=end)
    frauds = rows.where(rows.label == 1)
    assert frauds.label.all()
    assert len(frauds) == rows.label.sum()
    assert frauds.sums.tobytes() == rows.sums[rows.label == 1].tobytes()
    backwards = rows.where(np.arange(len(rows))[::-1])
    assert backwards.scenario.tolist() == rows.scenario[::-1].tolist()


@pytest.mark.parametrize(("seconds", "hour"), [(0, 0), (1, 1), (3600, 1), (3601, 2)])
def test_the_end_hour_is_the_first_whole_hour_after_all(seconds: int, hour: int) -> None:
    assert end_hour(seconds) == hour
