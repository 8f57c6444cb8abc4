import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from model.registry.contract import ArtifactError, RegistryError, Version
from model.registry.deletion import VersionRemover
from model.registry.embedded import connect, error_code, find_alias, to_version, translated
from model.registry.rollback import Rollback
from model.registry.runs import RunHandle

# MLflow's client puts names into addresses as they are: `a#b` arrives as `a`, without an error.
_SAFE_NAME = re.compile(r"[A-Za-z0-9._/-]+")


class Publisher(Rollback, VersionRemover):
    """Write runs, versions and aliases; used by training, never by a pod that scores."""

    def __init__(self, uri: str, *, artifact_location: str | None, create: bool = True) -> None:
        super().__init__(connect(uri, create=create), uri, artifact_location=artifact_location)

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
        """Let an alias point at a version without lock and record, as the registry's own page does.

        `moves` reports it as moved outside this tool; `move_alias` is the way for jobs.

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

    def run_tags(self, run_id: str) -> Mapping[str, str]:
        """Return the tags of a run; none if the run is gone.

        Raises
        ------
        RegistryUnavailableError
            The registry cannot be reached.
        """
        with translated(self._uri):
            try:
                return dict(self._client.get_run(run_id).data.tags)
            except Exception as error:
                if error_code(error) == "RESOURCE_DOES_NOT_EXIST":
                    return {}
                raise

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
