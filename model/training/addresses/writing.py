"""How one file is written so that nobody ever sees half of it: locally, on S3, and where files can be renamed."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.fs as pafs

from model.address import AddressError

Ask = Callable[[Callable[[], Any]], Any]

_DRAFT_SUFFIX = ".draft"
_ABANDONED_SECONDS = 900  # age from which on a draft is one of an attempt that broke off


@contextmanager
def local_writing(path: Path, *, address: str) -> Iterator[BinaryIO]:
    """Open a file of this machine to write; `address` is what errors call it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{_glob_escaped(path.name)}.*{_DRAFT_SUFFIX}"):
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


def _glob_escaped(name: str) -> str:
    """Return the pattern that matches a name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def put(filesystem: pafs.FileSystem, path: str, source: Path) -> None:
    """Write a whole file to S3 by one call, so that no signal can come between its parts.

    A stream that is dropped half-way would be closed, and to close it is to publish it.
    """
    content = pa.memory_map(str(source)).read_buffer() if source.stat().st_size else pa.py_buffer(b"")
    stream = filesystem.open_output_stream(path, compression=None)  # by itself it compresses names in .gz
    stream.write(content)
    stream.close()


def upload_and_rename(filesystem: pafs.FileSystem, path: str, source: Path, *, ask: Ask) -> None:
    """Write a whole file under another name and rename it, where a file grows before everybody's eyes.

    Parameters
    ----------
    ask
        Does something in the file system, again where that helps: `Place.ask`.
    """
    folder, _, last = path.rpartition("/")
    ask(lambda: filesystem.create_dir(folder, recursive=True))
    _remove_abandoned(filesystem, folder, last, ask=ask)
    draft = f"{folder}/{_draft_name(last)}"
    client = filesystem.handler.fs

    def write() -> None:
        with source.open("rb") as content:
            client.write_file(draft, content)

    try:
        ask(write)
        ask(lambda: filesystem.move(draft, path))
    except BaseException:
        with suppress(OSError):
            filesystem.delete_file(draft)
        raise


def _remove_abandoned(filesystem: pafs.FileSystem, folder: str, last: str, *, ask: Ask) -> None:
    for info in ask(lambda: filesystem.get_file_info(pafs.FileSelector(folder))):
        if _is_draft(info.base_name, of=last) and time.time() - (info.mtime_ns or 0) / 1e9 > _ABANDONED_SECONDS:
            with suppress(OSError):
                filesystem.delete_file(info.path)


def _draft_name(last: str) -> str:
    return f".{last}.{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}{_DRAFT_SUFFIX}"


def _is_draft(name: str, *, of: str) -> bool:
    return name.startswith(f".{of}.") and name.endswith(_DRAFT_SUFFIX)
