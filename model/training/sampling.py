"""Which transactions of a large history training looks up: every fraud, and a stated sample of the rest.

The choice hangs on what a row says and on nothing else, so that it is the same on every machine, in every engine and in
any order of the rows. Each chosen row carries the inverse of its chance as its weight, so that weighted sums over the
sample are, on average, those over all rows (Horvitz and Thompson, JASA 1952).
"""

from dataclasses import dataclass

import duckdb

# A prime below 2^31 whose predecessor 3 does not divide: cubing is one-to-one, and no product leaves 64 bits.
PRIME = 2_147_483_579
_DRAWN_BY = {
    "customer_key": 381_265_477,
    "terminal_key": 274_876_951,
    "tx_seconds": 331_804_139,
    "amount_hundredths": 412_316_897,
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many transactions a period has, and which share of the honest ones is looked up.

    Attributes
    ----------
    share
        Above 0 and at most 1; 1 if every transaction is looked up.
    """

    transactions: int
    frauds: int
    share: float

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.share == 1

    @property
    def sentence(self) -> str:
        """What was looked up, in words for a report."""
        if self.is_whole:
            return "all transactions were looked up"
        return (
            f"sampled, weights: all frauds and {self.share:.4%} of the honest transactions were looked up;"
            f" each of these counts {1 / self.share:,.1f} times"
        )


def sampling_of(connection: duckdb.DuckDBPyConnection, *, start: int, end: int, max_rows: int) -> Sampling:
    """Return how the table `transactions` is sampled in `[start, end)`, seconds since 1970, to at most `max_rows`.

    All frauds stay, and at least one honest transaction for each of them: where frauds alone fill more than half of
    `max_rows`, there are more.
    """
    row = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(CASE WHEN tx_fraud = 1 THEN 1 ELSE 0 END), 0) FROM transactions"
        f" WHERE tx_seconds >= {int(start)} AND tx_seconds < {int(end)}"
    ).fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    transactions, frauds = int(row[0]), int(row[1])
    honest = transactions - frauds
    wanted = max(max_rows - frauds, frauds, 1)
    if transactions <= max_rows or honest <= wanted:
        return Sampling(transactions, frauds, 1.0)
    return Sampling(transactions, frauds, max(1, wanted * PRIME // honest) / PRIME)


def chosen_sql(share: float) -> str:
    """Return the condition by which a row of `transactions` is looked up.

    It goes by the label as history has it now, also where the report came too late to be known in a period. Such a
    fraud counts as honest there, and its weight is 1 all the same: it was certain to be chosen.

    Rows that agree in customer, terminal, second and amount are chosen together.
    """
    if share == 1:
        return "TRUE"
    return f"(tx_fraud = 1 OR {mixed_sql(_DRAWN_BY)} < {round(share * PRIME)})"


def mixed_sql(factors: dict[str, int]) -> str:
    """Return an expression that spreads rows evenly over `[0, PRIME)`: the cube of a weighted sum, modulo the prime.

    Parameters
    ----------
    factors
        By whole-number column or expression, without nulls; each above 0 and all together below 2^32.
    """
    terms = " + ".join(f"({column} % {PRIME}) * {factor}" for column, factor in factors.items())
    mixed = f"((({terms}) % {PRIME} + {PRIME}) % {PRIME})"  # engines leave a remainder the sign of what was divided
    return f"({mixed} * {mixed} % {PRIME} * {mixed} % {PRIME})"
