"""What tells one cleaned history from another, without keeping it: rows, time range and a digest."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from model.training.sampling import mixed_sql

# Each column has a part in both sums; a null label, scenario or report differs from every real one.
_COLUMNS = (
    "customer_key",
    "terminal_key",
    "tx_seconds",
    "amount_hundredths",
    "COALESCE(tx_fraud, 2)",
    "COALESCE(tx_fraud_scenario, -1)",
    "COALESCE(report_hour, -1)",
)
_FACTORS = (
    (504_322_751, 271_828_183, 314_159_257, 577_215_649, 141_421_357, 173_205_081, 223_606_801),
    (161_803_409, 618_033_989, 236_067_977, 449_489_743, 645_751_309, 316_227_767, 360_555_127),
)


@dataclass(frozen=True, slots=True)
class DataFingerprint:
    """What identifies the cleaned transactions that a model was made from.

    Attributes
    ----------
    first_second, last_second
        Time range of the rows, seconds since 1970; both happened.
    digest
        Hexadecimal text over all rows as cleaned, whatever their order. It hangs on the id key as well: another key
        gives another digest.
    """

    rows: int
    first_second: int
    last_second: int
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def fingerprint(connection: duckdb.DuckDBPyConnection) -> DataFingerprint:
    """Return the fingerprint of the table `transactions`, which must have rows.

    It is made of sums over the rows, so that their order is of no account and work can be split. It finds mistakes and
    mix-ups; it is no defence against someone who can choose the rows.
    """
    sums = ", ".join(f"SUM({mixed_sql(dict(zip(_COLUMNS, factors, strict=True)))})" for factors in _FACTORS)
    row = connection.execute(f"SELECT COUNT(*), MIN(tx_seconds), MAX(tx_seconds), {sums} FROM transactions").fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    rows, first, last, *parts = (int(value) for value in row)
    text = ":".join(str(number) for number in (rows, first, last, *parts))
    return DataFingerprint(rows, first, last, hashlib.blake2b(text.encode(), digest_size=16).hexdigest())
