"""A history cleaned, whichever way: from its raw files now, or by `antifraud prepare` before."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from model.address import Location
from model.statistics import HOUR
from model.training.addresses import MANIFEST_NAME, Days, PlacedFile, open_address, raise_failed_read, readable
from model.training.history import HistoryError
from model.training.prepare import CleaningReport, prepare
from model.training.prepared import made_on
from model.training.prepared_layout import CLEANING, TILES, TRANSACTIONS, prepared_manifest
from model.training.reading import pattern, quoted
from model.training.terms import Terms

_TRANSACTION_COLUMNS = {
    "tx_seconds": "BIGINT",
    "tx_hour": "BIGINT",
    "customer_key": "BIGINT",
    "terminal_key": "BIGINT",
    "tx_amount": "DOUBLE",
    "amount_hundredths": "BIGINT",
    "tx_fraud": "INTEGER",
    "tx_fraud_scenario": "BIGINT",
    "report_hour": "BIGINT",
}
_TILE_COLUMNS = {
    "key": "BIGINT",
    "hour": "BIGINT",
    "transactions": "BIGINT",
    "amount": "BIGINT",
    "amount_squared": "DECIMAL(38, 0)",
    "reports": "BIGINT",
}
# Engines write whole numbers of other widths.
_COLUMNS = {TRANSACTIONS: _TRANSACTION_COLUMNS} | dict.fromkeys(TILES, _TILE_COLUMNS)


def clean(
    connection: duckdb.DuckDBPyConnection,
    address: Location,
    terms: Terms,
    *,
    days: Days | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Bring a history into the tables `transactions`, `customer_tiles` and `terminal_tiles` of a database.

    Parameters as of `model.training.prepare.prepare`; the address may also be one that `antifraud prepare` wrote to, on
    either engine, which is then read as a whole. What comes of both is the same.

    Raises
    ------
    HistoryError, CleaningError, AddressError
        As of `prepare`, and as of `open_prepared`.
    """
    prepared = open_prepared(address, terms)
    if prepared is None:
        return prepare(connection, address, terms, days=days, progress=progress)
    progress("reading the prepared history")
    for table in _COLUMNS:
        prepared.load(connection, table)
    return prepared.cleaning()


def open_prepared(address: Location, terms: Terms) -> "PreparedHistory | None":
    """Return what `antifraud prepare` wrote to an address, None if a raw history or nothing is there.

    Raises
    ------
    HistoryError
        If it was made with another id key, label delay or reports than are asked for now, or by another version.
    AddressError
        If a store fails, or a file of it is gone.
    """
    manifest = prepared_manifest(address)
    if manifest is None:
        return None
    _refuse_other(address, manifest.about, terms)
    return PreparedHistory(address, manifest.about, tuple(open_address(address).list_files()))


@dataclass(frozen=True, slots=True)
class PreparedHistory:
    """A prepared history as it was found; `about` is what its manifest says of it."""

    address: Location
    about: Mapping[str, Any]
    files: Sequence[PlacedFile]

    @property
    def as_of_hour(self) -> int | None:
        """The hour, since 1970, that it was prepared for; None where no hour was asked for."""
        text = self.about.get("as_of")
        return None if text is None else int(datetime.fromisoformat(text).timestamp()) // HOUR

    def load(self, connection: duckdb.DuckDBPyConnection, table: str, *, only: Sequence[str] | None = None) -> int:
        """Make one of its tables in a database; return of how many files.

        Parameters
        ----------
        only
            The columns to read; None for all.

        Raises
        ------
        HistoryError
            If a file cannot be read, or the table has not the rows that it was written with.
        """
        files = [file for file in self.files if file.name.startswith(f"{table}/")]
        columns = {name: kind for name, kind in _COLUMNS[table].items() if only is None or name in only}
        # Files here are read by DuckDB itself.
        at = [Path(file.place.path) if file.place.is_local else file for file in files]
        with readable(connection, at):
            try:
                connection.execute(f"CREATE OR REPLACE TABLE {table} AS {_rows_sql(at, columns)}")
            except duckdb.Error:
                self._find_unreadable(connection, at, columns)
                raise
        counted = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchall()[0][0]
        if counted != self.about["rows"].get(table):
            raise HistoryError(
                f"history {self.address}: {table} has not the rows that {MANIFEST_NAME} names; prepare it again"
            )
        return len(files)

    def cleaning(self) -> CleaningReport:
        """Return what cleaning read, kept and dropped when it was prepared."""
        place = next(file.place for file in self.files if file.name == CLEANING)
        found = json.loads(place.read_bytes())
        return CleaningReport(**found | {"files_skipped": tuple(found["files_skipped"])})

    def _find_unreadable(
        self, connection: duckdb.DuckDBPyConnection, files: Sequence[Path | PlacedFile], columns: Mapping[str, str]
    ) -> None:
        """Read every file alone to its end, and raise the error of the first where that fails."""
        raise_failed_read(connection)
        for file in files:
            try:
                connection.execute(f"SELECT MAX(COLUMNS(*)) FROM ({_rows_sql([file], columns)}) AS rows").fetchall()
            except duckdb.OutOfMemoryException:
                return
            except duckdb.Error as error:
                raise_failed_read(connection)
                reason = str(error).splitlines()[0][:200]
                raise HistoryError(
                    f"history {self.address}: {file} is not readable ({reason}); run antifraud prepare again"
                ) from None


def _refuse_other(address: Location, about: Mapping[str, Any], terms: Terms) -> None:
    named = {
        "sums": "by a version of this program whose statistics are others",
        "id_key": "with another id key",
        "label_delay_seconds": f"with a label delay of {about.get('label_delay_seconds')} seconds",
        "reports": f"with the reports {about.get('reports') or 'of its own rows only'}",
    }
    for name, value in made_on(terms).items():
        if about.get(name) != value:
            now = "" if name in ("sums", "id_key") else f", and {value or 'none'} is asked for now"
            raise HistoryError(f"history {address}: it was prepared {named[name]}{now}; run antifraud prepare again")


def _rows_sql(files: Sequence[Path | PlacedFile], columns: Mapping[str, str]) -> str:
    chosen = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns.items())
    paths = ", ".join(quoted(pattern(file)) for file in files)
    return f"SELECT {chosen} FROM read_parquet([{paths}], hive_partitioning = false)"
