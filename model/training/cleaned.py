"""A history cleaned, whichever way: from its raw files now, or by `antifraud prepare` before."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from model.address import Location
from model.manifest import sums_fingerprint
from model.training.addresses import MANIFEST_NAME, PlacedFile, open_address, readable
from model.training.addresses.manifest import Manifest
from model.training.history import HistoryError
from model.training.prepare import CleaningReport, prepare
from model.training.prepared import CLEANING, KIND, TILES, TRANSACTIONS
from model.training.reading import pattern, quoted
from model.transaction import IdHasher

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
    *,
    hasher: IdHasher,
    label_delay_seconds: int,
    reports: Location | None = None,
    skip_unreadable: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Bring a history into the tables `transactions`, `customer_tiles` and `terminal_tiles` of a database.

    Parameters as of `model.training.prepare.prepare`; the address may also be one that `antifraud prepare` wrote to, on
    either engine. What comes of both is the same.

    Raises
    ------
    HistoryError, CleaningError, AddressError
        As of `prepare`; also if a prepared history was made with another id key, label delay or reports than are asked
        for now, or by another version.
    """
    manifest = _manifest(address)
    if manifest is None:
        return prepare(
            connection,
            address,
            hasher=hasher,
            label_delay_seconds=label_delay_seconds,
            reports=reports,
            skip_unreadable=skip_unreadable,
            progress=progress,
        )
    asked = {"sums": sums_fingerprint(), "id_key": hasher.fingerprint, "label_delay_seconds": label_delay_seconds}
    _check(address, manifest, asked | {"reports": "" if reports is None else str(reports)})
    progress("reading the prepared history")
    files = open_address(address).list_files()
    for table, columns in _COLUMNS.items():
        _load(connection, table, columns, [file for file in files if file.name.startswith(f"{table}/")])
        counted = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchall()[0][0]
        if counted != manifest.about["rows"].get(table):
            raise HistoryError(
                f"history {address}: {table} has not the rows that {MANIFEST_NAME} names; prepare it again"
            )
    return _report(files)


def _manifest(address: Location) -> Manifest | None:
    """Return the manifest of a prepared history; None for a raw one, and for what is not there."""
    manifest = open_address(address).manifest()
    return manifest if manifest is not None and manifest.about.get("kind") == KIND else None


def _check(address: Location, manifest: Manifest, asked: dict[str, Any]) -> None:
    named = {
        "sums": "by a version of this program whose statistics are others",
        "id_key": "with another id key",
        "label_delay_seconds": f"with a label delay of {manifest.about.get('label_delay_seconds')} seconds",
        "reports": f"with the reports {manifest.about.get('reports') or 'of its own rows only'}",
    }
    for name, value in asked.items():
        if manifest.about.get(name) != value:
            now = "" if name in ("sums", "id_key") else f", and {value or 'none'} is asked for now"
            raise HistoryError(f"history {address}: it was prepared {named[name]}{now}; run antifraud prepare again")


def _load(
    connection: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str], files: Sequence[PlacedFile]
) -> None:
    chosen = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns.items())
    # Files here are read by DuckDB itself.
    at = [Path(file.place.path) if file.place.is_local else file for file in files]
    paths = ", ".join(quoted(pattern(file)) for file in at)
    with readable(connection, at):
        rows = f"SELECT {chosen} FROM read_parquet([{paths}], hive_partitioning = false)"
        connection.execute(f"CREATE OR REPLACE TABLE {table} AS {rows}")


def _report(files: Sequence[PlacedFile]) -> CleaningReport:
    place = next(file.place for file in files if file.name == CLEANING)
    found = json.loads(place.read_bytes())
    return CleaningReport(**found | {"files_skipped": tuple(found["files_skipped"])})
