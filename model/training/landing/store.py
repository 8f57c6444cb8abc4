"""Where landed files go: each appears whole, or not at all, and one of the same name takes the place of the old."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from model.training.landing.contract import LandingError

MARKER = "_landing.json"


class StoreAwayError(Exception):
    """The store cannot be reached or has a fault of its own; trying again is right."""


class Store(Protocol):
    """A folder, wherever it lies.

    Each method raises `StoreAwayError` where trying again is right and `LandingError` where it is not.
    """

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, in the place of one with this name; it is safe when this returns."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is none."""

    def names(self) -> Iterator[str]:
        """Yield the names of all files, without their folders."""


class Folder:
    """A folder of a file system that is mounted here."""

    def __init__(self, address: Path) -> None:
        self._address = address

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole; see `Store`."""
        path = self._address / name
        # Readers leave out names that begin with a dot; a repeat writes over what a crash left.
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
            _sync(path.parent)
        except OSError as error:
            raise StoreAwayError(f"{self._address}: cannot be written to ({error.strerror})") from error

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is none."""
        try:
            return (self._address / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreAwayError(f"{self._address}: cannot be read ({error.strerror})") from error

    def names(self) -> Iterator[str]:
        """Yield the names of all files, without their folders."""
        return (path.name for path in self._address.rglob("*") if path.is_file())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_store(address: str) -> Store:
    """Return the store at an address."""
    return Folder(Path(address))


def claim(store: Store, address: str, *, kind: str, topic: str, topic_id: str) -> None:
    """Note which topic lands at an address, or compare it with what was noted.

    Two topics in one folder would write over each other's files, and so would one that was deleted and made anew, whose
    offsets begin at 0 again.

    Raises
    ------
    LandingError
        If another topic lands there.
    """
    own = {"layout": 1, "kind": kind, "topic": topic, "topic_id": topic_id}
    noted = store.read(MARKER)
    if noted is None:
        store.write(MARKER, json.dumps(own, indent=1).encode() + b"\n")
        return
    try:
        found = json.loads(noted)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise LandingError(f"{address}/{MARKER}: not a note of a landing; land at another address")
    if found == own:
        return
    if found | {"topic_id": topic_id} == own:
        raise LandingError(
            f"{address}: the topic {topic} was deleted and made anew since files were landed there; its offsets began"
            " again and would write over them: land at another address"
        )
    raise LandingError(
        f"{address}: {found.get('kind')} of the topic {found.get('topic')} land there, layout {found.get('layout')};"
        " land at another address"
    )
