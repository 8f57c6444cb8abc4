import getpass
import os
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from model.registry.contract import RefusedError, Version
from model.registry.embedded import error_code, to_version, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_NOT_THERE = "RESOURCE_DOES_NOT_EXIST"
_VERSION = re.compile(r"[1-9][0-9]{0,9}")


def default_who() -> str:
    """Return `user@host`, for a change that a person asks for."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # a container's user need not have a name
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Page:
    """What the registry says of one registered model, read in one call."""

    tags: Mapping[str, str]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Dated:
    """A version and when it was registered, UTC."""

    version: Version
    created: datetime


class Writer:
    """The questions that every change of a registry begins with."""

    def __init__(self, client: "MlflowClient", uri: str, *, artifact_location: str | None) -> None:
        self._client = client
        self._uri = uri
        self._artifact_location = artifact_location

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, newest first; none if the model does not exist.

        Raises
        ------
        RegistryUnavailableError
            The registry cannot be reached.
        """
        return [one.version for one in self._dated(name)]

    def _page(self, name: str) -> Page:
        with translated(self._uri):
            try:
                model = self._client.get_registered_model(name)
            except Exception as error:
                if error_code(error) == _NOT_THERE:
                    return Page({}, {})
                raise
        return Page(dict(model.tags), {alias: str(version) for alias, version in dict(model.aliases).items()})

    def _version(self, name: str, version: str) -> Version:
        if not _VERSION.fullmatch(version):
            raise RefusedError(f"{version[:20]!r} is not a version: give its number, such as 7")
        with translated(self._uri):
            try:
                return to_version(self._client.get_model_version(name, version))
            except Exception as error:
                if error_code(error) == _NOT_THERE:
                    raise RefusedError(f"there is no version {version} of '{name}'") from None
                raise

    def _exists(self, name: str, version: str) -> bool:
        try:
            self._version(name, version)
        except RefusedError:
            return False
        return True

    def _dated(self, name: str) -> list[Dated]:
        with translated(self._uri):
            found = [
                Dated(to_version(one), datetime.fromtimestamp(one.creation_timestamp / 1000, UTC))
                for one in self._pages(f"name = '{name}'")
            ]
        return sorted(found, key=lambda one: int(one.version.version), reverse=True)

    def _pages(self, condition: str) -> "Iterator[ModelVersion]":
        token = None
        while True:
            page = self._client.search_model_versions(condition, page_token=token)
            yield from page
            token = page.token
            if not token:
                return
