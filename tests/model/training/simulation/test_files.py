import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.training.simulation import SimulationError, SimulationSettings, simulate
from tests.model.training.simulation.banks import DENSE, TINY, day_bytes, day_files, history, read_rows


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    settings = replace(TINY, dirt=0.1)
    for name in ("one", "other"):
        simulate(settings, tmp_path / name, progress=False)
    assert day_bytes(tmp_path / "one") == day_bytes(tmp_path / "other")
    assert (tmp_path / "one/_simulation.json").read_bytes() == (tmp_path / "other/_simulation.json").read_bytes()


def test_another_seed_gives_another_history(tmp_path: Path) -> None:
    one, other = history(TINY, tmp_path / "one"), history(replace(TINY, seed=8), tmp_path / "other")
    assert len(one["tx_amount"]) != len(other["tx_amount"]) or (one["tx_amount"] != other["tx_amount"]).any()


def test_a_short_history_is_the_prefix_of_a_longer_one(tmp_path: Path) -> None:
    simulate(replace(TINY, days=2), tmp_path / "short", progress=False)
    simulate(replace(TINY, days=4), tmp_path / "long", progress=False)
    short, long = day_bytes(tmp_path / "short"), day_bytes(tmp_path / "long")
    assert list(short) == list(long)[:2]
    assert all(long[name] == content for name, content in short.items())


def test_more_days_extend_a_folder_to_the_same_bytes(tmp_path: Path) -> None:
    simulate(replace(TINY, days=2), tmp_path / "grown", progress=False)
    simulate(TINY, tmp_path / "grown", progress=False)
    simulate(TINY, tmp_path / "whole", progress=False)
    assert day_bytes(tmp_path / "grown") == day_bytes(tmp_path / "whole")


def test_columns_and_types_are_those_of_the_public_file(tmp_path: Path) -> None:
    simulate(TINY, tmp_path, progress=False)
    schema = pq.read_schema(day_files(tmp_path)[0])
    assert {field.name: str(field.type) for field in schema} == {
        "transaction_id": "int64",
        "tx_datetime": "timestamp[us]",
        "customer_id": "int64",
        "terminal_id": "int64",
        "tx_amount": "double",
        "tx_time_seconds": "int64",
        "tx_time_days": "int64",
        "tx_fraud": "int64",
        "tx_fraud_scenario": "int64",
    }


def test_there_is_one_file_a_day_named_by_its_date(tmp_path: Path) -> None:
    simulate(replace(TINY, days=3, start=date(2026, 2, 27)), tmp_path, progress=False)
    assert [path.name for path in day_files(tmp_path)] == [
        "transactions-2026-02-27.parquet",
        "transactions-2026-02-28.parquet",
        "transactions-2026-03-01.parquet",
    ]


def test_ids_are_sequential_and_times_agree_and_grow(tmp_path: Path) -> None:
    rows = history(TINY, tmp_path)
    assert rows["transaction_id"].tolist() == list(range(len(rows["transaction_id"])))
    assert (np.diff(rows["tx_time_seconds"]) >= 0).all()
    assert (rows["tx_time_days"] == rows["tx_time_seconds"] // 86_400).all()
    since_start = rows["tx_datetime"] - np.datetime64(datetime(2026, 1, 1), "us")
    assert (since_start == rows["tx_time_seconds"].astype("timedelta64[s]")).all()


def test_amounts_have_two_decimals_and_are_never_negative(tmp_path: Path) -> None:
    amount = history(DENSE, tmp_path)["tx_amount"]
    assert (amount >= 0).all()
    assert (amount == np.round(amount, 2)).all()


def test_a_bank_where_nobody_can_pay_has_an_empty_history(tmp_path: Path) -> None:
    summary = simulate(replace(TINY, radius=0.0, dirt=0.1), tmp_path, progress=False)
    assert (summary.rows, summary.fraud_share) == (0, 0.0)
    assert len(day_files(tmp_path)) == TINY.days


def test_a_run_that_was_interrupted_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(TINY, dirt=0.2)
    simulate(settings, tmp_path / "whole", progress=False)

    write, calls = pq.write_table, 0

    def write_until_the_third_day(*args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        write(*args, **options)
        if calls == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", write_until_the_third_day)
        with pytest.raises(KeyboardInterrupt):
            simulate(settings, tmp_path / "resumed", progress=False)
    assert [path.name for path in sorted((tmp_path / "resumed").iterdir())] == [
        "transactions-2026-01-01.parquet",
        "transactions-2026-01-02.parquet",
    ]

    finished = {path: path.stat().st_mtime_ns for path in day_files(tmp_path / "resumed")}
    summary = simulate(settings, tmp_path / "resumed", progress=False)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert day_bytes(tmp_path / "resumed") == day_bytes(tmp_path / "whole")
    assert summary.rows == len(read_rows(tmp_path / "whole")["tx_amount"])


def test_a_lost_day_is_written_again_with_the_same_bytes(tmp_path: Path) -> None:
    simulate(TINY, tmp_path, progress=False)
    before = day_bytes(tmp_path)
    day_files(tmp_path)[1].unlink()
    simulate(TINY, tmp_path, progress=False)
    assert day_bytes(tmp_path) == before


def test_what_a_killed_run_left_behind_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".transactions-2026-01-02.parquet.4711.tmp").write_bytes(b"half a day")
    simulate(TINY, tmp_path, progress=False)
    assert not list(tmp_path.glob(".*"))


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Make the system refuse larger files, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_said_and_leaves_no_half_written_file(tmp_path: Path) -> None:
    with (
        largest_file(1_000),
        pytest.raises(SimulationError, match=f"cannot write the simulation into {tmp_path}: File"),
    ):
        simulate(TINY, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(SimulationError, match=r"cannot write the simulation into .*taken: it is a file"):
        simulate(TINY, tmp_path / "taken", progress=False)


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(TINY, seed=9), "seed is 7 there and 9 here"),
        (replace(TINY, dirt=0.5), "dirt is 0.0 there and 0.5 here"),
        (replace(TINY, start=date(2026, 3, 1)), "start is 2026-01-01 there and 2026-03-01 here"),
    ],
)
def test_a_folder_with_days_of_other_settings_is_refused(
    other: SimulationSettings, difference: str, tmp_path: Path
) -> None:
    simulate(TINY, tmp_path, progress=False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SimulationError, match=f"{tmp_path} holds days of other settings: {difference}"):
        simulate(other, tmp_path, progress=False)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_with_more_days_than_asked_is_refused(tmp_path: Path) -> None:
    simulate(TINY, tmp_path, progress=False)
    with pytest.raises(SimulationError, match=r"holds more than days=2, such as transactions-2026-01-03\.parquet"):
        simulate(replace(TINY, days=2), tmp_path, progress=False)


def test_a_folder_with_someone_elses_parquet_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"tx_amount": [1.0]}), tmp_path / "transactions-2026-01-01.parquet")
    with pytest.raises(SimulationError, match=r"holds transactions-2026-01-01\.parquet, which no simulation wrote"):
        simulate(TINY, tmp_path, progress=False)


def test_a_damaged_day_is_named(tmp_path: Path) -> None:
    (tmp_path / "transactions-2026-01-01.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(SimulationError, match=r"transactions-2026-01-01\.parquet is not a readable Parquet file"):
        simulate(TINY, tmp_path, progress=False)


def test_the_summary_file_says_the_settings_and_the_totals(tmp_path: Path) -> None:
    summary = simulate(TINY, tmp_path, progress=False)
    rows = read_rows(tmp_path)
    content = json.loads((tmp_path / "_simulation.json").read_text())
    assert content["settings"]["days"] == 4
    assert content["settings"]["start"] == "2026-01-01"
    assert content["rows"] == summary.rows == len(rows["tx_fraud"])
    assert content["frauds_by_scenario"] == summary.frauds_by_scenario
    assert summary.frauds == rows["tx_fraud"].sum()
    assert summary.fraud_share == pytest.approx(rows["tx_fraud"].mean())


def test_while_days_are_missing_no_summary_calls_the_history_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(replace(TINY, days=2), tmp_path, progress=False)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate(TINY, tmp_path, progress=False)
    assert not (tmp_path / "_simulation.json").exists()
