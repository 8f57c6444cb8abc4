"""A folder that is replaced as a whole: written under a name of its own, visible by its manifest, which comes last."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from model.address import AddressError
from model.training.addresses.manifest import DRAFT_PREFIX, MANIFEST_NAME, Entry, Manifest
from model.training.addresses.place import Place
from model.training.addresses.steady_file import SteadyFile

_BLOCK = 1 << 20


@dataclass(slots=True)
class Draft:
    """A snapshot that is being written.

    Attributes
    ----------
    place
        Its own folder, for engines that write by themselves (Spark: `str(draft.place)`).
    about
        What its manifest says of it; may be filled while the draft is open.
    """

    place: Place
    about: dict[str, Any] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """Write one file of it; see `Place.writing`."""
        with self.place.writing(name) as sink:
            yield sink
            sink.flush()
            self._digests[name] = _digest_of_file(Path(sink.name))

    def upload(self, name: str, source: Path) -> None:
        """Take a local file in as one file of it."""
        self.place.join(name).upload(source)
        self._digests[name] = _digest_of_file(source)

    def note_digest(self, name: str, sha256: str) -> None:
        """Take what an engine says is the SHA-256 of a file that it wrote, so that nobody reads it again for it."""
        self._digests[name] = sha256

    def entries(self) -> list[Entry]:
        """Return the files that are there, with their sizes and digests; what was not written here is read for it."""
        found = self.place.below() if self.place.exists() else {}
        lost = sorted(set(self._digests) - set(found))
        if lost:
            raise AddressError(
                f"{self.place}: {lost[0]} is gone before the snapshot was published: another run writes to the same"
                " folder; nothing was published, repeat this one alone"
            )
        folder = self.place.path.rpartition("/")[2]
        return [Entry(f"{folder}/{name}", size, self._digest(name, size)) for name, (size, _) in found.items()]

    def _digest(self, name: str, size: int) -> str:
        known = self._digests.get(name)
        return known if known is not None else _digest_of(SteadyFile(self.place.join(name), size))


@contextmanager
def snapshot(place: Place, *, about: Mapping[str, Any] | None = None) -> Iterator[Draft]:
    """Write the next snapshot of a folder; readers see it, whole, when the block ends, and the one before until then.

    What earlier attempts that broke off have left goes first, and so does the snapshot before the present one, whose
    readers have had a whole interval to finish. One writer at a time: of two, the one that was overtaken fails.

    Raises
    ------
    AddressError
        If the store fails, nothing was written, or another writer came in between; the snapshot before stays. If the
        folder holds files that are of no snapshot: its manifest would hide them from every reader.
    """
    present = place.manifest()
    if present is None:
        _check_nothing_would_be_hidden(place)
    keep = present.folders if present is not None else set()
    _remove_others(place, keep=keep)
    draft = Draft(
        place.join(f"{DRAFT_PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"), {**(about or {})}
    )
    try:
        yield draft
        entries = draft.entries()
        if not entries:
            raise AddressError(f"{place}: a snapshot without a file; nothing was published")
        place.write_bytes(MANIFEST_NAME, Manifest(tuple(entries), draft.about).as_bytes())
    except BaseException:
        with suppress(AddressError):
            draft.place.delete()
        raise


def verify(place: Place) -> None:
    """Read all files of a snapshot and compare their SHA-256 with the manifest.

    Raises
    ------
    AddressError
        Naming the first that differs, or if there is no manifest.
    """
    if place.manifest() is None:
        raise AddressError(f"{place}: there is no {MANIFEST_NAME}")
    for file in place.list_files():
        if _digest_of(file.open()) != file.tag:
            raise AddressError(f"{file}: its content is not what {MANIFEST_NAME} says; write the folder again")


def _check_nothing_would_be_hidden(place: Place) -> None:
    found = min(place.below(), default=None) if place.exists() else None
    if found is not None:
        raise AddressError(
            f"{place}: there are other files, {found} for one, which a snapshot would hide from readers; nothing was"
            " written, name an empty folder or a new one"
        )


def _remove_others(place: Place, *, keep: set[str]) -> None:
    from pyarrow.fs import FileSelector

    if not place.exists():
        return
    selector = FileSelector(place.path, allow_not_found=True)
    for info in place.ask(lambda: place.filesystem.get_file_info(selector)):
        name = info.path.rstrip("/").rpartition("/")[2]
        if name.startswith(DRAFT_PREFIX) and name not in keep:
            place.delete(name)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _digest_of(source: SteadyFile) -> str:
    digest = hashlib.sha256()
    with source:
        while block := source.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
