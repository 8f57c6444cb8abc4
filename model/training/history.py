"""Where raw history comes in: its files are found and opened.

This is the one seam between history as banks store it and the rest of training.
"""

from collections.abc import Iterator
from pathlib import Path

from model.address import Location, is_remote
from model.training.addresses import MANIFEST_NAME, Days, open_address
from model.training.history_columns import check_files
from model.training.history_errors import FileAt, HistoryError, PreparedHistoryError, UnreadableFileError
from model.training.prepared_layout import CLEANING, prepared_manifest
from model.training.reading import HistoryFile, history_sql
from model.training.unreadable import find_unreadable, unreadable_files, unreadable_lines

__all__ = [
    "FileAt",
    "HistoryError",
    "HistoryFile",
    "PreparedHistoryError",
    "UnreadableFileError",
    "check_files",
    "find_files",
    "find_unreadable",
    "history_sql",
    "open_history",
    "unreadable_files",
    "unreadable_lines",
]

SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv.gz"}


def open_history(address: Location, *, days: Days | None = None, skipped: list[str] | None = None) -> list[HistoryFile]:
    """Find the files of a history, a file or a folder, and check the columns of each.

    Files and folders inside it whose names begin with `.` or `_` are left out: they are being written, or notes. Where
    a folder has a manifest (`model.training.addresses.snapshot`), its files are those of the manifest.

    Parameters
    ----------
    address
        A path, `s3://bucket/prefix` or `hdfs://host:port/path`.
    days
        The days that matter: folders `date=YYYY-MM-DD/` of others are not opened.
    skipped
        Takes the names of unreadable files, which are then left out; None: they raise.

    Raises
    ------
    AddressError
        If a store cannot be reached, or refuses.
    HistoryError
        If there is no such file, no CSV or Parquet file in the folder, or a file lacks a column or holds another type
        than expected; it names the file, the column and what was expected. Of the rows, only a sample is read.
    """
    files = check_files(find_files(address, days=days), skipped=skipped)
    if not files:
        raise HistoryError(f"history {address}: none of its files can be read")
    return files


def find_files(address: Location, *, days: Days | None = None) -> list[tuple[FileAt, str]]:
    """Return the files of a history and their formats; a `HistoryError` says if there are none.

    Parameters
    ----------
    days
        As of `open_history`.

    Raises
    ------
    PreparedHistoryError
        If it is no raw history any more.
    """
    listed = _listed(address)
    if any(name == CLEANING for _, name in listed):
        _refuse_prepared(address)
    found = [(file, name, kind) for file, name in listed for kind in _kind(name)]
    if not found:
        raise HistoryError(f"history {address}: no file ends in {', '.join(SUFFIXES)}")
    chosen = [(file, kind) for file, name, kind in found if days is None or days.may_hold(name)]
    if not chosen:
        raise HistoryError(f"history {address}: no folder is of the days asked for, {days}")
    return chosen


def _refuse_prepared(address: Location) -> None:
    manifest = prepared_manifest(address)
    if manifest is not None:
        raise PreparedHistoryError(
            f"history {address}: it is a prepared history, without the ids and files that are needed here; give the"
            f" raw history that antifraud prepare made it from, {manifest.about.get('history')}"
        )


def _listed(address: Location) -> list[tuple[FileAt, str]]:
    """Return each file of an address with its path below it."""
    if is_remote(address):
        return [(file, file.name) for file in open_address(address).list_files()]
    path = Path(address)
    if not path.exists():
        raise HistoryError(f"history {path}: there is no such file or folder")
    if not path.is_dir():
        return [(path, path.name)]
    if (path / MANIFEST_NAME).is_file():
        return [(Path(str(file)), file.name) for file in open_address(path).list_files()]
    public = [file for file in sorted(path.rglob("*")) if _is_public(file, path)]
    return [(file, file.relative_to(path).as_posix()) for file in public if file.is_file()]


def _is_public(file: Path, folder: Path) -> bool:
    return not any(part[0] in "._" for part in file.relative_to(folder).parts)


def _kind(name: str) -> Iterator[str]:
    yield from (kind for suffix, kind in SUFFIXES.items() if name.lower().endswith(suffix))
