"""From the registry to a verified pair in memory, through a cache of downloaded files on disk."""

from pathlib import Path

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
from model.settings import Settings
from service.scorer import Loaded


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
    reader = open_reader(registry_uri(settings))
    model, statistics = reader.resolve(MODEL_NAME, CHAMPION), reader.resolve(STATISTICS_NAME, CURRENT)
    fingerprint = settings.id_hasher().fingerprint
    cache = settings.work_folder / "cache"
    bundle_folder, snapshot_folder = (_fetch(reader, version, cache) for version in (model, statistics))
    bundle = read_bundle(
        bundle_folder, id_key_fingerprint=fingerprint, manifest_sha256=model.tags.get("manifest_sha256")
    )
    snapshot = read_snapshot(
        snapshot_folder, id_key_fingerprint=fingerprint, manifest_sha256=statistics.tags.get("manifest_sha256")
    )
    return Loaded(bundle, snapshot, model.version, statistics.version)


def _fetch(reader: RegistryReader, version: Version, cache: Path) -> Path:
    """Return the folder with a version's files; what an earlier start downloaded is used again."""
    digest = version.tags.get("manifest_sha256", "")
    if not digest:
        raise BundleError(f"{version}: the registry does not say the SHA-256 of its manifest")
    folder = cache / f"{version.name}-{version.version}-{digest[:16]}"
    if not folder.is_dir():
        reader.download(version, folder)
    return folder
