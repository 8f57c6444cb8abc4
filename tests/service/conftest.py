"""Payments of the small bank, as a gateway would send them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.service.wire import payment

WANTED = 400


@pytest.fixture(scope="session")
def payments(history: Path) -> list[dict[str, Any]]:
    """Some hundred clean payments spread over the last days of the history."""
    rows = [row for path in sorted(history.glob("*.parquet"))[-10:] for row in pq.read_table(path).to_pylist()]
    clean = [
        row for row in rows if row["tx_datetime"] is not None and row["customer_id"] > 0 and row["terminal_id"] > 0
    ]
    return [_payment(row) for row in clean[:: len(clean) // WANTED]]


def _payment(row: dict[str, Any]) -> dict[str, Any]:
    moment: datetime = row["tx_datetime"]
    names = ("transaction_id", "customer_id", "terminal_id", "tx_amount")
    return payment(tx_datetime=moment.isoformat(timespec="seconds") + "Z", **{name: row[name] for name in names})
