"""How DuckDB reads files in a store: by the same `read_parquet` and `read_csv`, through a file system of fsspec."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from fsspec import AbstractFileSystem

from model.address import AddressError
from model.training.addresses.listing import PlacedFile
from model.training.addresses.steady_file import SteadyFile

_WINDOWS: dict[tuple[int, str], "Window"] = {}  # by connection and scheme


class Window(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The listed files of one scheme and nothing else; no name is looked up in the store again.

    Attributes
    ----------
    failure
        Why reading failed, for DuckDB puts its own words around it. Not the error itself, whose traceback would keep
        the connection for good.
    """

    cachable = False

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.protocol = scheme
        self.files: dict[str, PlacedFile] = {}
        self.failure = ""

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the one file that a pattern of `model.training.reading` stands for."""
        for letter in "*?[":
            path = path.replace(f"[{letter}]", letter)
        return [path] if path in self.files else []

    def unstrip_protocol(self, name: str) -> str:
        """Return the name, which is a whole address."""
        return name

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    def exists(self, path: str, **_: Any) -> bool:
        """Return whether it is one of the files."""
        return path in self.files

    isfile = exists

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return what the listing said of a file."""
        return {"name": path, "size": self.files[path].size, "type": "file"}

    def size(self, path: str) -> int:
        """Return the size of a file in bytes."""
        return self.files[path].size

    def modified(self, path: str) -> Any:
        """Return when a file was changed."""
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.files[path].modified_ns / 1e9, UTC)

    def open(self, path: str, mode: str = "rb", **_: Any) -> "_WatchedFile":
        """Open one of the files to read."""
        if mode != "rb":
            raise AddressError(f"{path}: DuckDB may read it only")
        return _WatchedFile(self, self.files[path])


class _WatchedFile(SteadyFile):
    """Tells its window why a read failed, and keeps apart the threads that share it.

    DuckDB reads a part of a file by a `seek` and a `read`, in several threads at a time: a seek is for the next read
    of its own thread. A read without one goes on where the last ended, whoever made it.
    """

    def __init__(self, window: Window, file: PlacedFile) -> None:
        super().__init__(file.place, file.size)
        self._window = window
        self._sought = threading.local()
        self._following = threading.Lock()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with self._following:
            at = super().seek(offset, whence)
        self._sought.at = at
        return at

    def tell(self) -> int:
        return self._at if (sought := self._take()) is None else self.seek(sought)

    def read(self, size: int | None = -1) -> bytes:
        try:
            sought = self._take()
            if sought is not None:
                content = self.read_at(sought, size)
                with self._following:
                    self._at = sought + len(content)
                return content
            with self._following:
                return super().read(size)
        except AddressError as error:
            self._window.failure = str(error)
            raise

    def _take(self) -> int | None:
        sought: int | None = getattr(self._sought, "at", None)
        self._sought.at = None
        return sought


@contextmanager
def readable(connection: duckdb.DuckDBPyConnection, files: Iterable[object]) -> Iterator[None]:
    """Let queries of a connection read files of stores; paths here need nothing, and are read by DuckDB itself.

    Blocks for one connection may stand within each other.

    Parameters
    ----------
    files
        Paths, or files as `Place.list_files` gives them.

    Raises
    ------
    AddressError
        In the place of what DuckDB says, where a store failed.
    """
    added = _show(connection, [file for file in files if isinstance(file, PlacedFile)])
    try:
        yield
    except duckdb.Error:
        raise_failed_read(connection)
        raise
    finally:
        for scheme in added:
            del _WINDOWS[id(connection), scheme]
            connection.unregister_filesystem(scheme)


def raise_failed_read(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise what a store failed of, if that is why a query of the connection failed."""
    for (number, _), window in _WINDOWS.items():
        if number == id(connection) and window.failure:
            raise AddressError(window.failure) from None


def _show(connection: duckdb.DuckDBPyConnection, files: list[PlacedFile]) -> list[str]:
    added = []
    for file in files:
        scheme = str(file).partition("://")[0]
        key = id(connection), scheme
        if key not in _WINDOWS:
            _WINDOWS[key] = Window(scheme)
            connection.register_filesystem(_WINDOWS[key])
            added.append(scheme)
        _WINDOWS[key].files[str(file)] = file
    return added
