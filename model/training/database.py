"""The database in which a run does its work, and which nobody needs afterwards."""

from pathlib import Path

import duckdb

from model.training.reading import quoted


def connect(folder: Path, *, memory_limit: str, threads: int) -> duckdb.DuckDBPyConnection:
    """Open a scratch DuckDB database in a folder, with bounded memory; what does not fit is spilled beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(str(folder / "scratch.duckdb"))
    connection.execute(f"SET memory_limit = {quoted(memory_limit)}")
    connection.execute(f"SET threads = {threads}")
    connection.execute(f"SET temp_directory = {quoted(str(folder / 'spill'))}")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    return connection
