"""Files as they were listed: which of a folder count, and what tells one content from another."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model.address import AddressError
from model.training.addresses.manifest import MANIFEST_NAME, Manifest
from model.training.addresses.steady_file import SteadyFile

if TYPE_CHECKING:
    from model.training.addresses.place import Place

Facts = tuple[int, int]
"""Size in bytes, and time of change in nanoseconds since 1970."""

_AT_ONCE = 16  # requests at a time, where many files are asked about


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """One file as it was listed.

    Attributes
    ----------
    place
        Where it lies; its address names the file.
    name
        Its path below the folder that was listed; in a snapshot, below the snapshot's own folder.
    size, modified_ns
        Bytes, and nanoseconds since 1970.
    tag
        What else tells one content from another: the SHA-256 of a manifest or, once `with_tags` has asked for it, the
        ETag of S3. Empty where there is none.
    """

    place: "Place"
    name: str
    size: int
    modified_ns: int
    tag: str = ""

    def __str__(self) -> str:
        return self.place.address

    def open(self) -> SteadyFile:
        """Open it to read."""
        return SteadyFile(self.place, self.size)


def listed(place: "Place", found: Mapping[str, Facts], manifest: Manifest | None) -> list[PlacedFile]:
    """Return the files of a folder that count, of all that were found there: those of its manifest, or public ones.

    Raises
    ------
    AddressError
        If a file of the manifest is gone or of another size.
    """
    if manifest is None:
        return [PlacedFile(place.join(name), name, *facts) for name, facts in found.items() if is_public(name)]
    files = []
    for entry in manifest.entries:
        size, modified = found.get(entry.name, (-1, 0))
        if size != entry.size:
            raise AddressError(
                f"{place}: {entry.name} is not there as {MANIFEST_NAME} says; the folder was changed by hand"
                " or is being replaced: repeat the command, or write the folder again"
            )
        files.append(PlacedFile(place.join(entry.name), entry.logical_name, size, modified, entry.sha256))
    return files


def is_public(name: str) -> bool:
    """Return whether a path says neither that it is being written nor that it is a note."""
    return not any(part[0] in "._" for part in name.split("/") if part)


def with_tags(files: Sequence[PlacedFile]) -> list[PlacedFile]:
    """Return files of S3 with their ETags as tags, for a listing gives whole seconds only; others as they are."""
    if all(file.tag or file.place.renames for file in files):
        return list(files)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(_with_tag, files))


def _with_tag(file: PlacedFile) -> PlacedFile:
    if file.tag or file.place.renames:
        return file
    with file.open() as source:
        return replace(file, tag=source.metadata().get("ETag", "").strip('"'))
