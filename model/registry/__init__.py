"""MLflow's one door: nothing outside this package imports MLflow or knows its addresses."""

from pathlib import Path
from typing import TYPE_CHECKING

from model.registry.contract import (
    ANY,
    CHALLENGER,
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    AliasMovedError,
    AliasNotFoundError,
    ArtifactError,
    Expected,
    LockedError,
    LockLostError,
    RefusedError,
    RegistryError,
    RegistryReader,
    RegistryUnavailableError,
    Version,
    redact,
)
from model.registry.deletion import PROTECTED_FOR, Deletion
from model.registry.embedded import EmbeddedReader, embedded_path, embedded_uri
from model.registry.files import DEFAULT_LIMITS, Limits
from model.registry.history import Move, MoveState
from model.registry.lease import Lease
from model.registry.publisher import Publisher
from model.registry.rest import RestReader
from model.registry.runs import RunHandle
from model.registry.writer import default_who

if TYPE_CHECKING:
    from model.settings import Settings

__all__ = [
    "ANY",
    "CHALLENGER",
    "CHAMPION",
    "CURRENT",
    "MODEL_NAME",
    "PROTECTED_FOR",
    "STATISTICS_NAME",
    "AliasMovedError",
    "AliasNotFoundError",
    "ArtifactError",
    "Deletion",
    "Expected",
    "Lease",
    "Limits",
    "LockLostError",
    "LockedError",
    "Move",
    "MoveState",
    "Publisher",
    "RefusedError",
    "RegistryError",
    "RegistryReader",
    "RegistryUnavailableError",
    "RunHandle",
    "Version",
    "default_who",
    "embedded_uri",
    "open_publisher",
    "open_reader",
    "registry_uri",
]


def registry_uri(settings: "Settings") -> str:
    """Return the address of the configured registry: a server's, or that of the embedded one in the work folder."""
    return settings.tracking_uri or embedded_uri(settings.work_folder)


def open_reader(uri: str, *, limits: Limits = DEFAULT_LIMITS) -> RegistryReader:
    """Return the reading side of a registry; nothing is contacted yet.

    Parameters
    ----------
    uri
        `http(s)://...` for an MLflow server, read by REST without MLflow; `sqlite:////...` for an embedded one.
    limits
        What one version may bring to this machine's disk.

    Raises
    ------
    RegistryError
        The address is of no kind that is known.
    """
    if _is_server(uri):
        return RestReader(uri, limits=limits)
    return EmbeddedReader(uri, limits=limits)


def open_publisher(tracking_uri: str, artifact_root: str | None = None, *, create: bool = True) -> Publisher:
    """Return the writing side of a registry.

    Parameters
    ----------
    tracking_uri
        `http(s)://...` or `sqlite:////...`.
    artifact_root
        The local folder of an embedded registry's files, `artifacts` beside the database if None. A server decides
        for itself.
    create
        Whether an embedded registry that is not there yet is created.

    Raises
    ------
    RegistryError
        The address is of no kind that is known, does not fit the folder, or MLflow is not installed here.
    RegistryUnavailableError
        An embedded registry cannot be opened, or is not there.
    """
    if not _is_server(tracking_uri):
        root = Path(artifact_root) if artifact_root else embedded_path(tracking_uri).with_name("artifacts")
        return Publisher(tracking_uri, artifact_location=root.absolute().as_uri(), create=create)
    if artifact_root is not None:
        raise RegistryError("a registry server decides itself where its files go: give no folder for them")
    return Publisher(tracking_uri, artifact_location=None)


def _is_server(uri: str) -> bool:
    if uri.startswith(("http://", "https://")):
        return True
    if uri.startswith("sqlite:///"):
        return False
    raise RegistryError(f"the registry's address {redact(uri)!r} must begin with http://, https:// or sqlite:////")
