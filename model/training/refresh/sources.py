"""Which files of history and reports there are, and which of them an earlier run has not read as they are now."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from model.address import Location
from model.training.addresses import Days, PlacedFile, with_tags
from model.training.history import FileAt, find_files
from model.training.reports import find_reports

HISTORY, REPORTS = "history", "reports"


@dataclass(frozen=True, slots=True)
class Source:
    """One file as it was found: `kind` is `HISTORY` or `REPORTS`, `name` its path below the address given.

    `tag` is what a store or a manifest says of its content, the ETag or SHA-256; where there is one, the time of change
    is of no account and 0.
    """

    kind: str
    name: str
    size: int
    mtime_ns: int
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Where a source lies and how it is written (`parquet`, `csv`, `csv.gz`)."""

    path: FileAt
    format: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be read, and the numbers of the files whose rows are to go; a changed file is both."""

    new: Mapping[Source, Found]
    gone: Collection[int]

    def without(self, skipped: Collection[Source]) -> "Changes":
        """Return the changes without files that could not be read."""
        return Changes({source: place for source, place in self.new.items() if source not in skipped}, self.gone)


def find_sources(history: Location, reports: Location | None, *, days: Days | None = None) -> dict[Source, Found]:
    """Return all files of a history and, if given, of reports.

    Size and time are noted before a file is read: if it changes meanwhile, the next run reads it again.

    Parameters
    ----------
    days
        The days that matter: folders `date=YYYY-MM-DD/` of the history of others are left out. Of reports none are.

    Raises
    ------
    AddressError
        If a store fails.
    HistoryError
        If there is no file of history, or no such file or folder of reports. A folder of reports may be empty.
    """
    sources = _sources(HISTORY, history, find_files(history, days=days))
    return sources if reports is None else sources | _sources(REPORTS, reports, find_reports(reports))


def _sources(kind: str, address: Location, found: list[tuple[FileAt, str]]) -> dict[Source, Found]:
    tagged = iter(with_tags([file for file, _ in found if isinstance(file, PlacedFile)]))
    sources = {}
    for path, written in found:
        if isinstance(path, Path):
            sources[_local_source(kind, path, Path(address))] = Found(path, written)
        else:
            file = next(tagged)
            sources[_placed_source(kind, file)] = Found(file, written)
    return sources


def _local_source(kind: str, path: Path, address: Path) -> Source:
    facts = path.stat()
    name = path.relative_to(address).as_posix() if path != address else path.name
    return Source(kind, name, facts.st_size, facts.st_mtime_ns)


def _placed_source(kind: str, file: PlacedFile) -> Source:
    return Source(kind, file.name, file.size, 0 if file.tag else file.modified_ns, file.tag)


def changes(known: Mapping[Source, int], found: Mapping[Source, Found]) -> Changes:
    """Return what differs between the files that the state knows, by number, and those that are there."""
    return Changes(
        {source: place for source, place in found.items() if source not in known},
        [number for source, number in known.items() if source not in found],
    )
