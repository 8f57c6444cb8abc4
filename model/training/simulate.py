"""Simulate a bank's card payments and the frauds among them, one Parquet file a day.

The process is the one of Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card
Fraud Detection" (Université Libre de Bruxelles, 2022), chapter 3; `BOOK` in a comment below means that source.
Every draw comes from a generator of its own purpose and day, so a day never depends on how many days are asked for.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.spatial import cKDTree
from tqdm import tqdm

GRID_SIDE = 100.0  # BOOK: customers and terminals live on a square of this side
MEAN_AMOUNT_RANGE = (5.0, 100.0)  # BOOK
AMOUNT_SPREAD_RATIO = 0.5  # BOOK: a customer's spread is half of the mean amount
PAYMENTS_PER_DAY_MAX = 4.0  # BOOK: a customer's payments a day are Poisson with a mean from U(0, 4)
NOON_SECOND = 43_200
TIME_SPREAD_S = 20_000  # BOOK
DAY_SECONDS = 86_400

LARGE_AMOUNT = 220.0  # BOOK, scenario 1: any larger amount is fraud
TERMINAL_TAKEOVER_DAYS = 28  # BOOK, scenario 2
CUSTOMER_TAKEOVER_DAYS = 14  # BOOK, scenario 3
STOLEN_CARD_SHARE = 1 / 3  # BOOK, scenario 3: share of the customer's payments that the thief makes
STOLEN_CARD_FACTOR = 5.0  # BOOK, scenario 3: the thief's amounts against the customer's

MISSING_ID = -999_999  # dirt: what the bank's history holds where an id is unknown
RESENT_UNCHANGED_SHARE = 0.5
RESENT_AMOUNT_RISE = (0.1, 0.5)
RESENT_DELAY_MAX_S = 600

COUNT_MAX = 100_000_000  # customers or terminals; what a machine's memory still holds
LINKS_MAX = 500_000_000  # customer-to-terminal links, 4 bytes each
PAIRS_PER_CHUNK = 8_000_000  # 24 bytes each while the neighbours are searched

GENERATOR = 1  # raise it whenever the same settings begin to give other rows
SUMMARY_NAME = "simulation.json"
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

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class SimulationError(Exception):
    """Say which setting, folder or file stops the simulation, and why."""


class Scenario(IntEnum):
    """Name the reasons why a payment is fraud, as `tx_fraud_scenario` numbers them."""

    HONEST = 0
    LARGE_AMOUNT = 1
    TERMINAL_TAKEN = 2
    CUSTOMER_TAKEN = 3


class _Stream(IntEnum):
    """Name the independent streams of random numbers; one more never changes the others."""

    POPULATION = 0
    PAYMENTS = 1
    TERMINALS_TAKEN = 2
    CUSTOMERS_TAKEN = 3
    DIRT = 4


def _require_int(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise SimulationError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def _require_number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise SimulationError(f"{name} must be a number from {low:g} to {high:g}, got {value!r}")


def _require_date(name: str, value: object) -> None:
    if type(value) is not date:
        raise SimulationError(f"{name} must be a date without a time, got {value!r}")


def _require_bool(name: str, value: object) -> None:
    if type(value) is not bool:
        raise SimulationError(f"{name} must be true or false, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSettings:
    """Describe a bank and the history asked of it.

    Raises
    ------
    SimulationError
        When a value breaks its rule; the message names the field and the rule.
    """

    customers: int
    terminals: int
    days: int
    start: date = date(2026, 1, 1)
    seed: int = 0
    dirt: float = 0.0
    """Share of rows, 0 to 1, for each kind of dirt: missing time, repeated transaction id, id of -999999."""
    terminals_taken_per_day: int = 2
    customers_taken_per_day: int = 3
    radius: float = 5.0
    """A customer pays at the terminals within this distance, on a grid of side 100."""
    takeovers_before_start: bool = True
    """Whether takeovers are under way on the first day, as in any bank; the book's history starts without one."""

    def __post_init__(self) -> None:
        for name in ("customers", "terminals"):
            _require_int(name, getattr(self, name), 1, COUNT_MAX)
        _require_date("start", self.start)
        _require_int("days", self.days, 1, (date.max - self.start).days)
        _require_int("seed", self.seed, 0, 2**128 - 1)
        _require_int("terminals_taken_per_day", self.terminals_taken_per_day, 0, self.terminals)
        _require_int("customers_taken_per_day", self.customers_taken_per_day, 0, self.customers)
        _require_number("dirt", self.dirt, 0.0, 1.0)
        _require_number("radius", self.radius, 0.0, GRID_SIDE * math.sqrt(2))
        _require_bool("takeovers_before_start", self.takeovers_before_start)
        links = self.customers * self.terminals * min(1.0, math.pi * self.radius**2 / GRID_SIDE**2)
        if links > LINKS_MAX:
            rule = f"customers times terminals in reach must be at most {LINKS_MAX}"
            raise SimulationError(f"radius is too large: {rule}, got about {links:.0f}")


PROFILES: dict[str, SimulationSettings] = {
    "small": SimulationSettings(customers=2_000, terminals=4_000, days=90),
    "bank": SimulationSettings(customers=1_000_000, terminals=1_000, days=30),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSummary:
    """Count what the folder holds after a simulation."""

    folder: Path
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


def simulate(settings: SimulationSettings, folder: Path, *, progress: bool = True) -> SimulationSummary:
    """Write the history into `folder`, one `transactions-YYYY-MM-DD.parquet` a day, and `simulation.json` at the end.

    The same settings give the same bytes (with the same NumPy and PyArrow). Days that the folder already holds are
    kept, so an interrupted run goes on where it stopped, and more days of the same settings extend a history.

    Parameters
    ----------
    settings : SimulationSettings
        One of `PROFILES`, or your own.
    folder : Path
        Created if missing. It may hold days of the same settings, and no other Parquet file.
    progress : bool
        Whether to show a bar over the days; without a terminal there is none either way.

    Raises
    ------
    SimulationError
        When the folder holds other transactions, or cannot be written (disk full, no permission).
    """
    with _os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign_files(settings, folder)
        _remove_temporary_files(folder)
        records = _complete_days(settings, folder, progress=progress)
        return _write_summary(settings, folder, records)


def _generator(settings: SimulationSettings, stream: _Stream, day: int = 0) -> np.random.Generator:
    """Return the generator of one purpose and day; a day before the start counts from the longest takeover."""
    key = (int(stream), day + TERMINAL_TAKEOVER_DAYS)
    return np.random.default_rng(np.random.SeedSequence(settings.seed, spawn_key=key))


# --- the population ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Population:
    """Hold each customer's habits and the terminals in reach, as CSR arrays.

    Customer `c` pays at `reached[reach_start[c]:reach_start[c + 1]]`.
    """

    mean_amount: Floats
    payments_per_day: Floats
    reach_start: Ints
    reached: npt.NDArray[np.int32]


def draw_population(settings: SimulationSettings) -> Population:
    """Return customers with their habits; one without a terminal in reach makes no payment."""
    rng = _generator(settings, _Stream.POPULATION)
    homes = rng.uniform(0, GRID_SIDE, (settings.customers, 2))
    shops = rng.uniform(0, GRID_SIDE, (settings.terminals, 2))
    mean_amount = rng.uniform(*MEAN_AMOUNT_RANGE, settings.customers)
    payments_per_day = rng.uniform(0, PAYMENTS_PER_DAY_MAX, settings.customers)
    reach_start, reached = reachable_terminals(homes, shops, settings.radius)
    payments_per_day[np.diff(reach_start) == 0] = 0.0
    return Population(mean_amount, payments_per_day, reach_start, reached)


def reachable_terminals(homes: Floats, shops: Floats, radius: float) -> tuple[Ints, npt.NDArray[np.int32]]:
    """Return the terminals within `radius` of each customer, as CSR: starts, shape (n + 1,), and terminal numbers."""
    tree = cKDTree(shops)
    chunk = max(1, PAIRS_PER_CHUNK // len(shops))
    counts, reached = [np.zeros(1, dtype=np.int64)], [np.empty(0, dtype=np.int32)]
    for first in range(0, len(homes), chunk):
        part = homes[first : first + chunk]
        pairs = cKDTree(part).sparse_distance_matrix(tree, radius, output_type="ndarray")
        pairs = pairs[np.lexsort((pairs["j"], pairs["i"]))]
        counts.append(np.bincount(pairs["i"], minlength=len(part)))
        reached.append(pairs["j"].astype(np.int32))
    return np.cumsum(np.concatenate(counts)), np.concatenate(reached)


# --- one day ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payments:
    """Hold one day's payments in time order, one array a field, all of the same length."""

    customer: Ints
    terminal: Ints
    amount: Floats
    second: Ints  # of the day
    scenario: Ints

    def __len__(self) -> int:
        return len(self.customer)


def draw_day(settings: SimulationSettings, population: Population, day: int) -> Payments:
    """Return the payments of day `day` (0 is the start) with their frauds, without any earlier day."""
    rng = _generator(settings, _Stream.PAYMENTS, day)
    customer, second = _draw_times(rng, population)
    terminal = _draw_terminals(rng, population, customer)
    amount = _draw_amounts(rng, population.mean_amount[customer])
    honest = Payments(customer, terminal, amount, second, np.zeros(len(customer), dtype=np.int64))
    return _commit_frauds(rng, settings, honest, day)


def _draw_times(rng: np.random.Generator, population: Population) -> tuple[Ints, Ints]:
    """Return customer and second of the day of each payment, in time order."""
    count = rng.poisson(population.payments_per_day)
    customer = np.repeat(np.arange(len(count)), count)
    second = rng.normal(NOON_SECOND, TIME_SPREAD_S, len(customer)).astype(np.int64)
    inside = (second > 0) & (second < DAY_SECONDS)  # BOOK: a payment that falls on another day is not made
    customer, second = customer[inside], second[inside]
    order = np.argsort(second, kind="stable")
    return customer[order], second[order]


def _draw_terminals(rng: np.random.Generator, population: Population, customer: Ints) -> Ints:
    start = population.reach_start[customer]
    size = population.reach_start[customer + 1] - start
    place: Ints = start + rng.integers(size)
    return population.reached[place].astype(np.int64)


def _draw_amounts(rng: np.random.Generator, mean: Floats) -> Floats:
    amount = rng.normal(mean, AMOUNT_SPREAD_RATIO * mean)
    negative = amount < 0
    amount[negative] = rng.uniform(0, 2 * mean[negative])
    return np.round(amount, 2)


# --- frauds -----------------------------------------------------------------------------------------------------------


def terminals_taken(settings: SimulationSettings, day: int) -> Ints:
    """Return the terminals in a thief's hands on `day`, taken over on `(day - 28, day]`; one may come twice."""
    days = _takeover_days(settings, day, TERMINAL_TAKEOVER_DAYS)
    count, size = settings.terminals, settings.terminals_taken_per_day
    return _draw_taken(settings, _Stream.TERMINALS_TAKEN, days, count=count, size=size)


def customers_taken(settings: SimulationSettings, day: int) -> Ints:
    """Return the customers whose card is stolen on `day`, taken over on `(day - 14, day]`; one may come twice."""
    days = _takeover_days(settings, day, CUSTOMER_TAKEOVER_DAYS)
    count, size = settings.customers, settings.customers_taken_per_day
    return _draw_taken(settings, _Stream.CUSTOMERS_TAKEN, days, count=count, size=size)


def _takeover_days(settings: SimulationSettings, day: int, length: int) -> range:
    """Return the days whose takeovers still last on `day`."""
    earliest = day - length + 1
    return range(earliest if settings.takeovers_before_start else max(0, earliest), day + 1)


def _draw_taken(settings: SimulationSettings, stream: _Stream, days: range, *, count: int, size: int) -> Ints:
    return np.concatenate([_generator(settings, stream, day).choice(count, size, replace=False) for day in days])


def _commit_frauds(rng: np.random.Generator, settings: SimulationSettings, honest: Payments, day: int) -> Payments:
    """Return the payments with the day's frauds; a later scenario overrides an earlier one."""
    scenario = np.where(honest.amount > LARGE_AMOUNT, Scenario.LARGE_AMOUNT, Scenario.HONEST).astype(np.int64)
    scenario[_among(honest.terminal, terminals_taken(settings, day), settings.terminals)] = Scenario.TERMINAL_TAKEN
    stolen = _among(honest.customer, customers_taken(settings, day), settings.customers)
    stolen &= rng.random(len(honest)) < STOLEN_CARD_SHARE
    scenario[stolen] = Scenario.CUSTOMER_TAKEN
    amount = np.where(stolen, np.round(honest.amount * STOLEN_CARD_FACTOR, 2), honest.amount)
    return Payments(honest.customer, honest.terminal, amount, honest.second, scenario)


def _among(number: Ints, chosen: Ints, count: int) -> Mask:
    """Return which numbers are chosen, by a lookup table: `np.isin` would sort millions."""
    table = np.zeros(count, dtype=np.bool_)
    table[chosen] = True
    among: Mask = table[number]
    return among


# --- rows and their dirt ----------------------------------------------------------------------------------------------

Columns = dict[str, npt.NDArray[Any]]


def _to_columns(settings: SimulationSettings, payments: Payments, *, day: int, first_id: int) -> Columns:
    second = payments.second + day * DAY_SECONDS
    midnight = np.datetime64(settings.start, "us")
    return {
        "transaction_id": first_id + np.arange(len(payments)),
        "tx_datetime": midnight + second.astype("timedelta64[s]"),
        "customer_id": payments.customer,
        "terminal_id": payments.terminal,
        "tx_amount": payments.amount,
        "tx_time_seconds": second,
        "tx_time_days": np.full(len(payments), day),
        "tx_fraud": (payments.scenario != Scenario.HONEST).astype(np.int64),
        "tx_fraud_scenario": payments.scenario,
    }


def _make_dirty(rng: np.random.Generator, columns: Columns, share: float) -> Columns:
    """Return the rows with each kind of dirt on `share` of them; a clean value is never changed."""
    dirty = _lose_values(rng, columns, share)
    sent_again = rng.random(len(dirty["transaction_id"])) < share
    sent_again &= dirty["transaction_id"] != MISSING_ID  # a lost id cannot be repeated
    again = _send_again(rng, {name: values[sent_again] for name, values in dirty.items()})
    joined = {name: np.concatenate([values, again[name]]) for name, values in dirty.items()}
    order = np.argsort(joined["tx_time_seconds"], kind="stable")
    return {name: values[order] for name, values in joined.items()}


def _lose_values(rng: np.random.Generator, columns: Columns, share: float) -> Columns:
    rows = len(columns["transaction_id"])
    time_lost, id_lost = rng.random((2, rows)) < share
    column = rng.integers(3, size=rows)
    lost = {"tx_datetime": np.where(time_lost, np.datetime64("NaT", "us"), columns["tx_datetime"])}
    for number, name in enumerate(("transaction_id", "customer_id", "terminal_id")):
        lost[name] = np.where(id_lost & (column == number), MISSING_ID, columns[name])
    return {**columns, **lost}


def _send_again(rng: np.random.Generator, columns: Columns) -> Columns:
    """Return the rows once more under the same transaction ids: unchanged, or later the same day for more money."""
    rows = len(columns["transaction_id"])
    left_s = DAY_SECONDS - 1 - columns["tx_time_seconds"] % DAY_SECONDS
    delay_s = np.minimum(rng.integers(1, RESENT_DELAY_MAX_S, rows, endpoint=True), left_s)
    rise = 0.01 + columns["tx_amount"] * rng.uniform(*RESENT_AMOUNT_RISE, rows)  # a cent at least, so that it shows
    changed = (rng.random(rows) >= RESENT_UNCHANGED_SHARE) & (delay_s > 0)
    delay_s = np.where(changed, delay_s, 0)
    return {
        **columns,
        "tx_datetime": columns["tx_datetime"] + delay_s.astype("timedelta64[s]"),
        "tx_time_seconds": columns["tx_time_seconds"] + delay_s,
        "tx_amount": np.where(changed, np.round(columns["tx_amount"] + rise, 2), columns["tx_amount"]),
    }


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DayRecord:
    """Say what one day's file holds, so that a later run need not read its rows."""

    next_id: int
    rows: int
    frauds_by_scenario: dict[str, int]


def _complete_days(settings: SimulationSettings, folder: Path, *, progress: bool) -> list[DayRecord]:
    """Return the record of each day, writing the days that the folder lacks."""
    missing = [day for day in range(settings.days) if not _day_path(settings, folder, day).exists()]
    if missing:
        # The summary says that a history is complete; while days are missing it must not.
        (folder / SUMMARY_NAME).unlink(missing_ok=True)
    population = draw_population(settings) if missing else None
    records: list[DayRecord] = []
    for day in tqdm(range(settings.days), desc="Simulating", unit="day", disable=None if progress else True):
        path = _day_path(settings, folder, day)
        if population is not None and day in missing:
            first_id = records[-1].next_id if records else 0
            records.append(_write_day(settings, population, path, day=day, first_id=first_id))
        else:
            records.append(_read_record(path))
    return records


def _write_day(
    settings: SimulationSettings, population: Population, path: Path, *, day: int, first_id: int
) -> DayRecord:
    payments = draw_day(settings, population, day)
    columns = _to_columns(settings, payments, day=day, first_id=first_id)
    if settings.dirt:
        columns = _make_dirty(_generator(settings, _Stream.DIRT, day), columns, settings.dirt)
    counts = np.bincount(columns["tx_fraud_scenario"], minlength=len(Scenario))
    frauds = {scenario.name.lower(): int(counts[scenario]) for scenario in Scenario if scenario != Scenario.HONEST}
    record = DayRecord(first_id + len(payments), len(columns["transaction_id"]), frauds)
    note = json.dumps({"settings": _fingerprint(settings), **asdict(record)})
    table = pa.table(columns, schema=SCHEMA.with_metadata({METADATA_KEY: note}))
    with _atomic_file(path) as sink:
        pq.write_table(table, sink, compression="zstd")
    return record


def _write_summary(settings: SimulationSettings, folder: Path, records: list[DayRecord]) -> SimulationSummary:
    frauds = {
        name: sum(record.frauds_by_scenario[name] for record in records) for name in records[0].frauds_by_scenario
    }
    rows = sum(record.rows for record in records)
    content = {
        "settings": {**_fingerprint(settings), "days": settings.days},
        "rows": rows,
        "frauds_by_scenario": frauds,
    }
    with _atomic_file(folder / SUMMARY_NAME) as sink:
        sink.write((json.dumps(content, indent=2) + "\n").encode())
    return SimulationSummary(folder=folder, days=settings.days, rows=rows, frauds_by_scenario=frauds)


def _refuse_foreign_files(settings: SimulationSettings, folder: Path) -> None:
    """Raise when a Parquet file of the folder is not a day of this very history."""
    for path in sorted(folder.glob("*.parquet")):
        found = _read_note(path).get("settings")
        if found is None or DAY_FILE.fullmatch(path.name) is None:
            raise SimulationError(f"{folder} holds {path.name}, which no simulation wrote; choose another folder")
        if difference := _difference(_fingerprint(settings), found):
            raise SimulationError(f"{folder} holds days of other settings: {difference}; choose another folder")
        if path.name > _day_path(settings, folder, settings.days - 1).name:
            raise SimulationError(f"{folder} holds more than days={settings.days}, such as {path.name}")


def _difference(asked: dict[str, Any], found: dict[str, Any]) -> str:
    names = [name for name in sorted({*asked, *found}) if asked.get(name) != found.get(name)]
    return ", ".join(f"{name} is {found.get(name)} there and {asked.get(name)} here" for name in names)


def _fingerprint(settings: SimulationSettings) -> dict[str, Any]:
    """Return what decides a day's rows, ready for JSON; the number of days does not."""
    values = {**asdict(settings), "start": settings.start.isoformat(), "generator": GENERATOR}
    values.update(dirt=float(settings.dirt), radius=float(settings.radius))  # 0 and 0.0 give the same rows
    del values["days"]
    return values


def _read_record(path: Path) -> DayRecord:
    note = _read_note(path)
    return DayRecord(note["next_id"], note["rows"], note["frauds_by_scenario"])


def _read_note(path: Path) -> dict[str, Any]:
    """Return what `_write_day` noted in the file; nothing when another program wrote it."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid as error:
        raise SimulationError(f"{path} is not a readable Parquet file; delete it or choose another folder") from error
    note: dict[str, Any] = json.loads(metadata.get(METADATA_KEY, b"{}"))
    return note


def _day_path(settings: SimulationSettings, folder: Path, day: int) -> Path:
    return folder / f"transactions-{settings.start + timedelta(days=day)}.parquet"


@contextmanager
def _atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that becomes `path` at the end, or nothing when the writing fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_temporary_files(folder: Path) -> None:
    """Remove what a killed run could not."""
    for pattern in (".transactions-*.tmp", f".{SUMMARY_NAME}.*.tmp"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


@contextmanager
def _os_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise SimulationError(f"cannot write the simulation into {folder}: {reason}") from error
