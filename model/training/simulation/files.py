"""A simulated history on disk: one Parquet file a day, and a summary once it is complete."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from model.address import Location
from model.training.addresses import Place, open_address
from model.training.simulation.dirt import make_dirty, to_columns
from model.training.simulation.payments import Scenario, draw_day
from model.training.simulation.population import Population, draw_population
from model.training.simulation.settings import SimulationError, SimulationSettings
from model.training.simulation.streams import Stream, generator

GENERATOR = 1  # raise it whenever the same settings begin to give other rows
SUMMARY_NAME = "_simulation.json"  # readers of Parquet folders leave out what begins with an underscore
METADATA_KEY = b"antifraud.simulation"
DAY_FILE = re.compile(r"transactions-(\d{4}-\d\d-\d\d)\.parquet")

SCHEMA = pa.schema(
    [
        ("transaction_id", pa.int64()),
        ("tx_datetime", pa.timestamp("us")),
        ("customer_id", pa.int64()),
        ("terminal_id", pa.int64()),
        ("tx_amount", pa.float64()),
        ("tx_time_seconds", pa.int64()),
        ("tx_time_days", pa.int64()),
        ("tx_fraud", pa.int64()),
        ("tx_fraud_scenario", pa.int64()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSummary:
    """Count what the folder holds after a simulation."""

    folder: Location
    days: int
    rows: int
    frauds_by_scenario: dict[str, int]

    @property
    def frauds(self) -> int:
        """Return the number of fraudulent rows of every scenario."""
        return sum(self.frauds_by_scenario.values())

    @property
    def fraud_share(self) -> float:
        """Return frauds over rows; 0 where there is no row."""
        return self.frauds / self.rows if self.rows else 0.0


def simulate(settings: SimulationSettings, folder: Location, *, progress: bool = True) -> SimulationSummary:
    """Write the history into `folder`, one `transactions-YYYY-MM-DD.parquet` a day, and `_simulation.json` at the end.

    The same settings give the same bytes (with the same NumPy and PyArrow). Days that the folder already holds are
    kept, so an interrupted run goes on where it stopped, and more days of the same settings extend a history.

    Parameters
    ----------
    settings : SimulationSettings
        One of `PROFILES`, or your own.
    folder : Path or str
        A path, `s3://bucket/prefix` or `hdfs://host:port/path`.
        Created if missing. It may hold days of the same settings, and no other Parquet file.
    progress : bool
        Whether to show a bar over the days; without a terminal there is none either way.

    Raises
    ------
    SimulationError
        When the folder holds other transactions, or cannot be written (disk full, no permission).
    AddressError
        If a store fails.
    """
    place = open_address(folder)
    with _os_errors(folder):
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_temporary_files(folder)
        present = _day_names(place)
        _refuse_foreign_files(settings, place, present)
        records = _complete_days(settings, place, present, progress=progress)
        return _write_summary(settings, folder, records)


@dataclass(frozen=True, slots=True)
class DayRecord:
    """Say what one day's file holds, so that a later run need not read its rows."""

    next_id: int
    rows: int
    frauds_by_scenario: dict[str, int]


def _day_names(place: Place) -> list[str]:
    """Return the names of the Parquet files that are there."""
    if not place.exists():
        return []
    return sorted(name for name in place.below() if name.endswith(".parquet") and "/" not in name)


def _complete_days(
    settings: SimulationSettings, place: Place, present: list[str], *, progress: bool
) -> list[DayRecord]:
    """Return the record of each day, writing the days that the folder lacks."""
    missing = [day for day in range(settings.days) if _day_name(settings, day) not in present]
    if missing:
        # The summary says that a history is complete; while days are missing it must not.
        place.delete(SUMMARY_NAME)
    population = draw_population(settings) if missing else None
    records: list[DayRecord] = []
    for day in tqdm(range(settings.days), desc="Simulating", unit="day", disable=None if progress else True):
        file = place.join(_day_name(settings, day))
        if population is not None and day in missing:
            first_id = records[-1].next_id if records else 0
            records.append(_write_day(settings, population, file, day=day, first_id=first_id))
        else:
            records.append(_read_record(file))
    return records


def _write_day(
    settings: SimulationSettings, population: Population, file: Place, *, day: int, first_id: int
) -> DayRecord:
    payments = draw_day(settings, population, day)
    columns = to_columns(settings, payments, day=day, first_id=first_id)
    if settings.dirt:
        columns = make_dirty(generator(settings, Stream.DIRT, day), columns, settings.dirt)
    counts = np.bincount(columns["tx_fraud_scenario"], minlength=len(Scenario))
    frauds = {scenario.name.lower(): int(counts[scenario]) for scenario in Scenario if scenario != Scenario.HONEST}
    record = DayRecord(first_id + len(payments), len(columns["transaction_id"]), frauds)
    note = json.dumps({"settings": _fingerprint(settings), **asdict(record)})
    table = pa.table(columns, schema=SCHEMA.with_metadata({METADATA_KEY: note}))
    with file.writing() as sink:
        pq.write_table(table, sink, compression="zstd")
    return record


def _write_summary(settings: SimulationSettings, folder: Location, records: list[DayRecord]) -> SimulationSummary:
    frauds = {
        name: sum(record.frauds_by_scenario[name] for record in records) for name in records[0].frauds_by_scenario
    }
    rows = sum(record.rows for record in records)
    content = {
        "settings": {**_fingerprint(settings), "days": settings.days},
        "rows": rows,
        "frauds_by_scenario": frauds,
    }
    open_address(folder).write_bytes(SUMMARY_NAME, (json.dumps(content, indent=2) + "\n").encode())
    return SimulationSummary(folder=folder, days=settings.days, rows=rows, frauds_by_scenario=frauds)


def _refuse_foreign_files(settings: SimulationSettings, place: Place, present: list[str]) -> None:
    """Raise when a Parquet file of the folder is not a day of this very history."""
    for name in present:
        found = _read_note(place.join(name)).get("settings")
        if found is None or DAY_FILE.fullmatch(name) is None:
            raise SimulationError(f"{place} holds {name}, which no simulation wrote; choose another folder")
        if difference := _difference(_fingerprint(settings), found):
            raise SimulationError(f"{place} holds days of other settings: {difference}; choose another folder")
        if name > _day_name(settings, settings.days - 1):
            raise SimulationError(f"{place} holds more than days={settings.days}, such as {name}")


def _difference(asked: dict[str, Any], found: dict[str, Any]) -> str:
    names = [name for name in sorted({*asked, *found}) if asked.get(name) != found.get(name)]
    return ", ".join(f"{name} is {found.get(name)} there and {asked.get(name)} here" for name in names)


def _fingerprint(settings: SimulationSettings) -> dict[str, Any]:
    """Return what decides a day's rows, ready for JSON; the number of days does not."""
    values = {**asdict(settings), "start": settings.start.isoformat(), "generator": GENERATOR}
    values.update(dirt=float(settings.dirt), radius=float(settings.radius))  # 0 and 0.0 give the same rows
    del values["days"]
    return values


def _read_record(file: Place) -> DayRecord:
    note = _read_note(file)
    return DayRecord(note["next_id"], note["rows"], note["frauds_by_scenario"])


def _read_note(file: Place) -> dict[str, Any]:
    """Return what `_write_day` noted in the file; nothing when another program wrote it."""
    try:
        with file.open_input() as source:
            metadata = pq.read_schema(source).metadata or {}
    except pa.ArrowInvalid as error:
        raise SimulationError(f"{file} is not a readable Parquet file; delete it or choose another folder") from error
    note: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, b"{}"))
    return note


def _day_name(settings: SimulationSettings, day: int) -> str:
    return f"transactions-{settings.start + timedelta(days=day)}.parquet"


def _remove_temporary_files(folder: Path) -> None:
    """Remove what a killed run could not."""
    for pattern in (".transactions-*", f".{SUMMARY_NAME}.*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


@contextmanager
def _os_errors(folder: Location) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = "it is a file" if isinstance(folder, Path) and folder.is_file() else error.strerror or error
        raise SimulationError(f"cannot write the simulation into {folder}: {reason}") from error
