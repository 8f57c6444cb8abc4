"""Random histories that arrive in pieces, and what a preparation from scratch makes of them."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from model.statistics import HOUR, Snapshot
from model.training.database import connect
from model.training.dataset import read_snapshot
from model.training.prepare import CleaningError, prepare
from model.training.progress import Stages
from model.training.refresh.advance import Fresh, Task, advance
from model.training.refresh.contract import Rules
from model.training.terms import Terms
from tests.model.training.histories import HASHER, START, Row, moment, write_csv, write_parquet

DAY = 24 * HOUR
LABEL_DELAY = 30 * HOUR
LONGEST_REPORT_DELAY = 10 * DAY
RULES = Rules(LABEL_DELAY, LONGEST_REPORT_DELAY // HOUR)
SPAN = 75 * DAY  # of a random history: longer than the state keeps it
FIRST = START - START % DAY


@dataclass(frozen=True)
class Report:
    """One line of a file of reports; `tx_fraud` None leaves the field empty."""

    transaction_id: int | str
    seconds: int
    tx_fraud: int | None


@dataclass
class Bank:
    """A folder of history and one of reports, as files come, change and go."""

    folder: Path
    rows: dict[str, list[Row]] = field(default_factory=dict)
    reports: dict[str, list[Report]] = field(default_factory=dict)

    @property
    def history(self) -> Path:
        return self.folder / "history"

    def write(self, name: str, rows: Sequence[Row]) -> None:
        """Write a file of history, in the place of an earlier one of this name."""
        self.rows[name] = [{"report_datetime": None} | row for row in rows]
        (write_csv if ".csv" in name else write_parquet)(self.history / name, self.rows[name])

    def write_reports(self, name: str, reports: Sequence[Report]) -> None:
        """Write a file of reports."""
        lines = [
            {"transaction_id": one.transaction_id, "report_datetime": moment(one.seconds), "tx_fraud": one.tx_fraud}
            for one in reports
        ]
        (write_csv if ".csv" in name else write_parquet)(self.folder / "reports" / name, lines)
        self.reports[name] = list(reports)

    def remove(self, name: str) -> None:
        """Let a file of history vanish."""
        (self.history / name).unlink()
        del self.rows[name]

    def task(self, as_of_hour: int | None = None) -> Task:
        """Return the task of a refresh of this bank."""
        (self.folder / "reports").mkdir(parents=True, exist_ok=True)
        return Task(
            self.history,
            self.folder / "reports",
            self.folder / "work",
            RULES,
            HASHER,
            memory_limit="1GB",
            threads=1,
            as_of_hour=as_of_hour,
        )


def refreshed(task: Task, said: list[str] | None = None) -> Fresh:
    """Bring the state up to date, as a refresh does it."""
    notes: list[str] = [] if said is None else said
    with Stages(9, shown=False) as stages:
        return advance(task, stages=stages, say=notes.append)


def from_scratch(bank: Bank, *, as_of_hour: int, work: Path, reports_apart: bool = False) -> Snapshot | None:
    """Return the statistics that preparing everything gives, None where no row can be used.

    Reports are read as they are, or worked into the rows beforehand, as a bank would have written them had it known.
    """
    history, reports = bank.history, bank.folder / "reports" if reports_apart else None
    if not reports_apart:
        known = Bank(work / "known")
        history = known.history
        for name, rows in bank.rows.items():
            known.write(name, [_with_reports(row, _judged(bank.reports.values())) for row in rows])
    with connect(work / "scratch", memory_limit="1GB", threads=1) as connection:
        try:
            prepare(connection, history, Terms(HASHER, LABEL_DELAY, reports))
        except CleaningError:
            return None
        return read_snapshot(connection, as_of_hour=as_of_hour)


def _judged(files: Iterable[Sequence[Report]]) -> dict[str, tuple[int, int | None]]:
    """Go through all reports in order of time, as a person would: label and report time by transaction."""
    judged: dict[str, tuple[int, int | None]] = {}
    # Of one moment a withdrawal comes last.
    lines = sorted((one for file in files for one in file), key=lambda one: (one.seconds, one.tx_fraud == 0))
    for one in lines:
        label, at = judged.get(str(one.transaction_id), (0, None))
        if one.tx_fraud == 0:
            label, at = 0, None
        elif not label:
            label, at = 1, one.seconds
        judged[str(one.transaction_id)] = (label, at)
    return judged


def _with_reports(row: Row, judged: dict[str, tuple[int, int | None]]) -> Row:
    verdict = judged.get(str(row["transaction_id"]))
    if verdict is None or row["tx_fraud"] not in (0, 1, None):
        return row
    label, seconds = verdict
    return row | {"tx_fraud": label, "report_datetime": None if seconds is None else moment(seconds)}


def random_moment(draw: random.Random, number: int) -> int:
    """Return a moment for something of a transaction; all that concerns one lies within the longest report delay."""
    home = FIRST + (number * 104_729) % (SPAN - LONGEST_REPORT_DELAY)
    return home + draw.choice((0, draw.randrange(0, LONGEST_REPORT_DELAY - LABEL_DELAY, 600)))


def random_row(draw: random.Random, number: int) -> Row:
    """Return a row as dirty as history is."""
    seconds = random_moment(draw, number)
    fraud = draw.choice((0, 0, 0, 1, 1, None))
    own_time = draw.random() < 0.3
    row: Row = {
        "transaction_id": number,
        "tx_datetime": moment(seconds),
        "customer_id": draw.randrange(4),
        "terminal_id": draw.randrange(3),
        "tx_amount": round(draw.random() * 500, draw.choice((0, 2, 3))),
        "tx_fraud": fraud,
        "tx_fraud_scenario": draw.choice((0, 2, None)),
        "report_datetime": moment(random_moment(draw, number)) if own_time else None,
    }
    if draw.random() < 0.08:
        row |= draw.choice(
            (
                {"tx_datetime": None},
                {"transaction_id": -999_999},
                {"customer_id": -999_999},
                {"terminal_id": None},
                {"tx_amount": -1.0},
                {"tx_fraud": 7},
            )
        )
    return row


def same(one: Snapshot, other: Snapshot) -> bool:
    """Return whether two snapshots are equal to the last bit."""
    pairs = [(one.customer, other.customer), (one.terminal, other.terminal)]
    return one.as_of_hour == other.as_of_hour and all(
        a.keys.tobytes() == b.keys.tobytes() and a.sums.tobytes() == b.sums.tobytes() for a, b in pairs
    )


def with_hour(task: Task, as_of_hour: int) -> Task:
    """Return the task for another hour."""
    return replace(task, as_of_hour=as_of_hour)
