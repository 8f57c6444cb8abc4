"""The statistics of a pod as files mapped into memory: made by a trial, checked by their hash, shared and not copied.

A million customers' profiles are 200 MB. Mapped, they cost the service no time to make, no memory of its own beside the
pages that payments touch, and two versions stand side by side during a swap without twice the memory.
"""

import hashlib
import mmap
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

import numpy as np

from model.bundle import SNAPSHOT_FILES, BundleError
from model.features import PROFILE_WIDTH, ProfileTable, profile_rows
from model.manifest import read_json, reading, verify
from model.statistics import ENTITIES, EntityStatistics, Floats, Snapshot
from service.scorer import Tables

Digests = Mapping[str, str]  # entity: SHA-256 of its profiles


def write_profiles(folder: Path, snapshot: Snapshot) -> dict[str, str]:
    """Write the profiles of a snapshot and return the SHA-256 of each file.

    A file appears complete or not at all, and one that a running service has mapped is never changed.

    Raises
    ------
    OSError
        If the disk does not take them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {
        entity: _write(_file(folder, entity), profile_rows(entity, getattr(snapshot, entity).sums))
        for entity in ENTITIES
    }


def _write(path: Path, parts: Iterable[Floats]) -> str:
    digest = hashlib.sha256()
    descriptor, draft = mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                block = np.ascontiguousarray(part).data.cast("B")
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    finally:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
    return digest.hexdigest()


def map_statistics(
    folder: Path, profiles: Path, *, digests: Digests, id_key_fingerprint: str, manifest_sha256: str
) -> tuple[Snapshot, Tables]:
    """Map statistics that a trial has verified and the profiles it made of them; their hashes are checked again here.

    Raises
    ------
    BundleError, StatisticsError
        If a file is missing or is not what the trial saw.
    """
    verify(
        folder,
        kind="statistics",
        files=SNAPSHOT_FILES,
        id_key_fingerprint=id_key_fingerprint,
        manifest_sha256=manifest_sha256,
    )
    what = f"statistics {folder.name}"
    with reading(what, "snapshot.json"):
        as_of_hour = int(read_json(folder / "snapshot.json")["as_of_hour"])
    customer, terminal = (_map_sums(folder, entity, what=what) for entity in ENTITIES)
    mapped = [_map(_file(profiles, entity), digest=digests.get(entity, ""), what=what) for entity in ENTITIES]
    with reading(what, "profiles"):
        tables = Tables(
            ProfileTable("customer", customer.keys, _rows(mapped[0], "customer")),
            ProfileTable("terminal", terminal.keys, _rows(mapped[1], "terminal")),
            tuple(one for one in mapped if one is not None),
        )
    return Snapshot(as_of_hour, customer, terminal), tables


def _file(folder: Path, entity: str) -> Path:
    return folder / f"{entity}_profiles.f64"


def _map_sums(folder: Path, entity: str, *, what: str) -> EntityStatistics:
    names = [f"{entity}_{part}.npy" for part in ("keys", "sums")]
    with reading(what, " with ".join(names)):
        # Plain arrays over the mapping: NumPy's own class for it makes every look-up slower.
        keys, sums = (np.asarray(np.load(folder / name, mmap_mode="r", allow_pickle=False)) for name in names)
        return EntityStatistics(keys, sums)


def _map(path: Path, *, digest: str, what: str) -> mmap.mmap | None:
    """Map a file of profiles; None if it is empty, as nothing can be mapped of it."""
    with reading(what, path.name), path.open("rb") as file:
        # Read, not mapped, while hashing: pages that no payment needs stay out of this process.
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise BundleError(f"{what}: {path.name} is not what the trial made (SHA-256 differs)")
        if not os.fstat(file.fileno()).st_size:
            return None
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _rows(mapping: mmap.mmap | None, entity: str) -> Floats:
    width = PROFILE_WIDTH[entity]
    if mapping is None:
        return np.empty((0, width))
    return np.frombuffer(mapping, dtype=np.float64).reshape(-1, width)
