"""Payments to ask with: those of a history, of known customers and a stated share of new ones, each with its own id."""

import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from model.transaction import MAX_AMOUNT

UNKNOWN_SHARE = 0.05  # of the payments: customers without any history
POOL = 20_000  # payments kept in memory: some days of a small bank, some seconds of a large one
DAY = timedelta(days=1)
_RUN = re.compile(r"[0-9a-z]{1,16}")


class PaymentsError(ValueError):
    """There are no payments to ask with."""


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment as it stood in the history."""

    moment: datetime
    customer: str
    terminal: str
    amount: float


def read_payments(history: Path, *, count: int = POOL) -> list[Payment]:
    """Return the newest payments of a history, oldest first; rows that the service would refuse are left out.

    Parameters
    ----------
    history
        CSV or Parquet, a file or a folder.

    Raises
    ------
    HistoryError
        If there is no such history or a column is missing.
    PaymentsError
        If it has no usable payment.
    """
    import duckdb

    from model.training.history import history_sql, open_history

    rows = history_sql(open_history(history))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            f"""
            SELECT tx_seconds, customer_id, terminal_id, tx_amount FROM ({rows})
            WHERE tx_seconds IS NOT NULL AND customer_id <> '' AND terminal_id <> ''
                AND tx_amount BETWEEN 0 AND {MAX_AMOUNT}
            ORDER BY tx_seconds DESC, transaction_id LIMIT {count}
            """
        ).fetchall()
    if not found:
        raise PaymentsError(f"history {history}: it has no usable payment")
    found.reverse()
    return [Payment(datetime.fromtimestamp(seconds, UTC), *rest) for seconds, *rest in found]


def read_payments_apart(history: Path) -> list[Payment]:
    """Return the same in a process that stays without the database's threads and memory.

    Raises
    ------
    PaymentsError
        If the payments cannot be read; what is wrong has been printed by then.
    """
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.payments", str(history)], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise PaymentsError(f"history {history}: it cannot be used")
    return [Payment(datetime.fromtimestamp(seconds, UTC), *rest) for seconds, *rest in json.loads(done.stdout)]


def day_after(payments: Sequence[Payment]) -> datetime:
    """Return the start of the first day after the payments: when they are asked about, all of them are past."""
    last = max(payment.moment for payment in payments)
    return last.replace(hour=0, minute=0, second=0, microsecond=0) + DAY


def request_bodies(
    payments: Sequence[Payment],
    *,
    run: str,
    as_of: datetime,
    rng: random.Random,
    unknown_share: float = UNKNOWN_SHARE,
) -> Iterator[bytes]:
    """Return an endless iterator of bodies for `POST /predict`.

    The order is shuffled once, so that each second has the mix of all hours; a payment keeps its time of day and moves
    to the day that begins with `as_of`. Which customer meets which terminal, and for how much, stays as it was.

    Parameters
    ----------
    run
        Begins each transaction id, so that no two runs share one: 1 to 16 letters a-z or digits.
    as_of
        Moment of the statistics that the service has loaded.
    unknown_share
        Share of the payments, 0 to 1, whose customer is replaced by one that nobody has seen before.

    Raises
    ------
    PaymentsError
        If the name of the run or the share is none.
    """
    if not _RUN.fullmatch(run) or not 0 <= unknown_share <= 1:
        raise PaymentsError("a run is named by 1 to 16 of a-z and 0-9, and a share lies between 0 and 1")
    # All that takes time is done before the first is asked for: a load must not wait for its own payments.
    pool = [_parts(payment, as_of) for payment in payments]
    rng.shuffle(pool)
    return _numbered(pool, run.encode(), rng, unknown_share)


def _numbered(
    pool: Sequence[tuple[bytes, bytes]], run: bytes, rng: random.Random, unknown_share: float
) -> Iterator[bytes]:
    for number, (known, rest) in enumerate(itertools.cycle(pool), start=1):
        customer = b'"new-%b-%d"' % (run, number) if rng.random() < unknown_share else known
        yield b'{"transaction_id":"%b-%d","customer_id":%b,%b' % (run, number, customer, rest)


def _parts(payment: Payment, as_of: datetime) -> tuple[bytes, bytes]:
    moment = as_of + (payment.moment - as_of) % DAY
    rest = json.dumps(
        {
            "terminal_id": payment.terminal,
            "tx_datetime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tx_amount": payment.amount,
        }
    )
    return json.dumps(payment.customer).encode(), rest[1:].encode()


def main(arguments: Sequence[str]) -> int:
    """Print the payments of the history that is named, for `read_payments_apart`."""
    (history,) = arguments
    try:
        payments = read_payments(Path(history))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps([(one.moment.timestamp(), one.customer, one.terminal, one.amount) for one in payments]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
