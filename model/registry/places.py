"""Where the files of a version lie, and how they are deleted without touching anything else."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from model.registry.contract import ArtifactError, redact
from model.registry.embedded import local_path, to_version, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What `publish` makes: a folder of its own for each version, and nothing else in it.
_MADE_HERE = re.compile(r"/artifacts/(?P<place>(?P<name>[A-Za-z0-9._-]+)/[0-9a-f]{12})/?")
_FOREIGN = "they were not put there by `publish`, so other versions may need them"


@dataclass(frozen=True, slots=True)
class Place:
    """The address of a version's files, and the run that uploaded them."""

    source: str
    run_id: str | None

    def text(self) -> str:
        """Return the place as a tag keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def parsed(cls, text: str) -> "Place":
        """Return the place that a tag says; one that makes no sense is no place."""
        try:
            fields = json.loads(text)
            return cls(str(fields["source"]), fields["run_id"] and str(fields["run_id"]))
        except (ValueError, KeyError, TypeError):
            return cls("", None)


def delete_files(place: Place, name: str, *, client: "MlflowClient", uri: str, root: str | None) -> str:
    """Delete the files of a version that is registered no more; return why they were kept, or an empty text.

    Parameters
    ----------
    root
        The folder of an embedded registry's files, as an address; None for a server.

    Raises
    ------
    RegistryError, RegistryUnavailableError
        The files could not be deleted, not all of them perhaps; another call deletes the rest.
    """
    path = urlsplit(place.source).path
    ending = re.search(rf"{_MADE_HERE.pattern}$", path)
    if ending is None or ending["name"] != name or ".." in path.split("/"):
        return _FOREIGN
    if place.run_id is not None and _is_shared(place.run_id, ending["place"], client=client, uri=uri):
        return "another version has the same files"
    if root is None:
        return _deleted_by_server(place.source, uri)
    return _deleted_here(place.source, root)


def _is_shared(run_id: str, ending: str, *, client: "MlflowClient", uri: str) -> bool:
    with translated(uri):
        token = None
        while True:
            page = client.search_model_versions(f"run_id = '{run_id}'", page_token=token)
            if any(to_version(one).source.rstrip("/").endswith(f"/{ending}") for one in page):
                return True
            token = page.token
            if not token:
                return False


def _deleted_by_server(source: str, uri: str) -> str:
    parts = urlsplit(source)
    if parts.scheme != "mlflow-artifacts" or parts.netloc not in ("", urlsplit(uri).netloc.rpartition("@")[2]):
        return _elsewhere(source)
    with translated(uri):
        from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415 - loaded with the client
            get_artifact_repository,
        )

        get_artifact_repository(source, tracking_uri=uri).delete_artifacts()
    return ""


def _deleted_here(source: str, root: str) -> str:
    if urlsplit(source).scheme not in ("", "file"):
        return _elsewhere(source)
    folder, inside = local_path(source), local_path(root).resolve()
    if folder.is_symlink() or not folder.resolve().is_relative_to(inside):
        return f"they lie outside the registry's folder {inside}"
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        raise ArtifactError(f"the files at {folder} cannot be deleted: {error.strerror or error}") from None
    # The folders above were made for this version; another one of the same run keeps them.
    with suppress(OSError):
        folder.parent.rmdir()
    return ""


def _elsewhere(source: str) -> str:
    return f"they lie at {redact(source)}, which this registry does not keep"
