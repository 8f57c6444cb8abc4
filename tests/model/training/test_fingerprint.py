from pathlib import Path
from typing import Any

import pytest

from model.training.fingerprint import DataFingerprint, fingerprint
from tests.model.training.histories import DAY, START, Row, payment, prepared, write_parquet

ROWS = [payment(n, customer_id=n % 5, terminal_id=n % 3, tx_amount=n + 0.25) for n in range(1, 30)]
ROWS[4] |= {"tx_fraud": 1, "tx_fraud_scenario": 2}


def of(rows: list[Row], folder: Path, *, label_delay: int = DAY) -> DataFingerprint:
    history = write_parquet(folder / f"{len(list(folder.iterdir()))}" / "h.parquet", rows)
    with prepared(history, label_delay=label_delay) as (connection, _):
        return fingerprint(connection)


def test_it_says_how_many_rows_there_are_and_when_they_happened(tmp_path: Path) -> None:
    found = of(ROWS, tmp_path)
    assert (found.rows, found.first_second, found.last_second) == (29, START + 60, START + 29 * 60)
    assert found.as_dict()["digest"] == found.digest
    assert len(found.digest) == 32


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    assert of(ROWS, tmp_path) == of(ROWS[::-1], tmp_path) == of(ROWS[7:] + ROWS[:7], tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"tx_amount": 3.26},
        {"customer_id": 4},
        {"terminal_id": 2},
        {"tx_fraud": 1},
        {"tx_fraud": None},
        {"tx_fraud_scenario": 1},
        {"tx_fraud_scenario": None},
    ],
)
def test_any_other_value_is_another_digest(change: dict[str, Any], tmp_path: Path) -> None:
    changed = [ROWS[0], ROWS[1], ROWS[2] | change, *ROWS[3:]]
    assert of(changed, tmp_path).digest != of(ROWS, tmp_path).digest


def test_values_that_two_rows_exchange_are_another_digest(tmp_path: Path) -> None:
    one, other = ROWS[0], ROWS[1]
    exchanged = [one | {"tx_amount": other["tx_amount"]}, other | {"tx_amount": one["tx_amount"]}, *ROWS[2:]]
    assert of(exchanged, tmp_path).digest != of(ROWS, tmp_path).digest


def test_a_row_more_and_a_later_report_are_other_digests(tmp_path: Path) -> None:
    digests = {of(ROWS, tmp_path).digest, of(ROWS[:-1], tmp_path).digest, of(ROWS, tmp_path, label_delay=0).digest}
    assert len(digests) == 3
