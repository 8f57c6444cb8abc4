"""A prepared history as files: clean transactions, tiles and statistics, which count only once a manifest lists them.

    OUT/transactions/date=YYYY-MM-DD/*.parquet     one row a payment, ids hashed
    OUT/customer_tiles/*.parquet                   sums of each hour
    OUT/terminal_tiles/*.parquet
    OUT/customer_statistics/*.parquet              sums as of one hour, where asked for
    OUT/terminal_statistics/*.parquet
    OUT/cleaning.json                              rows read, kept and dropped, by cause
    OUT/manifest.json                              every file of the above; written last

Whoever reads begins with the manifest: while it is missing, the rest is half-written or gone.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import duckdb

from model.statistics import ENTITIES, hour_text, snapshot_sql
from model.training.prepare import CleaningReport, prepare
from model.training.reading import quoted
from model.transaction import IdHasher

MANIFEST = "manifest.json"
CLEANING = "cleaning.json"
TRANSACTIONS = "transactions"
TILES = tuple(f"{entity}_tiles" for entity in ENTITIES)
STATISTICS = tuple(f"{entity}_statistics" for entity in ENTITIES)
TABLES = (TRANSACTIONS, *TILES, *STATISTICS)
LAST_HOUR: Literal["data"] = "data"
_FORMAT = 1
_ROW_GROUP = 1_000_000

AsOf = int | Literal["data"] | None
"""Hour of the statistics, since 1970 UTC; `data` is the full hour after the last payment, None writes none."""


class PreparedError(ValueError):
    """An address holds no whole prepared history, or something else."""


class Place(Protocol):
    """Where a prepared history is written, or read: a folder, or a prefix of an object store."""

    address: str

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is no such file."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which is there as a whole or not at all."""

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all in it, if it is there."""

    def files(self) -> dict[str, int]:
        """Return the files that are no notes, by their names below the address, with their sizes in bytes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a prepared history came out of; the manifest keeps it."""

    engine: str
    history: str
    id_key: str
    label_delay_seconds: int
    as_of: str | None


class Folder:
    """A folder of this machine as a place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = str(folder)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is no such file."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, which is there as a whole or not at all."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path)

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all in it, if it is there."""
        path = self.folder / name
        if path.is_dir():
            for file in sorted(path.rglob("*"), reverse=True):
                file.rmdir() if file.is_dir() else file.unlink()
            path.rmdir()
        else:
            path.unlink(missing_ok=True)

    def files(self) -> dict[str, int]:
        """Return the files that are no notes, by their names below the address, with their sizes in bytes."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.name[0] not in "._")
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in found}


def begin(place: Place, *, replace: bool) -> None:
    """Make an address ready to be written to: what an earlier run left there goes, its manifest first.

    Raises
    ------
    PreparedError
        If it holds a whole prepared history and `replace` is not set, or files that no such run wrote.
    """
    if place.read(MANIFEST) is not None and not replace:
        raise PreparedError(
            f"{place.address}: holds a prepared history already; choose another address, or give --replace"
        )
    foreign = [name for name in place.files() if name.split("/")[0] not in (*TABLES, MANIFEST, CLEANING)]
    if foreign:
        raise PreparedError(f"{place.address}: holds other files, such as {foreign[0]}; choose another address")
    for name in (MANIFEST, CLEANING, *TABLES):
        place.delete(name)


def finish(place: Place, *, origin: Origin, report: CleaningReport, rows: Mapping[str, int]) -> None:
    """Write the cleaning report, and last of all the manifest of what has been written."""
    place.write(CLEANING, _json(asdict(report)))
    found = place.files()
    tables = {
        table: {
            "rows": count,
            "files": [{"name": name, "bytes": size} for name, size in found.items() if name.startswith(f"{table}/")],
        }
        for table, count in rows.items()
    }
    place.write(MANIFEST, _json({"format": _FORMAT, **asdict(origin), "tables": tables}))


def read_manifest(place: Place) -> dict[str, Any]:
    """Return the manifest of a prepared history.

    Raises
    ------
    PreparedError
        If there is none, it cannot be read, or a file that it lists is missing or of another size.
    """
    content = place.read(MANIFEST)
    if content is None:
        raise PreparedError(f"{place.address}: no {MANIFEST}, so nothing whole is there; run antifraud prepare again")
    try:
        manifest: dict[str, Any] = json.loads(content)
        listed = {file["name"]: file["bytes"] for table in manifest["tables"].values() for file in table["files"]}
    except (ValueError, KeyError, TypeError):
        raise PreparedError(f"{place.address}: {MANIFEST} is damaged; run antifraud prepare again") from None
    found = place.files()
    for name, size in listed.items():
        if found.get(name) != size:
            raise PreparedError(f"{place.address}: {name} is missing or damaged; run antifraud prepare again")
    return manifest


def prepare_files(
    connection: duckdb.DuckDBPyConnection,
    history: str | Path,
    out: Folder,
    *,
    hasher: IdHasher,
    label_delay_seconds: int,
    as_of: AsOf = None,
    reports: Path | None = None,
    replace: bool = False,
    progress: Callable[[str], None] = lambda step: None,
) -> CleaningReport:
    """Clean a history in DuckDB and write what comes of it.

    Parameters
    ----------
    connection
        A scratch database, as `model.training.history.connect` opens it.
    history, hasher, label_delay_seconds, reports, progress
        As for `model.training.prepare.prepare`; so are further errors.
    out
        Where files go.
    as_of
        Of which hour statistics are written, if any.
    replace
        Whether a prepared history that is there already may go.

    Raises
    ------
    PreparedError
        If `out` holds a prepared history that may not go, or other files.
    """
    begin(out, replace=replace)
    report = prepare(
        connection,
        history,
        hasher=hasher,
        label_delay_seconds=label_delay_seconds,
        reports=reports,
        progress=progress,
    )
    progress("writing files")
    hour = _last_hour(connection) if as_of == LAST_HOUR else as_of
    queries = {
        TRANSACTIONS: "SELECT *, CAST(DATE '1970-01-01' + CAST(tx_hour // 24 AS INTEGER) AS VARCHAR) AS date"
        " FROM transactions",
        **{tiles: f"SELECT * FROM {tiles}" for tiles in TILES},
        **statistics_queries(hour),
    }
    rows = {table: _write(connection, out.folder / table, query) for table, query in queries.items()}
    origin = Origin("duckdb", str(history), hasher.fingerprint, label_delay_seconds, hour_of(hour))
    finish(out, origin=origin, report=report, rows=rows)
    return report


def statistics_queries(as_of_hour: int | None) -> dict[str, str]:
    """Return the queries over the tiles for the statistics of an hour, by the names of their tables."""
    if as_of_hour is None:
        return {}
    return {
        f"{entity}_statistics": snapshot_sql(entity, tiles=f"{entity}_tiles", as_of_hour=as_of_hour)
        for entity in ENTITIES
    }


def hour_of(as_of_hour: int | None) -> str | None:
    """Return an hour as the manifest writes it."""
    return None if as_of_hour is None else hour_text(as_of_hour)


def _last_hour(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute("SELECT MAX(tx_hour) + 1 FROM transactions").fetchone()
    assert row is not None  # noqa: S101  an aggregate always has one row
    return int(row[0])


def _write(connection: duckdb.DuckDBPyConnection, folder: Path, query: str) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    by_day = folder.name == TRANSACTIONS
    target, partition = (folder, ", PARTITION_BY (date)") if by_day else (folder / "part-0.parquet", "")
    count = connection.execute(
        f"COPY ({query}) TO {quoted(str(target.absolute()))}"
        f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP}{partition})"
    ).fetchone()
    assert count is not None  # noqa: S101  COPY says how many rows it wrote
    return int(count[0])


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
