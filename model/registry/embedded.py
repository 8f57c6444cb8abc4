import fcntl
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from model.registry.contract import (
    AliasNotFoundError,
    ArtifactError,
    RegistryError,
    RegistryUnavailableError,
    Version,
    brief,
    redact,
)
from model.registry.files import DEFAULT_LIMITS, Entry, Limits, download, too_long

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_REFUSALS = (*_NOT_THERE, "RESOURCE_ALREADY_EXISTS", "INVALID_STATE", "PERMISSION_DENIED")
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",  # 30 s outlast a restart of the server; MLflow's own 7 are four minutes
    "GIT_PYTHON_REFRESH": "quiet",
}


def embedded_uri(folder: Path) -> str:
    """Return the address of the SQLite registry in a folder.

    >>> embedded_uri(Path("/var/lib/antifraud"))
    'sqlite:////var/lib/antifraud/mlflow.db'
    """
    return f"{_SQLITE}{folder.absolute() / 'mlflow.db'}"


def embedded_path(uri: str) -> Path:
    """Return the SQLite file behind an address.

    Raises
    ------
    RegistryError
        The address names no absolute path, or one that SQLAlchemy would read differently.
    """
    path = Path(uri.removeprefix(_SQLITE))
    if not path.is_absolute() or "?" in uri or "#" in uri:
        raise RegistryError(f"{uri} must name an absolute path without ? and #, such as sqlite:////var/lib/mlflow.db")
    return path


class EmbeddedReader:
    """Read a registry that lives in a SQLite file and a local folder, without a server."""

    def __init__(self, uri: str, *, limits: Limits = DEFAULT_LIMITS) -> None:
        embedded_path(uri)  # a bad address is known now, not at the first question
        self._uri = uri
        self._limits = limits

    def resolve(self, name: str, alias: str) -> Version:
        """Return the version that carries an alias now."""
        found = find_alias(self._client(), self._uri, name=name, alias=alias)
        if found is None:
            raise AliasNotFoundError(name, alias)
        return found

    def download(self, version: Version, folder: Path) -> None:
        """Copy all files of a version into an empty or new folder, completely or not at all."""
        client = self._client()
        with translated(self._uri):
            address = str(client.get_model_version_download_uri(version.name, version.version))
        download(_LocalFolder(local_path(address)), folder, what=str(version), limits=self._limits)

    def _client(self) -> "MlflowClient":
        return connect(self._uri, create=False)


class _LocalFolder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def entries(self, path: str) -> Iterator[Entry]:
        folder = self._root / path
        if not folder.is_dir():
            raise ArtifactError(f"the registered files are not at {folder}: was the registry's folder moved?")
        for item in sorted(folder.iterdir()):
            yield Entry(item.name, is_folder=item.is_dir(), size=None if item.is_dir() else item.stat().st_size)

    def fetch(self, path: str, target: Path, *, most_bytes: int) -> None:
        source = self._root / path
        if source.stat().st_size > most_bytes:
            raise too_long(path, most_bytes)
        shutil.copyfile(source, target)


def connect(uri: str, *, create: bool) -> "MlflowClient":
    """Return an `MlflowClient`, with `create` making the tables of a new embedded registry.

    Raises
    ------
    RegistryError
        MLflow is not installed here.
    RegistryUnavailableError
        The SQLite file cannot be opened, or is not there and not to be created.
    """
    if uri.startswith(_SQLITE) and not create and not (path := embedded_path(uri)).exists():
        # Asking must not create an empty registry.
        raise RegistryUnavailableError(f"there is no registry at {path} yet: run `antifraud train` first")
    with translated(uri):
        client_type = _load_mlflow()
        if uri.startswith(_SQLITE):
            _hush_sqlalchemy()
            path = embedded_path(uri)
            if create:
                _ensure_created(path, client_type)
            _refuse_other_file(path)
        return client_type(tracking_uri=uri, registry_uri=uri)


def find_alias(client: "MlflowClient", uri: str, *, name: str, alias: str) -> Version | None:
    """Return the version that carries an alias, or None."""
    with translated(uri):
        try:
            return to_version(client.get_model_version_by_alias(name, alias))
        except Exception as error:
            if error_code(error) in _NOT_THERE:
                return None
            raise


def to_version(found: "ModelVersion") -> Version:
    """Return MLflow's own record of a version as ours."""
    return Version(
        name=str(found.name),
        version=str(found.version),
        source=str(found.source),
        tags=dict(found.tags),
        run_id=found.run_id or None,
    )


def error_code(error: Exception) -> str:
    """Return the code of an `MlflowException`, empty for any other error."""
    return str(getattr(error, "error_code", ""))


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn what MLflow and the libraries under it raise into this package's errors.

    Raises
    ------
    RegistryError
        MLflow, or the part of it that opens a database, is not installed here; or it refused what was asked.
    RegistryUnavailableError
        Anything else.
    """
    try:
        yield
    except RegistryError:
        raise
    except ImportError as error:
        raise RegistryError(
            f"the registry {redact(uri)} needs MLflow here ({brief(error)}): install it with pip install mlflow"
        ) from None
    except Exception as error:
        if error_code(error) in _REFUSALS:
            raise RegistryError(f"the registry {redact(uri)} refused: {brief(error)}") from None
        # Also errors of SQLAlchemy and requests, which MLflow lets through; their text may quote a password.
        raise RegistryUnavailableError(f"the registry {redact(uri)} failed: {brief(error)}") from None


def _load_mlflow() -> "type[MlflowClient]":
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: PLC0415 - a pod that reads by REST has no MLflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    client_type: type[MlflowClient] = mlflow.MlflowClient
    return client_type


def _hush_sqlalchemy() -> None:
    # Importing it puts a filter of its own in front, so ours comes after.
    from sqlalchemy.exc import SADeprecationWarning  # noqa: PLC0415 - as MLflow

    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy", category=SADeprecationWarning)


def _ensure_created(path: Path, client_type: "type[MlflowClient]") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        # MLflow does not lock its first open: of two at once, one fails.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _create(path, client_type)


def _refuse_other_file(path: Path) -> None:
    with path.open("rb") as database:
        if database.read(len(_SQLITE_HEADER)) != _SQLITE_HEADER:
            # MLflow would try it for a minute.
            raise RegistryUnavailableError(f"{path} is not a SQLite file: move it away and run `antifraud train`")


def _create(path: Path, client_type: "type[MlflowClient]") -> None:
    # A first open that is killed half-way leaves tables that MLflow can never open again, so it happens elsewhere.
    folder = path.with_name(".new-registry")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    client_type(tracking_uri=f"{_SQLITE}{folder}/draft.db").search_experiments(max_results=1)
    # A copy, because MLflow keeps the draft open.
    shutil.copyfile(folder / "draft.db", folder / "complete.db")
    (folder / "complete.db").replace(path)
    shutil.rmtree(folder)


def local_path(address: str) -> Path:
    """Return the folder that a local address means.

    Raises
    ------
    ArtifactError
        The address is not a local one.
    """
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    if parts.scheme:
        raise ArtifactError(f"the files lie at {redact(address)}, which an embedded registry cannot read")
    return Path(address)
