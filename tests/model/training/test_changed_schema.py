from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from model.training.history import HistoryError, open_history
from tests.model.training.histories import Row, payment, prepared, write_parquet


def month(folder: Path, changed: Any, *, since: int = 14, types: dict[str, pa.DataType] | None = None) -> None:
    """Write a folder a day, whose rows are other ones from one day on."""
    for day in range(1, 29):
        rows: list[Row] = [payment(100 * day + number) for number in range(3)]
        path = folder / f"date={date(2026, 2, 1) + timedelta(days=day - 1)}" / "part-0.parquet"
        write_parquet(path, [changed(row) for row in rows] if day >= since else rows, types if day >= since else None)


def refusal(folder: Path) -> str:
    with pytest.raises(HistoryError) as caught:
        open_history(folder)
    return str(caught.value)


def test_a_renamed_column_is_said_with_its_first_file_its_days_and_its_new_name(tmp_path: Path) -> None:
    month(tmp_path, lambda row: {("amount_eur" if name == "tx_amount" else name): row[name] for name in row})
    assert refusal(tmp_path) == (
        f"history {tmp_path}/date=2026-02-14/part-0.parquet: column tx_amount is missing; expected a number."
        " So it is in 15 of 28 files, 2026-02-14 to 2026-02-28; the others, 2026-02-01 to 2026-02-13, have it as"
        " expected (only this one has amount_eur: was the column renamed?). Bring the files to one"
        " definition of tx_amount"
    )


def test_a_column_of_another_type_from_one_day_on_is_said(tmp_path: Path) -> None:
    month(tmp_path, lambda row: row | {"tx_amount": [1.0]})
    said = refusal(tmp_path)
    assert "date=2026-02-14/part-0.parquet: column tx_amount holds list" in said
    assert "2026-02-14 to 2026-02-28" in said
    assert "renamed" not in said


def test_without_days_in_the_names_the_files_are_named(tmp_path: Path) -> None:
    for name in "abc":
        write_parquet(tmp_path / f"{name}.parquet", [payment(1)])
    row = payment(1)
    del row["tx_fraud"]
    write_parquet(tmp_path / "b.parquet", [row])
    assert "in 1 of 3 files, b.parquet; the others, a.parquet to c.parquet," in refusal(tmp_path)


def test_where_no_file_has_the_column_nothing_is_said_of_a_change(tmp_path: Path) -> None:
    row = payment(1)
    del row["tx_fraud"]
    for name in "ab":
        write_parquet(tmp_path / f"{name}.parquet", [row])
    assert refusal(tmp_path).endswith("a.parquet: column tx_fraud is missing; expected 0 or 1")


@pytest.mark.parametrize(
    "changed",
    [
        lambda row: row | {"customer_id": str(row["customer_id"])},
        lambda row: row | {"tx_amount": 12},
        lambda row: row | {"tx_datetime": row["tx_datetime"].isoformat()},
        lambda row: row | {"tx_fraud": bool(row["tx_fraud"]), "new_column": 1},
        lambda row: {name: row[name] for name in reversed(row) if name != "tx_fraud_scenario"},
    ],
)
def test_what_both_definitions_can_say_is_read_as_one_history(tmp_path: Path, changed: Any) -> None:
    month(tmp_path / "history", changed)
    with prepared(tmp_path / "history") as (connection, report):
        assert report.rows_kept == 28 * 3
        assert connection.execute("SELECT COUNT(DISTINCT customer_key) FROM transactions").fetchall() == [(1,)]
