import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from loadtest.payments import (
    Payment,
    PaymentsError,
    day_after,
    read_payments,
    read_payments_apart,
    request_bodies,
)
from service.schemas import Transaction

AS_OF = datetime(2026, 1, 11, tzinfo=UTC)


def bodies(payments: list[Payment], run: str = "test", share: float = 0.05) -> Iterator[dict[str, Any]]:
    rng = random.Random(run)  # noqa: S311
    return map(json.loads, request_bodies(payments, run=run, as_of=AS_OF, rng=rng, unknown_share=share))


@pytest.fixture(scope="module")
def payments(bank: Path) -> list[Payment]:
    return read_payments(bank)


def test_the_newest_payments_are_read_and_dirt_is_not(bank: Path, payments: list[Payment]) -> None:
    (rows, last) = duckdb.sql(
        f"SELECT COUNT(*), MAX(tx_datetime) FROM '{bank}/*.parquet' WHERE tx_datetime IS NOT NULL"
    ).fetchall()[0]
    assert rows * 0.9 < len(payments) <= rows
    assert payments[-1].moment.replace(tzinfo=None) == last.replace(microsecond=0)
    assert [one.moment for one in payments] == sorted(one.moment for one in payments)
    assert read_payments(bank, count=10) == payments[-10:]


def test_another_process_reads_the_same(bank: Path, payments: list[Payment], tmp_path: Path) -> None:
    assert read_payments_apart(bank) == payments
    with pytest.raises(PaymentsError):
        read_payments_apart(tmp_path / "nothing")


def test_the_service_takes_every_body(payments: list[Payment]) -> None:
    for body in itertools.islice(bodies(payments, share=0.5), 2 * len(payments)):
        Transaction.model_validate(body)


def test_transaction_ids_are_unique_within_a_run_and_between_runs(payments: list[Payment]) -> None:
    count = 2 * len(payments)
    ids = [
        body["transaction_id"] for run in ("one", "two") for body in itertools.islice(bodies(payments, run=run), count)
    ]
    assert len(set(ids)) == 2 * count


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_customers_are_unknown_in_the_stated_share_and_else_those_of_the_history(
    payments: list[Payment], share: float
) -> None:
    known = {one.customer for one in payments}
    asked = [body["customer_id"] for body in itertools.islice(bodies(payments, share=share), 5000)]
    unknown = [customer for customer in asked if customer not in known]
    assert len(unknown) / len(asked) == pytest.approx(share, abs=0.02)
    assert len(set(unknown)) == len(unknown)


def test_what_is_asked_is_the_history_on_the_day_after(payments: list[Payment]) -> None:
    asked = list(itertools.islice(bodies(payments, share=0), len(payments)))
    moments = [datetime.fromisoformat(body["tx_datetime"]) for body in asked]
    assert {moment.date() for moment in moments} == {AS_OF.date()}
    assert Counter(
        (body["customer_id"], body["terminal_id"], body["tx_amount"], moment.time())
        for body, moment in zip(asked, moments, strict=True)
    ) == Counter((one.customer, one.terminal, one.amount, one.moment.time()) for one in payments)
    assert day_after(payments) == AS_OF


def test_the_first_seconds_have_the_mix_of_the_whole_day(payments: list[Payment]) -> None:
    hours = {body["tx_datetime"][11:13] for body in itertools.islice(bodies(payments), 100)}
    assert len(hours) > 10


def test_the_same_run_asks_the_same(payments: list[Payment]) -> None:
    one, other = (list(itertools.islice(bodies(payments), 50)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(("run", "share"), [("Not ok", 0.1), ("", 0.1), ("fine", 1.1), ("fine", -0.1)])
def test_a_strange_name_or_share_is_refused(payments: list[Payment], run: str, share: float) -> None:
    with pytest.raises(PaymentsError):
        bodies(payments, run=run, share=share)
