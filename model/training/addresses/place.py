"""A place in a file system: list, read, write whole files so that nobody ever sees half of one."""

import io
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import pyarrow as pa
import pyarrow.fs as pafs

from model.address import AddressError
from model.training.addresses.days import Days
from model.training.addresses.faults import TransientError, patiently
from model.training.addresses.manifest import MANIFEST_NAME, Manifest, read_manifest

T = TypeVar("T")

_DRAFT_SUFFIX = ".draft"
_ABANDONED_SECONDS = 900  # age from which on a draft is one of an attempt that broke off
_READ_AT_ONCE = 1 << 23
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

    def open(self) -> "SteadyFile":
        """Open it to read."""
        return SteadyFile(self.place, self.size)


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
        found = self._below()
        if manifest is not None:
            listed = self._of_snapshot(manifest, found)
        else:
            listed = [PlacedFile(self.join(name), name, *facts) for name, facts in found.items() if _is_public(name)]
        return sorted((file for file in listed if days is None or days.may_hold(file.name)), key=lambda file: file.name)

    def manifest(self) -> Manifest | None:
        """Return the manifest of a folder, None where there is none."""
        if not self.exists(MANIFEST_NAME):
            return None
        return read_manifest(self.read_bytes(MANIFEST_NAME), address=self.address)

    def open_input(self, name: str = "") -> "SteadyFile":
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
            with _local_writing(Path(place.path), address=place.address) as sink:
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
            self._upload_and_rename(source)
        else:
            self.ask(lambda: _put(self.filesystem, self.path, source))

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

    def below(self, *, hidden: bool = False) -> dict[str, tuple[int, int]]:
        """Return size and time of change (ns) of every file below a folder, by its path there."""
        found = self._below()
        return found if hidden else {name: facts for name, facts in found.items() if _is_public(name)}

    def _below(self) -> dict[str, tuple[int, int]]:
        selector = pafs.FileSelector(self.path, recursive=True)
        infos = self.ask(lambda: self.filesystem.get_file_info(selector))
        start = len(self.path.rstrip("/")) + 1
        return {info.path[start:]: (info.size, _modified(info)) for info in infos if info.type == pafs.FileType.File}

    def _of_snapshot(self, manifest: Manifest, found: dict[str, tuple[int, int]]) -> list[PlacedFile]:
        listed = []
        for entry in manifest.entries:
            size, modified = found.get(entry.name, (-1, 0))
            if size != entry.size:
                raise AddressError(
                    f"{self.address}: {entry.name} is not there as {MANIFEST_NAME} says; the folder was changed by hand"
                    " or is being replaced: repeat the command, or write the folder again"
                )
            listed.append(PlacedFile(self.join(entry.name), entry.logical_name, size, modified, entry.sha256))
        return listed

    def _upload_and_rename(self, source: Path) -> None:
        folder, _, last = self.path.rpartition("/")
        self.ask(lambda: self.filesystem.create_dir(folder, recursive=True))
        self._remove_abandoned(folder, last)
        draft = f"{folder}/{_draft_name(last)}"
        client = self.filesystem.handler.fs

        def put() -> None:
            with source.open("rb") as content:
                client.write_file(draft, content)

        try:
            self.ask(put)
            self.ask(lambda: self.filesystem.move(draft, self.path))
        except BaseException:
            with suppress(OSError):
                self.filesystem.delete_file(draft)
            raise

    def _remove_abandoned(self, folder: str, last: str) -> None:
        infos = self.ask(lambda: self.filesystem.get_file_info(pafs.FileSelector(folder)))
        for info in infos:
            if _is_draft(info.base_name, of=last) and time.time() - _modified(info) / 1e9 > _ABANDONED_SECONDS:
                with suppress(OSError):
                    self.filesystem.delete_file(info.path)


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


class SteadyFile(io.RawIOBase):
    """A file open to read at any point; what fails for the moment is asked for again, what comes short is no content.

    Raises
    ------
    AddressError
        From every method that reads.
    """

    mode = "rb"

    def __init__(self, place: Place, size: int) -> None:
        super().__init__()
        self._place, self.size, self._at = place, size, 0
        self._source: pa.NativeFile | None = None

    def readable(self) -> bool:
        """Return whether it can be read, which it can."""
        return True

    def seekable(self) -> bool:
        """Return whether it can be read at any point, which it can."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose where the next read begins."""
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence])
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes: as many as asked for, fewer only at the end."""
        content = self.read_at(self._at, size)
        self._at += len(content)
        return content

    def read_at(self, offset: int, size: int | None = -1) -> bytes:
        """Return the bytes from an offset on; several threads may do so at once."""
        left = max(0, self.size - offset)
        wanted = left if size is None or size < 0 else min(size, left)
        return self._place.ask(lambda: self._read(offset, wanted)) if wanted else b""

    def readall(self) -> bytes:
        """Return all that is left."""
        return self.read()

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        """Fill a buffer with the next bytes; return how many there were."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Let go of the connection."""
        if self._source is not None:
            with suppress(OSError):
                self._source.close()
            self._source = None
        super().close()

    def metadata(self) -> dict[str, str]:
        """Return what the store notes of the file."""
        noted = self._place.ask(lambda: self._opened().metadata()) or {}
        return {_text(key): _text(value) for key, value in noted.items()}

    def _opened(self) -> pa.NativeFile:
        source = self._source
        if source is None:
            self._source = source = self._place.filesystem.open_input_file(self._place.path)
        return source

    def _read(self, offset: int, wanted: int) -> bytes:
        try:
            content = self._opened().read_at(wanted, offset)
            if len(content) != wanted:
                raise TransientError("short read")
        except OSError:
            self._source = None  # what comes next is a new connection
            raise
        return bytes(content)


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _modified(info: pafs.FileInfo) -> int:
    """Return when a file was changed; 0 where nobody knows."""
    return int(info.mtime_ns or 0)


def _is_public(name: str) -> bool:
    return not any(part[0] in "._" for part in name.split("/") if part)


def _put(filesystem: pafs.FileSystem, path: str, source: Path) -> None:
    """Write a whole file to S3 by one call, so that no signal can come between its parts.

    A stream that is dropped half-way would be closed, and to close it is to publish it.
    """
    content = pa.memory_map(str(source)).read_buffer() if source.stat().st_size else pa.py_buffer(b"")
    stream = filesystem.open_output_stream(path, compression=None)  # by itself it compresses names in .gz
    stream.write(content)
    stream.close()


@contextmanager
def _local_writing(path: Path, *, address: str) -> Iterator[BinaryIO]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob_escaped(path.name)}.*{_DRAFT_SUFFIX}"):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_SECONDS:
                leftover.unlink(missing_ok=True)
        draft = path.with_name(_draft_name(path.name))
        sink = draft.open("xb")
    except OSError as error:
        raise AddressError(f"{address}: cannot be written ({error.strerror})") from error
    try:
        with sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def glob_escaped(name: str) -> str:
    """Return the pattern that matches a name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _draft_name(last: str) -> str:
    return f".{last}.{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}{_DRAFT_SUFFIX}"


def _is_draft(name: str, *, of: str) -> bool:
    return name.startswith(f".{of}.") and name.endswith(_DRAFT_SUFFIX)
