"""A real `mlflow server` on loopback for the time of a block: by itself, or on PostgreSQL and S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stack.servers import S3, Mlflow, Postgres
from tests.integration.started import started

BUCKET = "mlflow"


class Platform(NamedTuple):
    """An MLflow server as a bank runs it, and what stands behind it."""

    postgres: Postgres
    s3: S3
    mlflow: Mlflow


@contextmanager
def mlflow_server(home: Path) -> Iterator[str]:
    """Run a server with SQLite and a folder, and give its address."""
    with started(Mlflow(home / "mlflow")) as mlflow:
        yield mlflow.url


@contextmanager
def platform(home: Path) -> Iterator[Platform]:
    """Run a server with its tables in PostgreSQL and its artefacts on S3."""
    with started(Postgres(home / "postgres")) as postgres, started(S3(home / "s3")) as s3:
        s3.make_bucket(BUCKET)
        mlflow = Mlflow(
            home / "mlflow", store=postgres.url, artifacts=f"s3://{BUCKET}/artifacts", environment=s3.environment()
        )
        with started(mlflow):
            yield Platform(postgres, s3, mlflow)
