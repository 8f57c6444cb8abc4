"""A bank's platform on one machine: PostgreSQL, S3, MLflow, Kafka, and on top of them the service and the stream."""

import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.servers import S3, Kafka, Mlflow, Postgres, Server
from stack.servers.server import neutral_environment, note
from stack.verbs import Verb

BUCKETS = ("mlflow", "bank")
HISTORY, DECISIONS, REPORTS = "s3://bank/history", "s3://bank/decisions", "s3://bank/reports"
OTHER_STORES = ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE")  # would lead past the S3 of the stack
TOPICS = {"payments": 3, "decisions": 3, "payments-dead-letter": 1, "reports": 1}


class PlatformError(RuntimeError):
    """A step on the way to a running platform failed; the text ends with what it said."""


class Platform:
    """The servers and the processes of a stack, all in one folder.

    Parameters
    ----------
    folder
        Where everything lies: a folder for each server, the id key, the settings. What an earlier start left there is
        used again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.postgres = Postgres(folder / "postgres")
        self.s3 = S3(folder / "s3")
        self.mlflow = Mlflow(
            folder / "mlflow",
            store=self.postgres.url,
            artifacts="s3://mlflow/artifacts",
            environment=self.s3.environment(),
        )
        self.kafka = Kafka(folder / "kafka")
        settings = self.settings()
        keys = settings | self.s3.environment()
        self.service = self._verb("service", ["serve"], settings, port_setting="FRAUD_PORT", page="/ready")
        self.stream = self._verb("stream", ["stream"], settings, port_setting="FRAUD_STREAM_PORT", page="/ready")
        self.landings = [
            self._verb(
                f"land-{topic}",
                ["land", "--topic", topic, "--to", address],
                keys,
                port_setting="FRAUD_LANDING_PORT",
                page="/health",
            )
            for topic, address in (("decisions", DECISIONS), ("reports", REPORTS))
        ]

    def servers(self) -> list[Server]:
        """Return the servers of other projects, in the order of their start."""
        return [self.postgres, self.s3, self.mlflow, self.kafka]

    def processes(self) -> list[Verb]:
        """Return the product's own processes, in the order of their start."""
        return [self.service, self.stream, *self.landings]

    def settings(self) -> dict[str, str]:
        """Return the variables that every verb on this platform takes; jobs that read S3 also need its keys."""
        return {
            "FRAUD_WORK_FOLDER": str(self.folder / "work"),
            "FRAUD_ID_KEY_FILE": str(self._id_key()),
            "FRAUD_TRACKING_URI": self.mlflow.url,
            "FRAUD_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "FRAUD_LANDING_EVERY": "5s",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }

    def write_environment(self) -> Path:
        """Write a file that a shell can read, so that any verb can be run on this platform; it holds the keys of S3."""
        path = self.folder / "environment"
        values = self.settings() | self.s3.environment()
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
        lines.append(f"unset {' '.join(OTHER_STORES)}\n")
        lines.append('export no_proxy="${no_proxy:-${NO_PROXY:-}},127.0.0.1" && export NO_PROXY="$no_proxy"\n')
        note(path, "".join(lines), secret=True)
        return path

    def bootstrap(self) -> None:
        """Make the buckets and the topics that are not there."""
        for bucket in BUCKETS:
            self.s3.make_bucket(bucket)
        for topic, partitions in TOPICS.items():
            self.kafka.make_topic(topic, partitions)

    def simulate(self) -> bool:
        """Put the history of a simulated small bank on S3, once; return whether that was needed."""
        done = self.folder / "simulated"
        if done.exists():
            return False
        self.run("simulate", "--profile", "small", "--out", HISTORY)
        done.touch()
        return True

    def train(self) -> bool:
        """Train the first champion from the history on S3, once; return whether that was needed."""
        from model.registry import CHAMPION, MODEL_NAME, open_publisher

        if open_publisher(self.mlflow.url).find_alias(MODEL_NAME, CHAMPION) is not None:
            return False
        (self.folder / "training.txt").write_text(self.run("train", "--history", HISTORY))
        return True

    def run(self, *words: str) -> str:
        """Run a verb on this platform to its end and return what it printed.

        Raises
        ------
        PlatformError
            If it ends with another code than 0.
        """
        done = subprocess.run(
            [sys.executable, "-m", "antifraud", *words],
            env=neutral_environment() | self.settings() | self.s3.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-3000:]
            raise PlatformError(f"antifraud {' '.join(words)} ended with code {done.returncode}:\n{said}")
        return done.stdout

    @contextmanager
    def keys(self) -> Iterator[None]:
        """Let this process read S3 for the time of a block."""
        before = dict(os.environ)
        os.environ.update(self.s3.environment())
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def stop(self) -> Iterator[Server]:
        """Stop everything that runs, from the top down, naming each."""
        for server in reversed([*self.servers(), *self.processes()]):
            if server.any_runs():
                server.stop()
                yield server

    def delete(self) -> None:
        """Remove all that was made; nothing may run any more."""
        for server in self.servers():
            server.delete()
        shutil.rmtree(self.folder)

    def _id_key(self) -> Path:
        path = self.folder / "id.key"
        if not path.exists():
            note(path, secrets.token_hex(32) + "\n", secret=True)
        return path

    def _verb(
        self, folder: str, words: list[str], environment: dict[str, str], *, port_setting: str, page: str
    ) -> Verb:
        own = {"FRAUD_LOG_LEVEL": "warning", "FRAUD_DECISION_LOG": str(self.folder / folder / "decisions.jsonl")}
        return Verb(self.folder / folder, words, environment | own, port_setting=port_setting, page=page)
