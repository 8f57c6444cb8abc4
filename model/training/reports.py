"""Reports that come apart from the history: lines that say which transactions turned out to be fraud, and when.

A line has `transaction_id`, `report_datetime` and, if it may take earlier reports back, `tx_fraud` 0.
"""

from pathlib import Path
from string import Template

import duckdb

from model import statistics
from model.address import Location, is_remote
from model.training.addresses import open_address
from model.training.history import (
    FileAt,
    HistoryError,
    PreparedHistoryError,
    check_files,
    find_files,
    history_sql,
    unreadable_lines,
)
from model.training.reading import HistoryFile
from model.transaction import EARLIEST, LATEST, MISSING_ID, REPORT_COLUMN, epoch_seconds

REQUIRED_OF_REPORTS = ("transaction_id", REPORT_COLUMN)
USABLE_LINES = "(SELECT * FROM report_lines WHERE usable) AS usable"
TABLES = ("report_lines", "verdicts")
_SQL = Path(statistics.__file__).parent / "sql"


def find_reports(address: Location) -> list[tuple[FileAt, str]]:
    """Return the files of reports and their formats; a folder may be empty, but must be there.

    Raises
    ------
    HistoryError
        If there is no such file or folder.
    """
    try:
        return find_files(address)
    except PreparedHistoryError:
        raise HistoryError(
            f"reports {address}: it is a prepared history, which holds no lines of reports; give their file or folder"
        ) from None
    except HistoryError:
        # In a store without folders, one that is there holds at least a note, `_manifest.json` or `.keep`.
        if open_address(address).exists() if is_remote(address) else Path(address).is_dir():
            return []
        raise


def open_reports(address: Location, *, skipped: list[str] | None = None) -> list[HistoryFile]:
    """Return the files of reports with their columns checked; errors as of `model.training.history.open_history`."""
    found = find_reports(address)
    return check_files(found, required=REQUIRED_OF_REPORTS, skipped=skipped) if found else []


def usable_line_sql() -> str:
    """Return the condition for a line that can be used, over the columns of `model.training.reading`."""
    return (
        f"readable AND COALESCE(transaction_id, '') NOT IN ('', '{MISSING_ID}') AND COALESCE(tx_fraud, 1) IN (0, 1)"
        f" AND COALESCE(report_seconds, 0) BETWEEN {epoch_seconds(EARLIEST)} AND {epoch_seconds(LATEST) - 1}"
    )


def report_lines_sql(*, lines: str) -> str:
    """Return the query for the table `report_lines`: what each line says, and whether it can be used."""
    return (
        # Who reports a transaction and says no more means a fraud.
        "SELECT transaction_id, COALESCE(tx_fraud, 1) AS tx_fraud, report_seconds,"
        f" COALESCE({usable_line_sql()}, FALSE) AS usable FROM {lines} AS lines"
    )


def verdicts_sql(*, reports: str) -> str:
    """Return the query for what a table of reports says of each transaction."""
    return Template((_SQL / "verdicts.sql").read_text(encoding="utf-8")).substitute(reports=reports)


def judged_sql() -> str:
    """Return the query for the table `classified` with the table `verdicts` applied to it."""
    return (_SQL / "judged.sql").read_text(encoding="utf-8")


def read_verdicts(connection: duckdb.DuckDBPyConnection, files: list[HistoryFile]) -> tuple[int, int]:
    """Make the table `verdicts` of some files; return how many lines there were, and how many could not be used."""
    connection.execute(f"CREATE OR REPLACE TABLE report_lines AS {report_lines_sql(lines=f'({history_sql(files)})')}")
    connection.execute(f"CREATE OR REPLACE TABLE verdicts AS {verdicts_sql(reports=USABLE_LINES)}")
    counted = connection.execute("SELECT COUNT(*), COUNT(*) FILTER (NOT usable) FROM report_lines").fetchall()
    lost = unreadable_lines(connection)
    return int(counted[0][0]) + lost, int(counted[0][1]) + lost
