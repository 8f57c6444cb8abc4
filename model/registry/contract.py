import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

MODEL_NAME = "fraud-model"
STATISTICS_NAME = "fraud-statistics"
CHAMPION = "champion"
CHALLENGER = "challenger"
CURRENT = "current"

_USERINFO = re.compile(r"://[^\s'\"]*@")
_LONGEST_MESSAGE = 300


class RegistryError(Exception):
    """Say why the registry could not do what was asked."""


class RegistryUnavailableError(RegistryError):
    """Say that the registry cannot be reached, or that its answer makes no sense."""


class AliasNotFoundError(RegistryError):
    """Say that no version carries this alias yet.

    Parameters
    ----------
    name, alias
        The registered model and the alias that was looked for.
    """

    def __init__(self, name: str, alias: str) -> None:
        self.name = name
        self.alias = alias
        super().__init__(
            f"no version of '{name}' carries the alias '{alias}': run `antifraud train` first, against this registry"
        )


class ArtifactError(RegistryError):
    """Say that the files of a version could not be copied, completely and safely."""


@dataclass(frozen=True, slots=True)
class Version:
    """One registered version, and where its files lie."""

    name: str
    version: str
    source: str
    tags: Mapping[str, str] = field(hash=False)
    run_id: str | None

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class RegistryReader(Protocol):
    """What a scoring pod asks of a registry."""

    def resolve(self, name: str, alias: str) -> Version:
        """Return the version that carries an alias now.

        Raises
        ------
        AliasNotFoundError
            The model or the alias does not exist.
        RegistryUnavailableError
            The registry cannot be reached, or its answer is broken.
        """

    def download(self, version: Version, folder: Path) -> None:
        """Copy all files of a version into an empty or new folder, completely or not at all.

        Raises
        ------
        ArtifactError
            A file is missing, too large, incomplete or named outside the folder; or the folder holds something.
        RegistryUnavailableError
            The registry cannot be reached, or its answer is broken.
        """


def redact(text: str) -> str:
    """Return a text in which addresses have lost their user name and password.

    >>> redact("cannot reach http://ada:secret@mlflow:5000/")
    'cannot reach http://***@mlflow:5000/'
    """
    return _USERINFO.sub("://***@", text)


def brief(error: BaseException) -> str:
    """Return the first line of another library's error, redacted and short."""
    lines = redact(str(error)).strip().splitlines() or ["no reason given"]
    return f"{lines[0][:_LONGEST_MESSAGE]} ({type(error).__name__})"
