"""From the registry to a verified pair in memory, through a trial in another process and a cache on disk."""

import logging
import time
from dataclasses import replace
from functools import partial

from model.bundle import BundleError, read_bundle
from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasNotFoundError,
    RegistryError,
    RegistryReader,
    RegistryUnavailableError,
    open_reader,
    registry_uri,
)
from model.settings import Settings
from service.cache import Cache, Key, Pair
from service.scorer import Loaded
from service.tables import map_statistics
from service.trial import Attempt, TrialRequest, try_in_child

MOST_QUESTIONS = 3  # while aliases move
START_PAUSE_SECONDS = 2.0  # between two attempts of a start that waits

log = logging.getLogger("antifraud")


def resolve_pair(reader: RegistryReader) -> Pair:
    """Return the champion and the current statistics, as the registry names them now.

    Raises
    ------
    RegistryError
        If the registry cannot be reached, or has none.
    """
    return Pair(reader.resolve(MODEL_NAME, CHAMPION), reader.resolve(STATISTICS_NAME, CURRENT))


def settled_pair(reader: RegistryReader) -> Pair:
    """Return the pair that the registry named twice in a row, so that no move of an alias falls between its halves.

    Raises
    ------
    RegistryError
        As `resolve_pair` does.
    BundleError
        If the registry does not say what a version is.
    """
    pair = resolve_pair(reader)
    for _ in range(MOST_QUESTIONS):
        again = resolve_pair(reader)
        if again.keys == pair.keys:
            break
        pair = again
    return pair


class Loader:
    """Loads pairs; what is in memory already is used again, and costs nothing.

    Parameters
    ----------
    attempt
        Tries a pair before it is loaded; default: in a process of its own.
    """

    def __init__(self, settings: Settings, *, attempt: Attempt | None = None) -> None:
        self.cache = Cache(settings.work_folder / "cache")
        self._uri = registry_uri(settings)
        self._fingerprint = settings.id_hasher().fingerprint
        self._attempt = attempt or partial(
            try_in_child, seconds=settings.trial_seconds, memory_mb=settings.trial_memory_mb
        )

    def load(self, pair: Pair, *, held: tuple[Loaded, ...] = (), download: bool = True) -> Loaded:
        """Try a pair, load it, and note that it was verified.

        Parameters
        ----------
        held
            Pairs in memory. A model or statistics of theirs is taken as it is; if both are there, nothing is read.
        download
            Whether what is not on this disk may be downloaded.

        Raises
        ------
        RegistryError
            If something cannot be downloaded.
        BundleError, StatisticsError, BoosterError
            If the pair must not be used.
        """
        model, statistics = pair.keys
        with_model = next((one for one in held if keys_of(one)[0] == model), None)
        with_statistics = next((one for one in held if keys_of(one)[1] == statistics), None)
        if with_model is None or with_statistics is None:
            loaded = self._tried(pair, with_model, with_statistics, download=download)
        else:
            loaded = replace(
                with_statistics,
                bundle=with_model.bundle,
                model_version=with_model.model_version,
                model_digest=with_model.model_digest,
            )
        self.cache.remember(pair)
        return replace(loaded, from_disk=not download)

    def _tried(
        self, pair: Pair, with_model: Loaded | None, with_statistics: Loaded | None, *, download: bool
    ) -> Loaded:
        uri = self._uri if download else None
        digests = self._attempt(TrialRequest(pair, self.cache.folder, uri, self._fingerprint))
        (model_version, model_digest), (statistics_version, statistics_digest) = pair.keys
        if with_statistics is None:
            snapshot, tables = map_statistics(
                self.cache.statistics_folder(pair.statistics),
                self.cache.profiles_folder(pair.statistics),
                digests=digests,
                id_key_fingerprint=self._fingerprint,
                manifest_sha256=statistics_digest,
            )
        else:
            snapshot, tables = with_statistics.snapshot, with_statistics.tables  # type: ignore[assignment]
        bundle = (
            with_model.bundle
            if with_model is not None
            else read_bundle(
                self.cache.model_folder(pair.model),
                id_key_fingerprint=self._fingerprint,
                manifest_sha256=model_digest,
            )
        )
        return Loaded(bundle, snapshot, model_version, statistics_version, tables, model_digest, statistics_digest)


def keys_of(loaded: Loaded) -> tuple[Key, Key]:
    """Return what a loaded pair is, as `Pair.keys` does for one in the registry."""
    return (
        (loaded.model_version, loaded.model_digest),
        (loaded.statistics_version, loaded.statistics_digest),
    )


def load_champion(settings: Settings, *, attempt: Attempt | None = None) -> Loaded:
    """Load the champion model and the current statistics; or what was verified last on this disk, if they fail.

    Raises
    ------
    RegistryError
        If the registry cannot be reached or has no champion or no current statistics, and there is no copy.
    BundleError, StatisticsError, BoosterError
        If what it has must not be used, and there is no copy.
    SettingsError
        If there is no id key.
    """
    loader = Loader(settings, attempt=attempt)
    try:
        return loader.load(settled_pair(open_reader(registry_uri(settings))))
    except (RegistryError, ValueError, OSError) as error:
        last = loader.cache.last_verified()
        if last is None:
            raise
        try:
            loaded = loader.load(last, download=False)
        except (RegistryError, ValueError, OSError):
            raise error from None
        log.error("%s; serving the copy verified last on this disk: %s", error, last)
        return loaded


def wait_for_champion(settings: Settings, *, attempt: Attempt | None = None) -> Loaded:
    """Load as `load_champion` does, and try again for the start time while the registry is away or has nothing yet.

    What must not be used, or is set wrongly, gets no better by waiting, and fails at once.

    Raises
    ------
    RegistryError, BundleError, StatisticsError, BoosterError, SettingsError
        As `load_champion` does, the first not before the start time is over.
    """
    deadline = time.monotonic() + settings.start_seconds
    said = ""
    while True:
        try:
            return load_champion(settings, attempt=attempt)
        except (RegistryUnavailableError, AliasNotFoundError) as error:
            if time.monotonic() >= deadline:
                raise
            if str(error) != said:
                said = str(error)
                log.warning("%s; trying again for %.0f s", said, deadline - time.monotonic())
        time.sleep(min(START_PAUSE_SECONDS, settings.start_seconds))


__all__ = ["BundleError", "Loader", "keys_of", "load_champion", "resolve_pair", "settled_pair", "wait_for_champion"]
