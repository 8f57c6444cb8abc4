"""Files that break off further on than their columns: which of many it is, once a query over all of them has failed."""

from collections.abc import Iterator, Sequence

import duckdb

from model.training.addresses import raise_failed_read, readable
from model.training.history_errors import UnreadableFileError
from model.training.reading import UNREADABLE_LINES, HistoryFile, history_sql


def guarded(file: HistoryFile, connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyConnection:
    """Run a query over one file, and raise `UnreadableFileError`, or the error of its store, where that fails."""
    try:
        return connection.execute(query)
    except duckdb.Error as error:
        raise_failed_read(connection)
        # Only the first line: those after it may quote a row, and a row holds ids.
        reason = str(error).splitlines()[0][:200]
        raise UnreadableFileError(
            file.path, f"history {file.path}: not a readable {file.format} file ({reason})"
        ) from None


def find_unreadable(connection: duckdb.DuckDBPyConnection, files: Sequence[HistoryFile]) -> None:
    """Read every file alone to its end, and raise `UnreadableFileError` for the first where that fails.

    After a failed query: where it was a store that failed, its `AddressError` is raised.
    """
    for error in unreadable_files(connection, files):
        raise error


def unreadable_files(
    connection: duckdb.DuckDBPyConnection, files: Sequence[HistoryFile]
) -> Iterator[UnreadableFileError]:
    """Read every file alone to its end, and yield the error of each where that fails; raises as `find_unreadable`."""
    raise_failed_read(connection)
    with readable(connection, [file.path for file in files]):
        for file in files:
            query = f"SELECT MAX(COLUMNS(*)) FROM ({history_sql([file])}) AS rows"
            try:
                guarded(file, connection, query).fetchone()
            except UnreadableFileError as error:
                yield error


def unreadable_lines(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how many lines of CSV were not even text; without CSV there is no table of them."""
    tables = {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if UNREADABLE_LINES not in tables:
        return 0
    query = f"SELECT COUNT(*) FROM (SELECT DISTINCT file_id, line FROM {UNREADABLE_LINES}) AS lines"
    return int(connection.execute(query).fetchall()[0][0])
