"""The file that says which files of a folder are its current snapshot: sizes and SHA-256 of each."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from model.address import AddressError

MANIFEST_NAME = "_manifest.json"
DRAFT_PREFIX = "_snapshot-"  # readers of folders leave out what begins with an underscore
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a snapshot: its path below the folder, `_snapshot-.../date=.../a.parquet`."""

    name: str
    size: int
    sha256: str

    @property
    def logical_name(self) -> str:
        """Return the name without the folder of the snapshot."""
        first, _, rest = self.name.partition("/")
        return rest if first.startswith(DRAFT_PREFIX) else self.name


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of a snapshot, and what its writer says of it."""

    entries: tuple[Entry, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folders(self) -> set[str]:
        """Return the first folder of each file."""
        return {entry.name.partition("/")[0] for entry in self.entries}

    def as_bytes(self) -> bytes:
        """Return it as the content of its file."""
        files = [asdict(entry) for entry in sorted(self.entries, key=lambda entry: entry.name)]
        return (json.dumps({"format": _FORMAT, "about": dict(self.about), "files": files}, indent=1) + "\n").encode()


def read_manifest(content: bytes, *, address: object) -> Manifest:
    """Return the manifest that a file holds.

    Raises
    ------
    AddressError
        If it is none, or of a newer format.
    """
    try:
        found = json.loads(content)
        if found["format"] != _FORMAT:
            raise ValueError("format")
        entries = tuple(Entry(str(one["name"]), int(one["size"]), str(one["sha256"])) for one in found["files"])
        about = dict(found.get("about", {}))
    except (ValueError, KeyError, TypeError) as error:
        raise AddressError(
            f"{address}: {MANIFEST_NAME} is not a manifest of this version; write the folder again"
        ) from error
    return Manifest(_safe(entries, address=address), about)


def _safe(entries: Iterable[Entry], *, address: object) -> tuple[Entry, ...]:
    entries = tuple(entries)
    for entry in entries:
        if any(part in ("", ".", "..") for part in entry.name.split("/")):
            raise AddressError(f"{address}: {MANIFEST_NAME} names a file outside its folder; write the folder again")
    return entries
