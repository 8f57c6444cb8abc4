"""Where landed files go: each appears whole, or not at all, and one of the same name takes the place of the old."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from model.training.addresses import AddressError, open_address
from model.training.addresses.faults import is_transient
from model.training.landing.contract import LandingError

MARKER = "_landing.json"
PATIENCE = 1.0  # seconds for one attempt; the landing itself waits and stays a member of its group meanwhile

Result = TypeVar("Result")


class StoreAwayError(Exception):
    """The store cannot be reached or has a fault of its own; trying again is right."""


class Store:
    """A folder that files land in: a path, `s3://bucket/prefix` or `hdfs://host:port/path`.

    Each method raises `StoreAwayError` where trying again is right, else `LandingError`.
    """

    def __init__(self, address: str) -> None:
        try:
            self._place = replace(open_address(address), patience=PATIENCE)
        except AddressError as error:
            raise LandingError(str(error)) from error
        # For two spellings of one address to be one: what it means, not how it was written.
        self.address = self._place.path if self._place.is_local else self._place.address

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole, in the place of one with this name; it is safe when this returns."""
        self._ask(lambda: self._place.write_bytes(name, content))

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is none."""
        return self._ask(lambda: self._place.read_bytes(name) if self._place.exists(name) else None)

    def names(self) -> Iterator[str]:
        """Yield the names of all files, without their folders."""
        found = self._ask(lambda: self._place.below(hidden=True) if self._place.exists() else {})
        return (name.rpartition("/")[2] for name in found)

    def _ask(self, action: Callable[[], Result]) -> Result:
        try:
            return action()
        except AddressError as error:
            if error.__cause__ is not None and is_transient(error.__cause__):
                raise StoreAwayError(str(error)) from error
            raise LandingError(str(error)) from error
        except OSError as error:
            raise StoreAwayError(f"{self._place}: cannot be written ({error.strerror})") from error


def claim(store: Store, *, kind: str, topic: str, topic_id: str) -> None:
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
        raise LandingError(f"{store.address}/{MARKER}: not a note of a landing; land at another address")
    if found == own:
        return
    if found | {"topic_id": topic_id} == own:
        raise LandingError(
            f"{store.address}: the topic {topic} was deleted and made anew since files were landed there; its offsets"
            " began again and would write over them: land at another address"
        )
    raise LandingError(
        f"{store.address}: {found.get('kind')} of the topic {found.get('topic')} land there, layout"
        f" {found.get('layout')}; land at another address"
    )
