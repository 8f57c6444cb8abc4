import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final, Literal, Protocol

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


class RefusedError(RegistryError):
    """Say why a change was refused; nothing was changed."""


class AliasMovedError(RegistryError):
    """Say that an alias points elsewhere than the caller believed; nothing was changed.

    Parameters
    ----------
    expected, current
        The version that the caller believed, and the one that the alias names now; None for no alias.
    """

    def __init__(self, name: str, alias: str, *, expected: str | None, current: str | None) -> None:
        self.name = name
        self.alias = alias
        self.expected = expected
        self.current = current
        super().__init__(
            f"the alias '{alias}' of '{name}' names {_said(current)} now, not {_said(expected)}: "
            "another job moved it meanwhile; nothing was changed"
        )


class LockedError(RegistryError):
    """Say who holds a lock, since when, and when it frees itself if its holder died; times are in UTC."""

    def __init__(self, name: str, *, owner: str, since: datetime, until: datetime) -> None:
        self.name = name
        self.owner = owner
        self.since = since
        self.until = until
        super().__init__(
            f"the lock '{name}' is held by {owner} since {since:%Y-%m-%d %H:%M:%S} UTC; "
            f"if that job is dead, the lock frees itself at {until:%Y-%m-%d %H:%M:%S} UTC"
        )


class LockLostError(RegistryError):
    """Say that a lock ran out before the work under it ended, so that another job may hold it now."""


class Anything(Enum):
    """The type of `ANY`."""

    ANY = "any"


ANY: Final = Anything.ANY
"""As an expected version: wherever the alias points."""

Expected = str | Literal[Anything.ANY] | None
"""Where a caller believes an alias to point: a version, None for no alias yet, or `ANY`."""


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


def _said(version: str | None) -> str:
    return "no version" if version is None else f"version {version}"


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
