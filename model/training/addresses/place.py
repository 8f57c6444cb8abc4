"""A place in a file system: list, read, write whole files so that nobody ever sees half of one."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import pyarrow.fs as pafs

from model.address import AddressError
from model.training.addresses.days import Days
from model.training.addresses.faults import patiently
from model.training.addresses.listing import Facts, PlacedFile, is_public, listed
from model.training.addresses.manifest import MANIFEST_NAME, Manifest, read_manifest
from model.training.addresses.steady_file import SteadyFile
from model.training.addresses.writing import local_writing, put, upload_and_rename

T = TypeVar("T")

_READ_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder, there or yet to be made.

    Attributes
    ----------
    address
        Its text, `s3://bucket/prefix` or a path, for people; it holds no secret.
    filesystem, path
        The file system, and the path in it.
    patience
        Seconds for which a store that does not answer is asked again.
    """

    address: str
    filesystem: pafs.FileSystem = field(compare=False)
    path: str
    patience: float

    def __str__(self) -> str:
        return self.address

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's own file system."""
        return bool(self.filesystem.type_name == "local")

    @property
    def renames(self) -> bool:
        """Whether files can be renamed in one step; S3 cannot, but shows a file only once it is whole."""
        return bool(self.filesystem.type_name != "s3")

    def join(self, name: str) -> "Place":
        """Return the place of a path below this one; with an empty one, this."""
        if not name:
            return self
        return replace(self, address=f"{self.address.rstrip('/')}/{name}", path=f"{self.path.rstrip('/')}/{name}")

    def info(self, name: str = "") -> pafs.FileInfo:
        """Return what is known of a file or folder; its `type` is `NotFound` where there is none."""
        place = self.join(name)
        return place.ask(lambda: place.filesystem.get_file_info(place.path))

    def exists(self, name: str = "") -> bool:
        """Return whether there is such a file or folder."""
        return bool(self.info(name).type != pafs.FileType.NotFound)

    def list_files(self, days: Days | None = None) -> list[PlacedFile]:
        """Return the files below a folder, in the order of their names; of a file, the file itself.

        Where the folder has a manifest, they are the files of its snapshot. Otherwise files and folders whose names
        begin with `.` or `_` are left out: they are being written, or notes.

        Parameters
        ----------
        days
            Leave out folders named after other days, `date=2026-01-31/`.

        Raises
        ------
        AddressError
            If there is no such file or folder, or a file of the snapshot is gone or of another size.
        """
        top = self.info()
        if top.type == pafs.FileType.File:
            return [PlacedFile(self, self.path.rpartition("/")[2], top.size, _modified(top))]
        manifest = self.manifest()  # first: what a manifest names is there, and stays until the snapshot after the next
        files = listed(self, self._below(), manifest)
        return sorted((file for file in files if days is None or days.may_hold(file.name)), key=lambda file: file.name)

    def manifest(self) -> Manifest | None:
        """Return the manifest of a folder, None where there is none."""
        if not self.exists(MANIFEST_NAME):
            return None
        return read_manifest(self.read_bytes(MANIFEST_NAME), address=self.address)

    def open_input(self, name: str = "") -> SteadyFile:
        """Open a file to read; it may be given to pyarrow, or read in pieces."""
        place = self.join(name)
        info = place.info()
        if info.type != pafs.FileType.File:
            raise AddressError(f"{place}: there is no such file")
        return SteadyFile(place, info.size)

    def read_bytes(self, name: str = "") -> bytes:
        """Return the content of a file."""
        with self.open_input(name) as source:
            return source.read()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file, in the place of one of this name."""
        with self.writing(name) as sink:
            sink.write(content)

    @contextmanager
    def writing(self, name: str = "") -> Iterator[BinaryIO]:
        """Open a file to write; it is there, whole, when the block ends, and not at all if the block fails.

        A file of this name is replaced. What is written waits in a temporary file: beside the target on a local disk,
        in the folder of temporary files (TMPDIR) for a store.

        Raises
        ------
        AddressError
            If it cannot be written.
        """
        place = self.join(name)
        if place.is_local:
            with local_writing(Path(place.path), address=place.address) as sink:
                yield sink
            return
        with tempfile.NamedTemporaryFile(prefix="antifraud-upload-") as sink:
            yield cast(BinaryIO, sink)
            sink.flush()
            place.upload(Path(sink.name))

    def upload(self, source: Path) -> None:
        """Let a local file become this file, in one step."""
        if self.is_local:
            with self.writing() as sink, source.open("rb") as content:
                while block := content.read(_READ_AT_ONCE):
                    sink.write(block)
        elif self.renames:
            upload_and_rename(self.filesystem, self.path, source, ask=self.ask)
        else:
            self.ask(lambda: put(self.filesystem, self.path, source))

    def delete(self, name: str = "") -> None:
        """Delete a file, or a folder with all that is in it; none is no error."""
        place = self.join(name)
        info = place.info()
        if info.type == pafs.FileType.File:
            place.ask(lambda: place.filesystem.delete_file(place.path))
        elif info.type == pafs.FileType.Directory:
            place.ask(lambda: place.filesystem.delete_dir(place.path))

    def ask(self, action: Callable[[], T]) -> T:
        """Do something in the file system: again where that helps, and with an `AddressError` where it fails."""
        return patiently(self.address, action, patience=self.patience)

    def below(self, *, hidden: bool = False) -> dict[str, Facts]:
        """Return size and time of change (ns) of every file below a folder, by its path there."""
        found = self._below()
        return found if hidden else {name: facts for name, facts in found.items() if is_public(name)}

    def _below(self) -> dict[str, Facts]:
        selector = pafs.FileSelector(self.path, recursive=True)
        infos = self.ask(lambda: self.filesystem.get_file_info(selector))
        start = len(self.path.rstrip("/")) + 1
        return {info.path[start:]: (info.size, _modified(info)) for info in infos if info.type == pafs.FileType.File}


def _modified(info: pafs.FileInfo) -> int:
    """Return when a file was changed; 0 where nobody knows."""
    return int(info.mtime_ns or 0)
