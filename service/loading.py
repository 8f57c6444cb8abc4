"""From the registry to a verified pair in memory, through a cache of downloaded files on disk."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from model.bundle import BundleError, read_bundle, read_snapshot
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    RegistryReader,
    Version,
    open_reader,
    registry_uri,
)
from model.score import BoosterError
from model.settings import Settings
from model.statistics import StatisticsError
from service.scorer import Loaded

T = TypeVar("T")


def load_champion(settings: Settings) -> Loaded:
    """Download and verify the champion model and the current statistics.

    Raises
    ------
    RegistryError
        If the registry cannot be reached or has no champion or no current statistics.
    BundleError, StatisticsError, BoosterError
        If what it has must not be used.
    SettingsError
        If there is no id key.
    """
    fingerprint = settings.id_hasher().fingerprint
    reader = open_reader(registry_uri(settings))
    model, statistics = reader.resolve(MODEL_NAME, CHAMPION), reader.resolve(STATISTICS_NAME, CURRENT)
    cache = settings.work_folder / "cache"

    bundle = _verified(partial(read_bundle, id_key_fingerprint=fingerprint), reader, model, cache)
    snapshot = _verified(partial(read_snapshot, id_key_fingerprint=fingerprint), reader, statistics, cache)
    return Loaded(bundle, snapshot, model.version, statistics.version)


def _verified(read: Callable[..., T], reader: RegistryReader, version: Version, cache: Path) -> T:
    """Read a version's files; what an earlier start downloaded is used again, unless it was damaged since."""
    digest = version.tags.get("manifest_sha256", "")
    if not digest:
        raise BundleError(f"{version}: the registry does not say the SHA-256 of its manifest")
    folder = cache / f"{version.name}-{version.version}-{digest[:16]}"
    if folder.is_dir():
        # What is wrong here may be wrong on this disk only, after a power failure for example.
        with suppress(BundleError, StatisticsError, BoosterError):
            return read(folder, manifest_sha256=digest)
        shutil.rmtree(folder)
    reader.download(version, folder)
    return read(folder, manifest_sha256=digest)
