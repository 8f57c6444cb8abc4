"""`mlflow server`, from the Python environment that runs this."""

import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from stack.servers.server import Server


class Mlflow(Server):
    """An MLflow tracking server that also hands out the artefacts.

    Parameters
    ----------
    store
        Address of its database, an SQLAlchemy one; without it SQLite in its folder.
    artifacts
        Where it keeps artefacts, a folder or `s3://bucket/prefix`; without it a folder in its own.
    environment
        More variables of its process, such as the keys of S3.
    """

    name = "mlflow"

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        *,
        store: str | None = None,
        artifacts: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder, port)
        self._store = store or f"sqlite:///{self.folder}/mlflow.db"
        self._artifacts = artifacts or f"{self.folder}/artifacts"
        self._environment = dict(environment or {})

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; errors as of `Server.start`."""
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        # By its environment, where other users of the machine do not read the database's password.
        places = {"MLFLOW_BACKEND_STORE_URI": self._store, "MLFLOW_ARTIFACTS_DESTINATION": self._artifacts}
        endpoint = self._environment.get("AWS_ENDPOINT_URL")
        s3 = {"MLFLOW_S3_ENDPOINT_URL": endpoint} if endpoint else {}
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        environment = {**quiet, **places, **s3, **self._environment}
        self._launch([*command, "--workers", "1"], self._answers, environment=environment)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False
