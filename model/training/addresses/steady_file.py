"""A file to read, though its store may fail for a moment."""

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from model.training.addresses.faults import TransientError

if TYPE_CHECKING:
    from model.training.addresses.place import Place


class SteadyFile(io.RawIOBase):
    """A file open to read at any point; what fails for the moment is asked for again, what comes short is no content.

    Raises
    ------
    AddressError
        From every method that reads.
    """

    mode = "rb"

    def __init__(self, place: "Place", size: int) -> None:
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
