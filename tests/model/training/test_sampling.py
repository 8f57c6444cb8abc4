import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
import sqlglot

from model.statistics import ENTITIES, SUM_COLUMNS, Integers, point_in_time_sql
from model.training.dataset import FEW, Dataset, read_batches, read_dataset, time_range
from model.training.lookup import point_in_time_of_few_sql
from model.training.sampling import PRIME, Sampling, chosen_sql, mixed_sql, sampling_of
from model.training.simulation import PROFILES, simulate
from tests.model.training.histories import DAY, payment, prepared, write_parquet

ALWAYS = {"start": 0, "end": 2**40}
SHARE = 0.25


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("sampled") / "history"
    simulate(replace(PROFILES["small"], customers=300, terminals=200, days=40, radius=20.0, seed=3), folder)
    with prepared(folder) as (connection, _):
        yield connection


@pytest.fixture(scope="module")
def whole(bank: duckdb.DuckDBPyConnection) -> Dataset:
    return read_dataset(bank, **ALWAYS)


@pytest.fixture(scope="module")
def sample(bank: duckdb.DuckDBPyConnection) -> Dataset:
    assert SHARE < FEW
    return read_dataset(bank, **ALWAYS, share=SHARE)


def rows_of(rows: Dataset) -> list[tuple[bytes, ...]]:
    """Return all that is known of each row, to the last bit, but its weight."""
    columns = (
        rows.transactions.tx_seconds,
        rows.transactions.tx_amount,
        rows.sums,
        rows.label,
        rows.report_hour,
        rows.customer_key,
        rows.terminal_key,
    )
    return [tuple(column[i].tobytes() for column in columns) for i in range(len(rows))]


def test_every_fraud_is_kept_and_counts_once(whole: Dataset, sample: Dataset) -> None:
    assert sample.label.sum() == whole.label.sum() > 300
    assert (sample.weight[sample.label == 1] == 1).all()


def test_an_honest_transaction_counts_for_all_that_were_left_out(whole: Dataset, sample: Dataset) -> None:
    honest = sample.label == 0
    assert np.allclose(sample.weight[honest], 1 / SHARE, rtol=1e-8)
    n = len(whole) - whole.label.sum()
    assert abs(honest.sum() - SHARE * n) < 4 * np.sqrt(n * SHARE * (1 - SHARE))
    assert sample.weight.sum() == pytest.approx(len(whole), rel=0.03)


def test_the_chosen_rows_are_known_as_they_are_in_the_whole(whole: Dataset, sample: Dataset) -> None:
    """Few rows are looked up by a join, many by windows: both give the same sums to the last bit."""
    known = set(rows_of(whole))
    assert len(sample) < len(whole) / 2
    assert all(row in known for row in rows_of(sample))
    assert np.isnan(sample.sums).any()


def test_a_whole_look_up_gives_every_row_the_weight_one(whole: Dataset) -> None:
    assert whole.weight.dtype == np.float64
    assert (whole.weight == 1).all()


@pytest.mark.parametrize("share", [0.1, 0.29, 0.6])
def test_the_sample_is_like_the_whole_in_all_that_is_known(
    bank: duckdb.DuckDBPyConnection, whole: Dataset, share: float
) -> None:
    """Each of these groups has the share of the whole, within what chance does (chi-square, a million to one)."""
    rows = read_dataset(bank, **ALWAYS, share=share)
    groups: dict[str, Callable[[Dataset], Integers]] = {
        "hour": lambda rows: rows.transactions.tx_seconds // 3600 % 24,
        "second": lambda rows: rows.transactions.tx_seconds % 10,
        "weekday": lambda rows: rows.transactions.tx_seconds // DAY % 7,
        "cents": lambda rows: np.round(rows.transactions.tx_amount * 100).astype(np.int64) % 20,
        "amount": lambda rows: np.minimum(rows.transactions.tx_amount // 10, 10).astype(np.int64),
        "customer": lambda rows: rows.customer_key % 50 + 50,
        "terminal": lambda rows: rows.terminal_key % 50 + 50,
    }
    for name, group in groups.items():
        count, all_of_them = (np.bincount(group(part)[part.label == 0], minlength=100) for part in (rows, whole))
        expected = all_of_them * share
        counted = expected > 0
        chi_square = ((count - expected)[counted] ** 2 / (expected[counted] * (1 - share))).sum()
        n = counted.sum()
        assert chi_square < n + 5 * np.sqrt(2 * n) + 15, name


def test_a_smaller_sample_is_part_of_a_larger_one(bank: duckdb.DuckDBPyConnection, sample: Dataset) -> None:
    larger = set(rows_of(read_dataset(bank, **ALWAYS, share=0.5)))
    assert all(row in larger for row in rows_of(sample))


def test_batches_of_a_sample_hold_the_same_rows(bank: duckdb.DuckDBPyConnection, sample: Dataset) -> None:
    tables = bank.execute("SHOW TABLES").fetchall()
    batches = list(read_batches(bank, **ALWAYS, share=SHARE, rows_per_batch=700))
    assert len(batches) > 3
    assert sorted(row for batch in batches for row in rows_of(batch)) == sorted(rows_of(sample))
    assert bank.execute("SHOW TABLES").fetchall() == tables


def test_the_order_of_the_history_does_not_matter(tmp_path: Path) -> None:
    rows = [payment(n, customer_id=n % 7, tx_amount=n * 1.25) for n in range(200)]
    chosen = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        history = write_parquet(tmp_path / name / "h.parquet", order)
        with prepared(history) as (connection, _):
            chosen.append(rows_of(read_dataset(connection, **ALWAYS, share=0.4)))
    assert chosen[0] == chosen[1]
    assert 40 < len(chosen[0]) < 120


def test_a_fraud_that_nobody_knew_of_in_time_has_the_weight_of_a_fraud(tmp_path: Path) -> None:
    """It counts as honest where its report came too late, but it was certain to be chosen."""
    rows = [payment(n, tx_fraud=int(n % 10 == 0), tx_fraud_scenario=int(n % 10 == 0)) for n in range(300)]
    with prepared(write_parquet(tmp_path / "h.parquet", rows), label_delay=400 * DAY) as (connection, _):
        found = read_dataset(connection, **ALWAYS, share=0.1)
    late = found.report_hour > found.transactions.tx_seconds.max() // 3600
    assert late.sum() == len(found) > 30
    assert found.label.sum() == 30
    assert (found.weight[found.label == 1] == 1).all()


# --- how large the share is -------------------------------------------------------------------------------------------


def test_a_history_that_fits_is_not_sampled(bank: duckdb.DuckDBPyConnection, whole: Dataset) -> None:
    for room in (len(whole), 3_000_000):
        sampling = sampling_of(bank, **ALWAYS, max_rows=room)
        assert sampling == Sampling(len(whole), int(whole.label.sum()), 1.0)
        assert sampling.is_whole
        assert "all transactions" in sampling.sentence


def test_frauds_and_sample_fill_the_room_there_is(bank: duckdb.DuckDBPyConnection, whole: Dataset) -> None:
    room = len(whole) * 4 // 5
    sampling = sampling_of(bank, **ALWAYS, max_rows=room)
    assert sampling.frauds + sampling.share * (len(whole) - sampling.frauds) == pytest.approx(room, abs=0.1)
    assert f"{sampling.share:.4%}" in sampling.sentence
    assert sampling.sentence.startswith("sampled, weights: ")
    assert len(read_dataset(bank, **ALWAYS, share=sampling.share)) == pytest.approx(room, rel=0.03)


def test_there_is_at_least_one_honest_transaction_for_each_fraud(bank: duckdb.DuckDBPyConnection) -> None:
    sampling = sampling_of(bank, **ALWAYS, max_rows=1)
    assert sampling.share * (sampling.transactions - sampling.frauds) == pytest.approx(sampling.frauds, abs=0.1)


def test_only_the_period_that_is_read_counts(bank: duckdb.DuckDBPyConnection, whole: Dataset) -> None:
    start, end = time_range(bank)
    part = whole.between(start + 3 * DAY, end - 2 * DAY)
    sampling = sampling_of(bank, start=start + 3 * DAY, end=end - 2 * DAY, max_rows=10**9)
    assert (sampling.transactions, sampling.frauds) == (len(part), part.label.sum())
    nothing = sampling_of(bank, start=0, end=1, max_rows=10)
    assert nothing == Sampling(0, 0, 1.0)


# --- the same in every engine -----------------------------------------------------------------------------------------

QUERIES = {
    "choice": f"SELECT * FROM transactions WHERE {chosen_sql(0.1)}",
    "digest": f"SELECT SUM({mixed_sql({'customer_key': 5, 'COALESCE(tx_fraud, 2)': 7})}) FROM transactions",
    "few": point_in_time_of_few_sql("terminal", tiles="customer_tiles AS tiles", points="asked AS points"),
}


@pytest.mark.parametrize("name", QUERIES)
def test_another_engine_reads_the_same(name: str) -> None:
    query = re.sub("--.*", "", QUERIES[name])
    as_spark, as_duckdb = (sqlglot.parse_one(query, read=engine) for engine in ("spark", "duckdb"))
    # Spark's CAST gives null where DuckDB's fails; numbers cast to DOUBLE never fail.
    texts = {parsed.sql("duckdb").replace("TRY_CAST", "CAST") for parsed in (as_spark, as_duckdb)}
    assert len(texts) == 1
    assert not re.search(r"::|//|random|hash|abs|mod\(", query.lower())


def test_no_step_of_the_draw_leaves_64_bits() -> None:
    """Python's whole numbers have no end: the greatest that can arise on the way is looked at."""
    factors = [int(number) for number in re.findall(r"\* (\d+)", chosen_sql(0.5).split("+ 2147483579")[0])]
    assert len(factors) == 4
    assert sum(factors) * (PRIME - 1) + PRIME < 2**63
    assert (PRIME - 1) ** 2 < 2**63
    assert all(PRIME % divisor for divisor in range(2, 46_342))
    assert (PRIME - 1) % 3 != 0  # so that no two numbers have the same cube


@pytest.mark.parametrize("entity", ENTITIES)
def test_both_ways_to_look_up_name_the_same_columns(entity: str) -> None:
    names = ["key", "hour", *SUM_COLUMNS[entity]]
    for query in (
        point_in_time_of_few_sql(entity, tiles="t AS tiles", points="p AS points"),
        point_in_time_sql(entity, tiles="t", points="p"),
    ):
        select = sqlglot.parse_one(query, read="duckdb")
        assert [column.alias_or_name for column in select.expressions] == names
