"""Versions that nobody needs any more are deleted with their files; one that anybody may need is not."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from model.registry.aliases import AliasMover
from model.registry.contract import MODEL_NAME, STATISTICS_NAME, RefusedError, RegistryError
from model.registry.embedded import translated
from model.registry.history import last_left, told
from model.registry.places import Place, delete_files
from model.registry.serving import versions_in_use
from model.registry.writer import default_who

PROTECTED_FOR = timedelta(hours=24)
"""How long a version stays after an alias left it: pods may still serve it, or fall back on it."""

_LOG = logging.getLogger("antifraud.registry")
_TAG = "deletion."  # kept from before a version goes until its files are gone, so that a crash between can be repaired
_SERVED_AS = {MODEL_NAME: "model_version", STATISTICS_NAME: "statistics_version"}


@dataclass(frozen=True, slots=True)
class Deletion:
    """A version that was deleted.

    Attributes
    ----------
    kept_files
        Why its files are still there; empty if they were deleted too.
    """

    name: str
    version: str
    kept_files: str = ""

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class VersionRemover(AliasMover):
    """Delete versions and their files."""

    def delete_version(
        self, name: str, version: str, *, services: Iterable[str] = (), left_within: timedelta = PROTECTED_FOR
    ) -> Deletion:
        """Delete a version, then its files; what a crash left between is deleted by the next call.

        Parameters
        ----------
        services
            Addresses of running services, `http(s)://...`; each is asked what it uses.
        left_within
            How long a version is needed after an alias left it.

        Raises
        ------
        RefusedError
            There is no such version; an alias names it, or left it a short time ago; a service uses it or cannot be
            asked.
        LockedError
            Others kept moving aliases of this model.
        RegistryError
            The files could not be deleted; the version may be gone, and another call deletes them.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        if self._is_registered(name, version):
            # Asked here as well: a service that is slow to answer must not be waited for under the lock.
            self._refuse_needed(name, version, left_within=left_within)
            if version in _in_use(name, services):
                raise RefusedError(f"{name} version {version} stays: a running service uses it")
        return self._deleted(name, version, left_within=left_within)

    def prune(
        self,
        name: str,
        *,
        keep: int,
        younger_than: timedelta = PROTECTED_FOR,
        left_within: timedelta = PROTECTED_FOR,
        services: Iterable[str] = (),
    ) -> list[Deletion]:
        """Delete the oldest versions beyond the newest `keep`, and return what was deleted.

        Versions that are needed stay; one that cannot be deleted is logged and does not stop the rest. Files that
        an earlier crash left are deleted as well.

        Parameters
        ----------
        keep
            How many of the newest versions stay, at least 1.
        younger_than
            A version registered within this time stays: its job may be about to move an alias to it.
        left_within, services
            As `delete_version`.

        Raises
        ------
        RefusedError
            A service cannot be asked; nothing was deleted.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        if keep < 1:
            raise ValueError("keep: at least 1 version stays")
        in_use = _in_use(name, services)
        deleted = []
        for version in self._candidates(name, keep=keep, younger_than=younger_than, left_within=left_within):
            if version in in_use:
                continue
            try:
                deleted.append(self._deleted(name, version, left_within=left_within))
            except RegistryError as error:
                _LOG.warning("%s version %s was not deleted: %s", name, version, error)
        return deleted

    # --- parts -------------------------------------------------------------------------------------------------------

    def _candidates(self, name: str, *, keep: int, younger_than: timedelta, left_within: timedelta) -> list[str]:
        """Return what may be deleted as far as the registry knows, oldest first."""
        now = datetime.now(UTC)
        page, dated = self._page(name), self._dated(name)
        known = told(name, page.tags, page.aliases)
        registered = {one.version.version for one in dated}
        left_over = {key.removeprefix(_TAG) for key in page.tags if key.startswith(_TAG)} - registered
        old = [one.version.version for one in dated[keep:] if now - one.created > younger_than]
        needed = {
            version
            for version in old
            if version in page.aliases.values() or _is_recent(last_left(known, version, now=now), now, left_within)
        }
        return sorted({*left_over, *old} - needed, key=lambda version: (len(version), version))

    def _refuse_needed(self, name: str, version: str, *, left_within: timedelta) -> None:
        now = datetime.now(UTC)
        page = self._page(name)
        naming = sorted(alias for alias, named in page.aliases.items() if named == version)
        if naming:
            raise RefusedError(f"{name} version {version} stays: the alias '{naming[0]}' names it")
        left = last_left(told(name, page.tags, page.aliases), version, now=now)
        if left is not None and _is_recent(left, now, left_within):
            raise RefusedError(
                f"{name} version {version} stays: an alias named it until {left:%Y-%m-%d %H:%M} UTC, less than "
                f"{left_within / timedelta(hours=1):g} hours ago, and pods may still use it or fall back on it"
            )

    def _deleted(self, name: str, version: str, *, left_within: timedelta) -> Deletion:
        with self._locked(name, default_who()) as lease:
            if self._is_registered(name, version):
                self._refuse_needed(name, version, left_within=left_within)
                found = self._version(name, version)
                place = Place(found.source, found.run_id)
                self._note(name, version, place)
                lease.check()
                with translated(self._uri):
                    self._client.delete_model_version(name, version)
            else:
                place = Place.parsed(self._page(name).tags.get(f"{_TAG}{version}", ""))
        kept = delete_files(place, name, client=self._client, uri=self._uri, root=self._artifact_location)
        with translated(self._uri):
            self._client.delete_registered_model_tag(name, f"{_TAG}{version}")
        return Deletion(name, version, kept)

    def _is_registered(self, name: str, version: str) -> bool:
        """Return whether a version is there, or else only its files are, left over by a crash."""
        try:
            self._version(name, version)
        except RefusedError:
            if f"{_TAG}{version}" in self._page(name).tags:
                return False
            raise
        return True

    def _note(self, name: str, version: str, place: Place) -> None:
        with translated(self._uri):
            self._client.set_registered_model_tag(name, f"{_TAG}{version}", place.text())


def _in_use(name: str, services: Iterable[str]) -> set[str]:
    field = _SERVED_AS.get(name)
    found: set[str] = set()
    for address in services:
        used = versions_in_use(address)
        found |= used[field] if field else set()
    return found


def _is_recent(left: datetime | None, now: datetime, within: timedelta) -> bool:
    return left is not None and now - left < within
