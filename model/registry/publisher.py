import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from model.registry.contract import ArtifactError, RegistryError, Version
from model.registry.embedded import connect, error_code, find_alias, to_version, translated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# MLflow's client puts names into addresses as they are: `a#b` arrives as `a`, without an error.
_SAFE_NAME = re.compile(r"[A-Za-z0-9._/-]+")
_PARAMS_A_CALL = 100  # MLflow refuses more
_METRICS_A_CALL = 1000


class Publisher:
    """Write runs, versions and aliases; used by training, never by a pod that scores."""

    def __init__(self, uri: str, *, artifact_location: str | None) -> None:
        self._uri = uri
        self._artifact_location = artifact_location
        self._client = connect(uri, create=True)

    @contextmanager
    def run(self, experiment: str, run_name: str, tags: Mapping[str, str]) -> "Iterator[RunHandle]":
        """Open a run, finished when the block ends and failed when it raises.

        Raises
        ------
        RegistryError
            The registry refuses the experiment, because it was deleted for example.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            run = self._client.create_run(self._experiment_id(experiment), tags=dict(tags), run_name=run_name)
        run_id = str(run.info.run_id)
        try:
            yield RunHandle(run_id, client=self._client, uri=self._uri)
        except BaseException as error:
            with suppress(RegistryError):
                self._end(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        self._end(run_id, "FINISHED")

    def publish(self, name: str, folder: Path, *, run_id: str, tags: Mapping[str, str]) -> Version:
        """Upload a folder, then register it as a new version; no alias points at it yet.

        Raises
        ------
        ArtifactError
            The folder holds no files, or one whose name would not survive the way.
        RegistryUnavailableError
            The upload or the registration failed; no version was made.
        """
        _check_publishable(folder)
        # A place of its own for each version, or a second one in the same run would change the first.
        place = f"{name}/{uuid4().hex[:12]}"
        with translated(self._uri):
            self._client.log_artifacts(run_id, str(folder), artifact_path=place)
            # Not `runs:/...`: the REST interface would hand that back unresolved.
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{place}"
            self._ensure_model(name)
            created = self._client.create_model_version(
                name, source, run_id=run_id, tags=dict(tags), await_creation_for=None
            )
        return to_version(created)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias point at a version, in one step.

        Raises
        ------
        RegistryError
            The registry does not know the version, or does not allow the alias.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            self._client.set_registered_model_alias(name, alias, version)

    def find_alias(self, name: str, alias: str) -> Version | None:
        """Return the version that carries an alias, or None.

        Raises
        ------
        RegistryUnavailableError
            The registry cannot be reached.
        """
        return find_alias(self._client, self._uri, name=name, alias=alias)

    def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, newest first; none if the model does not exist.

        Raises
        ------
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            found = [to_version(one) for one in self._pages(f"name = '{name}'")]
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def _pages(self, condition: str) -> Iterator["ModelVersion"]:
        token = None
        while True:
            page = self._client.search_model_versions(condition, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name, artifact_location=self._artifact_location))
        except Exception as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise
            return str(self._client.get_experiment_by_name(name).experiment_id)

    def _ensure_model(self, name: str) -> None:
        try:
            self._client.create_registered_model(name)
        except Exception as error:
            if error_code(error) != "RESOURCE_ALREADY_EXISTS":
                raise

    def _end(self, run_id: str, status: str) -> None:
        with translated(self._uri):
            self._client.set_terminated(run_id, status)


def _check_publishable(folder: Path) -> None:
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if not names:
        raise ArtifactError(f"there is nothing to publish: {folder} holds no files")
    for name in names:
        if not _SAFE_NAME.fullmatch(name):
            raise ArtifactError(f"{name!r} cannot be published: use letters, digits, '.', '_' and '-' in its name")


class RunHandle:
    """One open run, to which training adds what it found."""

    def __init__(self, run_id: str, *, client: "MlflowClient", uri: str) -> None:
        self.run_id = run_id
        self._client = client
        self._uri = uri

    def log_params(self, params: Mapping[str, object]) -> None:
        """Add settings; a setting can be written once only.

        Raises
        ------
        RegistryError
            A setting was written before with another value, or its name is not allowed.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            from mlflow.entities import Param  # noqa: PLC0415 - loaded with the client, never before

            entries = [Param(name, str(value)) for name, value in params.items()]
            for start in range(0, len(entries), _PARAMS_A_CALL):
                self._client.log_batch(self.run_id, params=entries[start : start + _PARAMS_A_CALL])

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Add figures, stamped with the time they are written.

        Raises
        ------
        RegistryError
            The name of a figure is not allowed.
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            from mlflow.entities import Metric  # noqa: PLC0415 - loaded with the client, never before

            now_ms = int(time.time() * 1000)
            entries = [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
            for start in range(0, len(entries), _METRICS_A_CALL):
                self._client.log_batch(self.run_id, metrics=entries[start : start + _METRICS_A_CALL])

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Add or replace tags.

        Raises
        ------
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            for name, value in tags.items():
                self._client.set_tag(self.run_id, name, value)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Upload one file, into a folder of the run.

        Raises
        ------
        RegistryUnavailableError
            The upload failed.
        """
        with translated(self._uri):
            self._client.log_artifact(self.run_id, str(path), artifact_path=folder)
