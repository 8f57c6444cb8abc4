"""A history cleaned and summed up, written as files that training, refreshes and analysts read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import duckdb

from model.address import Location
from model.manifest import sums_fingerprint
from model.statistics import ENTITIES, hour_text, snapshot_sql
from model.training.addresses import Draft, open_address, snapshot
from model.training.dataset import end_hour, time_range
from model.training.prepare import CleaningReport, prepare
from model.training.prepared_layout import CLEANING, KIND, TILES, TRANSACTIONS
from model.training.reading import quoted
from model.training.terms import Terms

LAST_HOUR: Literal["data"] = "data"
_DATED = "SELECT *, CAST(DATE '1970-01-01' + CAST(tx_hour // 24 AS INTEGER) AS VARCHAR) AS date FROM transactions"
_ROW_GROUP = 1_000_000

AsOf = int | Literal["data"] | None
"""Hour of the statistics, since 1970 UTC; `data` is the full hour after the last payment, but for a few with dates far
from all others; None writes none."""


def prepare_files(
    connection: duckdb.DuckDBPyConnection,
    history: Location,
    out: Location,
    terms: Terms,
    *,
    scratch: Path,
    as_of: AsOf = None,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Clean a history in DuckDB and write what comes of it.

    Parameters
    ----------
    connection
        A scratch database, as `model.training.database.connect` opens it.
    history, terms, progress
        As for `model.training.prepare.prepare`; so are further errors.
    out
        Where files go: a path, `s3://bucket/prefix` or `hdfs://host:port/path`. Whoever reads it sees what an earlier
        run wrote until this one has ended.
    scratch
        Folder for files on their way to a store.
    as_of
        Of which hour statistics are written, if any.

    Raises
    ------
    AddressError
        If the history's or the output's store fails.
    """
    with snapshot(open_address(out)) as draft:
        report = prepare(connection, history, terms, progress=progress)
        hour = end_hour(time_range(connection)[1]) if as_of == LAST_HOUR else as_of
        queries = {TRANSACTIONS: _DATED, **{tiles: f"SELECT * FROM {tiles}" for tiles in TILES}}
        rows = {}
        for table, query in (queries | statistics_queries(hour)).items():
            progress(f"writing {table.replace('_', ' ')}")
            rows[table] = _write(connection, draft, table, query, scratch=scratch)
        note(draft, report=report, rows=rows, about=origin("duckdb", history, terms, as_of_hour=hour))
    return report


def statistics_queries(as_of_hour: int | None) -> dict[str, str]:
    """Return the queries over the tiles for the statistics of an hour, by the names of their tables."""
    if as_of_hour is None:
        return {}
    return {
        f"{entity}_statistics": snapshot_sql(entity, tiles=f"{entity}_tiles", as_of_hour=as_of_hour)
        for entity in ENTITIES
    }


def origin(engine: str, history: Location, terms: Terms, *, as_of_hour: int | None) -> dict[str, Any]:
    """Return what a manifest says of how its files came about."""
    as_of = None if as_of_hour is None else hour_text(as_of_hour)
    return {"kind": KIND, "engine": engine, "history": str(history), **made_on(terms), "as_of": as_of}


def made_on(terms: Terms) -> dict[str, Any]:
    """Return what the manifest of a prepared history says of the terms, which those of its readers must be."""
    return {
        "sums": sums_fingerprint(),
        "id_key": terms.hasher.fingerprint,
        "label_delay_seconds": terms.label_delay_seconds,
        "reports": "" if terms.reports is None else str(terms.reports),
    }


def note(draft: Draft, *, report: CleaningReport, rows: Mapping[str, int], about: Mapping[str, Any]) -> None:
    """Write the cleaning report, and into the manifest how the files came about and how many rows each table has."""
    with draft.writing(CLEANING) as sink:
        sink.write((json.dumps(asdict(report), indent=2) + "\n").encode())
    draft.about.update(about, rows=dict(rows))


def _write(connection: duckdb.DuckDBPyConnection, draft: Draft, table: str, query: str, *, scratch: Path) -> int:
    local = draft.place.is_local
    folder = (Path(draft.place.path) if local else scratch) / table
    folder.mkdir(parents=True, exist_ok=True)
    target, partition = (folder, ", PARTITION_BY (date)") if table == TRANSACTIONS else (folder / "part-0.parquet", "")
    counted = connection.execute(
        f"COPY ({query}) TO {quoted(str(target.absolute()))}"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP}{partition})"
    ).fetchall()
    for file in [] if local else sorted(folder.rglob("*.parquet")):
        draft.upload(file.relative_to(scratch).as_posix(), file)
        file.unlink()
    return int(counted[0][0])
