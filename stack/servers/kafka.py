"""Kafka, one broker that is its own controller (KRaft), from the jars of `stack/kafka/pom.xml`."""

import base64
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from stack.servers.programs import jars, java
from stack.servers.server import Server, ServerError, listens

_LOG4J = """\
status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
"""


@dataclass(frozen=True, slots=True)
class Secured:
    """What a broker needs to listen with TLS and a login (SASL_SSL, SCRAM-SHA-512), too.

    Attributes
    ----------
    certificate
        File, PEM: a private key (PKCS 8) and its certificate, for 127.0.0.1.
    user, password
        The one login; without commas, brackets and `=`.
    """

    certificate: Path
    user: str
    password: str = field(repr=False)


class Kafka(Server):
    """A Kafka broker; topics are made by `make_topic` and never by themselves.

    Parameters
    ----------
    secured
        For one more port on which it listens with TLS and a login.
    """

    name = "kafka"

    def __init__(self, folder: Path, port: int | None = None, *, secured: Secured | None = None) -> None:
        super().__init__(folder, port)
        self._controller = self._number("controller-port")
        self._secured = secured
        self._secured_port = self._number("secured-port") if secured else 0

    @property
    def bootstrap(self) -> str:
        """Its address for clients, `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def secured_bootstrap(self) -> str:
        """Its address for clients with TLS and a login."""
        return f"127.0.0.1:{self._secured_port}"

    def start(self) -> None:
        """Start it, with storage made for it where there is none; errors as of `Server.start`."""
        where, program = jars("kafka"), str(java())
        self._write_settings()
        if not (self.folder / "content" / "meta.properties").is_file():
            identity = _cluster_id()
            user = self._secured and f"SCRAM-SHA-512=[name={self._secured.user},password={self._secured.password}]"
            known = ["--add-scram", user] if user else []
            self._format([program, "-cp", f"{where}/*", "kafka.tools.StorageTool", "format", "-t", identity, *known])
        options = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        command = [program, *options, logging, "-cp", f"{where}/*", "kafka.Kafka"]
        self._launch([*command, str(self.folder / "server.properties")], self._answers)

    def make_topic(self, name: str, partitions: int = 1, **settings: str) -> None:
        """Make a topic, unless it is there; settings with `_` for the `.` of Kafka's names."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import AdminClient, NewTopic

        config = {key.replace("_", "."): value for key, value in settings.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 3})  # its answers die with it
        try:
            client.create_topics([topic])[name].result(30)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def _write_settings(self) -> None:
        settings: dict[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "log.dirs": self.folder / "content",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.dedupe.buffer.size": 16777216,
        }
        alone = {
            f"{topic}.{setting}": 1
            for topic in ("transaction.state.log", "share.coordinator.state.topic")
            for setting in ("replication.factor", "min.isr")
        }
        settings |= {"offsets.topic.replication.factor": 1, **alone}
        if self._secured is not None:
            settings |= self._secured_listener(settings, self._secured)
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self.folder / "server.properties").write_text(lines)
        (self.folder / "log4j2.properties").write_text(_LOG4J)

    def _secured_listener(self, settings: dict[str, object], secured: Secured) -> dict[str, object]:
        address = f"SECURED://{self.secured_bootstrap}"
        protocols, listener = settings["listener.security.protocol.map"], "listener.name.secured"
        return {
            "listeners": f"{settings['listeners']},{address}",
            "advertised.listeners": f"{settings['advertised.listeners']},{address}",
            "listener.security.protocol.map": f"{protocols},SECURED:SASL_SSL",
            "inter.broker.listener.name": "PLAINTEXT",
            f"{listener}.ssl.keystore.type": "PEM",
            f"{listener}.ssl.keystore.location": secured.certificate.absolute(),
            f"{listener}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
            f"{listener}.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }

    def _format(self, command: list[str]) -> None:
        done = subprocess.run(
            [*command, "-c", str(self.folder / "server.properties"), "--ignore-formatted"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ServerError(f"Kafka's storage could not be made:\n{(done.stdout + done.stderr)[-3000:]}")

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        if not listens(self.port):  # asked too early, the client would print that nobody is there
            return False
        try:
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 3}).list_topics(timeout=5)
        except KafkaException:
            return False
        return True


def _cluster_id() -> str:
    """Return a random id as Kafka writes it; one that begins with a dash would be taken for an option."""
    identity = "-"
    while identity.startswith("-"):
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return identity
