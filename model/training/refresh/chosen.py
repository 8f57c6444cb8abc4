"""Which rows of the state count, and with which label: by the SQL that training uses, over all rows or some."""

from pathlib import Path
from string import Template

from model import statistics
from model.training.prepare import cleaning_sql
from model.training.refresh.contract import Rules

_SQL = Path(statistics.__file__).parent / "sql"
_OWN = ("transaction_id", "tx_seconds", "customer_key", "terminal_key", "tx_amount")
_NO_CAUSE = "CAST(NULL AS VARCHAR) AS cause"


def rendered(name: str, **values: str) -> str:
    """Return a query of `model/sql` with its gaps filled."""
    return Template((_SQL / f"{name}.sql").read_text(encoding="utf-8")).substitute(values)


def transactions_sql(rules: Rules, *, verdicts: str | None, rows: str = "TRUE") -> str:
    """Return the query for the transactions that count, as a preparation from scratch cleans them.

    Parameters
    ----------
    verdicts
        Name of the table of what reports say, None if there are none. A verdict takes the place of what the rows say.
        As it is the same for all rows with its id, it is of no account for which of them stays: those of one moment,
        customer, terminal and amount are alike then.
    rows
        Condition for the rows of `state.rows` to look at: all rows of an id, or none.
    """
    cleaning = cleaning_sql(label_delay_seconds=rules.label_delay)
    classified = _own_labels(rows) if verdicts is None else _judged(rows, verdicts)
    return (
        f"WITH classified AS NOT MATERIALIZED ({classified}),\n"
        "repeated AS NOT MATERIALIZED (SELECT transaction_id FROM state.repeated),\n"
        f"first_of_repeated AS ({cleaning['first_of_repeated']})\n"
        f"{cleaning['transactions']}"
    )


def _own_labels(rows: str) -> str:
    columns = ", ".join((*_OWN, "tx_fraud", "tx_fraud_scenario", "report_seconds", _NO_CAUSE))
    return f"SELECT {columns} FROM state.rows AS rows WHERE {rows}"


def _judged(rows: str, verdicts: str) -> str:
    own = ", ".join(f"rows.{name}" for name in _OWN)
    return (
        f"SELECT {own}, COALESCE({verdicts}.tx_fraud, rows.tx_fraud) AS tx_fraud, rows.tx_fraud_scenario,"
        f" CASE WHEN {verdicts}.transaction_id IS NULL THEN rows.report_seconds ELSE {verdicts}.report_seconds END"
        f" AS report_seconds, {_NO_CAUSE}"
        f" FROM (SELECT * FROM state.rows WHERE {rows}) AS rows"
        f" LEFT JOIN {verdicts} ON {verdicts}.transaction_id = rows.transaction_id"
    )
