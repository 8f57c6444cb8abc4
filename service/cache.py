"""The folder of downloaded versions on this disk: what is in it, which pair was verified last, what may go."""

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from model.bundle import BundleError
from model.registry import MODEL_NAME, STATISTICS_NAME, ArtifactError, RegistryReader, Version

POINTER = "last-verified.json"
PROFILES = "profiles"
ABANDONED_SECONDS = 3600  # age of a half-written folder that nobody writes any more
_DIGEST = re.compile(r"[0-9a-f]{64}")

T = TypeVar("T")
Key = tuple[str, str]  # version and SHA-256 of its manifest

log = logging.getLogger("antifraud")


@dataclass(frozen=True, slots=True)
class Pair:
    """A model and the statistics to serve it with, as the registry names them."""

    model: Version
    statistics: Version

    @property
    def keys(self) -> tuple[Key, Key]:
        """What the two are: a version that is registered anew under the same number is another one."""
        return key_of(self.model), key_of(self.statistics)

    def __str__(self) -> str:
        return f"model {self.model.version} with statistics {self.statistics.version}"


def key_of(version: Version) -> Key:
    """Return what identifies a version.

    Raises
    ------
    BundleError
        If the registry does not say the SHA-256 of its manifest, without which nothing can be verified.
    """
    digest = version.tags.get("manifest_sha256", "")
    if not _DIGEST.fullmatch(digest):
        raise BundleError(f"{version}: the registry does not say the SHA-256 of its manifest")
    return version.version, digest


class Cache:
    """Downloaded versions, each in a folder that is complete or absent, and never changed.

    Parameters
    ----------
    folder
        Made when something is downloaded. Several processes may share it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def model_folder(self, model: Version) -> Path:
        """Return where a model's files are or will be."""
        return self._folder(MODEL_NAME, key_of(model))

    def statistics_folder(self, statistics: Version) -> Path:
        """Return where the files of statistics are or will be."""
        return self._folder(STATISTICS_NAME, key_of(statistics))

    def profiles_folder(self, statistics: Version) -> Path:
        """Return where the profiles made of statistics are or will be."""
        folder = self.statistics_folder(statistics)
        return folder.with_name(f"{folder.name}-{PROFILES}")

    def _folder(self, name: str, key: Key) -> Path:
        # The name is ours, not what the registry answers: it must not lead elsewhere.
        return self.folder / f"{name}-{key[0]}-{key[1][:16]}"

    def fetch(self, version: Version, folder: Path, *, reader: RegistryReader | None, read: Callable[..., T]) -> T:
        """Read a version's files; what was downloaded before is used again, unless it was damaged since.

        Parameters
        ----------
        reader
            Where to download from; None: only what is here already.
        read
            Verifies and reads a folder; called with it and `manifest_sha256`.

        Raises
        ------
        BundleError and what else `read` raises
            If the files must not be used, or are not here and there is no reader.
        RegistryError
            If they cannot be downloaded.
        """
        _, digest = key_of(version)
        if reader is None and not folder.is_dir():
            raise BundleError(f"{version}: there is no copy at {folder}")
        if folder.is_dir():
            try:
                return read(folder, manifest_sha256=digest)
            except ValueError:
                # What is wrong here may be wrong on this disk only, after a power failure for example.
                if reader is None:
                    raise
                shutil.rmtree(folder, ignore_errors=True)
        assert reader is not None  # noqa: S101  said above
        try:
            reader.download(version, folder)
        except ArtifactError:
            if not folder.is_dir():  # else another process was faster
                raise
        return read(folder, manifest_sha256=digest)

    def remember(self, pair: Pair) -> None:
        """Note the pair that was verified last, in one step; a disk that takes nothing is only logged."""
        (model, model_digest), (statistics, statistics_digest) = pair.keys
        contents = {
            "model": {"version": model, "manifest_sha256": model_digest},
            "statistics": {"version": statistics, "manifest_sha256": statistics_digest},
        }
        draft = self.folder / f".{POINTER}-{os.getpid()}"
        try:
            with draft.open("w", encoding="utf-8") as file:
                json.dump(contents, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / POINTER)
        except OSError as error:
            log.warning("the last verified pair could not be noted in %s: %s", self.folder, error.strerror or error)
            with suppress(OSError):
                draft.unlink()

    def last_verified(self) -> Pair | None:
        """Return the pair that was verified last on this disk; None if there is none, or the note is damaged."""
        try:
            contents = json.loads((self.folder / POINTER).read_text(encoding="utf-8"))
            pair = Pair(
                _noted(MODEL_NAME, contents["model"]),
                _noted(STATISTICS_NAME, contents["statistics"]),
            )
            return pair if all(pair.keys) else None
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def prune(self, keep: Collection[Pair]) -> None:
        """Delete every version that is in none of these pairs and was not verified last.

        What this or another process has mapped stays readable for it. What cannot be deleted is left.
        """
        last = self.last_verified()
        kept = {folder.name for pair in (*keep, *([last] if last else [])) for folder in self._folders(pair)}
        with suppress(OSError):
            for entry in self.folder.iterdir():
                if entry.name.startswith("."):
                    self._remove_abandoned(entry)
                elif entry.name.startswith((f"{MODEL_NAME}-", f"{STATISTICS_NAME}-")) and entry.name not in kept:
                    shutil.rmtree(entry, ignore_errors=True)

    def _folders(self, pair: Pair) -> tuple[Path, ...]:
        return (
            self.model_folder(pair.model),
            self.statistics_folder(pair.statistics),
            self.profiles_folder(pair.statistics),
        )

    @staticmethod
    def _remove_abandoned(entry: Path) -> None:
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime < ABANDONED_SECONDS:
                return
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink()


def _noted(name: str, contents: dict[str, Any]) -> Version:
    number = contents["version"]
    if not (isinstance(number, str) and number.isascii() and number.isdecimal()):
        raise ValueError("the version is no number")
    return Version(name, number, "", {"manifest_sha256": str(contents["manifest_sha256"])}, None)
