"""Folders of a store that are worked on here: fetched before, published as a snapshot afterwards."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.address import Location
from model.training.addresses.opening import open_address
from model.training.addresses.place import Place
from model.training.addresses.snapshot import snapshot

FOLDER = "copies"  # in the work folder


@contextmanager
def worked_on_here(address: Location, work_folder: Path) -> Iterator[Path]:
    """Give a folder here for a folder at an address; a path is given as it is.

    What the address holds is fetched, unless an interrupted run has left its own work. When the block ends, all that
    is in the folder becomes the next snapshot at the address; if it fails, the address is as it was.

    Raises
    ------
    AddressError
        If the store fails; known at the begin, where credentials or the bucket are wrong.
    """
    if isinstance(address, Path):
        yield address
        return
    place, folder = open_address(address), _folder(address, work_folder)
    if place.exists() and not folder.exists():
        _fetch(place, folder)
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    with snapshot(place) as draft:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and not any(part[0] in "._" for part in name.split("/")):
                draft.upload(name, path)
    shutil.rmtree(folder)


def fetched(address: Location, folder: Path) -> Path:
    """Return a folder here with the files of an address; a path is returned as it is.

    Parameters
    ----------
    folder
        Where files of a store are put; must be empty or not be there.
    """
    if isinstance(address, Path):
        return address
    _fetch(open_address(address), folder)
    return folder


def _fetch(place: Place, folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for file in place.list_files():
        target = draft / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open() as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    if folder.exists():
        folder.rmdir()
    draft.rename(folder)


def _folder(address: str, work_folder: Path) -> Path:
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    return work_folder / FOLDER / f"{address.rpartition('/')[2]}-{digest}"
