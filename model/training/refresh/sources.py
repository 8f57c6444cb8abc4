"""Which files of history and reports there are, and which of them an earlier run has not read as they are now."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from model.training.history import find_files
from model.training.reports import find_reports

HISTORY, REPORTS = "history", "reports"


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was found: `kind` is `HISTORY` or `REPORTS`, `name` its path below the address given."""

    kind: str
    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """Where a source lies and how it is written (`parquet`, `csv`, `csv.gz`)."""

    path: Path
    format: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be read, and the numbers of the files whose rows are to go; a changed file is both."""

    new: Mapping[Source, Found]
    gone: Collection[int]


def find_sources(history: Path, reports: Path | None) -> dict[Source, Found]:
    """Return all files of a history and, if given, of reports.

    Size and time are noted before a file is read: if it changes meanwhile, the next run reads it again.

    Raises
    ------
    HistoryError
        If there is no file of history, or no such file or folder of reports. A folder of reports may be empty.
    """
    sources = _find(HISTORY, history)
    return sources if reports is None else sources | _find(REPORTS, reports)


def _find(kind: str, address: Path) -> dict[Source, Found]:
    found = {}
    for path, written in find_files(address) if kind == HISTORY else find_reports(address):
        facts = path.stat()
        name = path.relative_to(address).as_posix() if path != address else path.name
        found[Source(kind, name, facts.st_size, facts.st_mtime_ns)] = Found(path, written)
    return found


def changes(known: Mapping[Source, int], found: Mapping[Source, Found]) -> Changes:
    """Return what differs between the files that the state knows, by number, and those that are there."""
    return Changes(
        {source: place for source, place in found.items() if source not in known},
        [number for source, number in known.items() if source not in found],
    )
