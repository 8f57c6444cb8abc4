import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model.registry.contract import ArtifactError


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one version may bring to a pod's disk."""

    entries: int = 256
    total_bytes: int = 2 * 2**30
    """A million customers' statistics are a tenth of this."""


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a folder's listing; `size` in bytes, None if the store does not say."""

    name: str
    is_folder: bool
    size: int | None


class FileStore(Protocol):
    """A folder tree that can be listed and copied from; paths are relative, with `/` between the parts."""

    def entries(self, path: str) -> Iterable[Entry]:
        """List one folder."""

    def fetch(self, path: str, target: Path, *, most_bytes: int) -> None:
        """Copy one file, giving up once it is longer than `most_bytes`."""


def download(store: FileStore, folder: Path, *, what: str, limits: Limits = DEFAULT_LIMITS) -> None:
    """Copy a whole tree into an empty or new folder, completely or not at all.

    Parameters
    ----------
    what
        The name of the tree in errors.

    Raises
    ------
    ArtifactError
        A file is missing, too large, incomplete or named outside the folder; or the folder holds something.
    """
    with _complete_or_absent(folder, what=what) as staging:
        files = _plan(store, what=what, limits=limits)
        spare = limits.total_bytes
        for path, size in files:
            target = staging / path
            target.parent.mkdir(parents=True, exist_ok=True)
            store.fetch(path, target, most_bytes=spare if size is None else size)
            spare -= _checked_size(target, size, what=f"{path} of {what}")


def too_long(path: str, most_bytes: int) -> ArtifactError:
    """Return the error of a file that does not end where it should."""
    return ArtifactError(f"{path} is longer than the {most_bytes} bytes that it may have")


def _plan(store: FileStore, *, what: str, limits: Limits) -> list[tuple[str, int | None]]:
    files: list[tuple[str, int | None]] = []
    folders = [""]
    seen = 0
    while folders:
        parent = folders.pop()
        for entry in store.entries(parent):
            seen += 1
            if seen > limits.entries:
                raise ArtifactError(f"{what} has more than {limits.entries} files and folders")
            path = f"{parent}/{_plain(entry.name, what=what)}".lstrip("/")
            if entry.is_folder:
                folders.append(path)
            else:
                files.append((path, entry.size))
    _check_amount(files, what=what, limits=limits)
    return files


def _plain(name: str, *, what: str) -> str:
    if name in ("", ".", "..") or any(sign in name for sign in "/\\:\0"):
        raise ArtifactError(f"{what} has a file name that could lead out of its folder; nothing was written")
    return name


def _check_amount(files: list[tuple[str, int | None]], *, what: str, limits: Limits) -> None:
    if not files:
        raise ArtifactError(f"{what} has no files: its upload was lost or its folder moved")
    if len({path for path, _ in files}) < len(files):
        raise ArtifactError(f"{what} lists a file twice")
    total = sum(size or 0 for _, size in files)
    if total > limits.total_bytes:
        raise ArtifactError(f"{what} takes {total} bytes, more than the {limits.total_bytes} allowed")


def _checked_size(target: Path, announced: int | None, *, what: str) -> int:
    size = target.stat().st_size
    if announced is not None and size != announced:
        raise ArtifactError(f"{what} is incomplete: {size} of {announced} bytes arrived")
    return size


@contextmanager
def _complete_or_absent(folder: Path, *, what: str) -> Iterator[Path]:
    try:
        _refuse_occupied(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            yield staging
            # An empty folder is replaced, one that was filled meanwhile is not.
            staging.replace(folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise ArtifactError(f"{what} cannot be written to {folder}: {error.strerror or error}") from error


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArtifactError(f"{folder} already holds something: give an empty or new folder")
