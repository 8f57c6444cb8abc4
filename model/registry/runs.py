import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from model.registry.embedded import translated

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARAMS_A_CALL = 100  # MLflow refuses more
_METRICS_A_CALL = 1000


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
