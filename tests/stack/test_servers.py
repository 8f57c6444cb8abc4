"""Each server of the stack starts, survives a power cut with its content, and leaves nothing behind."""

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from stack.servers import S3, Hdfs, Kafka, Missing, Mlflow, Postgres, Secured, Server, ServerError, Toxiproxy
from stack.servers import programs as programs_of_servers
from stack.servers.server import listens
from tests.integration.certificates import authority, broker_certificate
from tests.integration.started import started

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Sleeper(Server):
    """A server that only waits."""

    name = "sleeper"

    def start(self) -> None:
        self._launch(SLEEP, lambda: True)


class Riser(Server):
    """A server that is ready once a file is there."""

    name = "riser"

    def start(self) -> None:
        self._launch(SLEEP, (self.folder / "ready").exists)


class Stillborn(Server):
    """A server that ends at once."""

    name = "stillborn"

    def start(self) -> None:
        self._launch([sys.executable, "-c", "print('no room left'); raise SystemExit(1)"], lambda: False)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


def test_a_later_command_finds_and_ends_what_an_earlier_one_started(tmp_path: Path) -> None:
    first = Sleeper(tmp_path)
    first.start()
    pid = int((tmp_path / "sleeper.pid").read_text())
    try:
        later = Sleeper(tmp_path)
        assert later.port == first.port
        assert later.runs()
        later.start()  # does nothing
        assert int((tmp_path / "sleeper.pid").read_text()) == pid
        later.stop()
        assert not first.runs()
        assert not is_alive(pid)
        later.stop()  # nothing to stop is no error
    finally:
        first.kill()


def test_one_that_an_interrupted_command_left_half_way_up_is_waited_for(tmp_path: Path) -> None:
    left = Sleeper(tmp_path)
    left.start()
    try:
        (tmp_path / "sleeper.pid").rename(tmp_path / "riser.pid")
        with ThreadPoolExecutor(1) as pool:
            later = pool.submit(Riser(tmp_path).start)
            with pytest.raises(TimeoutError):
                later.result(0.5)
            (tmp_path / "ready").touch()
            later.result(60)
    finally:
        left.kill()


def test_no_server_gets_settings_that_would_lead_it_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FRAUD_TYPO", "AWS_ENDPOINT_URL_S3", "MLFLOW_TRACKING_URI", "PGHOST"):
        monkeypatch.setenv(name, "its-value")
    with Sleeper(tmp_path):
        pid = (tmp_path / "sleeper.pid").read_text().strip()
        assert "its-value" not in Path(f"/proc/{pid}/environ").read_text()


def test_half_a_note_of_a_port_is_replaced(tmp_path: Path) -> None:
    first = Sleeper(tmp_path)
    (tmp_path / "port").write_text("")  # an older version, a full disk
    assert Sleeper(tmp_path).port > 0
    assert int((tmp_path / "port").read_text()) == Sleeper(tmp_path).port
    assert not first.any_runs()


def test_a_process_that_got_the_number_of_a_dead_one_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP, cwd="/") as stranger:
        try:
            (tmp_path / "sleeper.pid").write_text(f"{stranger.pid}\n")
            server = Sleeper(tmp_path)
            assert not server.any_runs()
            server.kill()
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_server_that_ends_at_once_shows_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"stillborn ended; the end of .*log.txt:\nno room left"):
        Stillborn(tmp_path).start()


@pytest.mark.parametrize("kind", [S3, Kafka, Hdfs, Toxiproxy])
def test_what_is_not_installed_is_named_with_the_way_to_get_it(
    kind: type[Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs_of_servers, "TOOLS", tmp_path / "tools")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Missing, match=r"make stack-tools|apt-get install"):
        kind(tmp_path / "server").start()


@pytest.mark.integration
def test_postgres_keeps_its_rows_over_a_power_cut(tmp_path: Path) -> None:
    import psycopg2

    def ask(query: str) -> list[Any]:
        connection = psycopg2.connect(postgres.url.replace("+psycopg2", ""))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        finally:
            connection.close()

    with started(Postgres(tmp_path / "postgres")) as postgres:
        ask("CREATE TABLE t AS SELECT 7 AS n; SELECT 1")
        postgres.kill()
        postgres.start()
        assert ask("SELECT n FROM t") == [(7,)]
        wrong = postgres.url.replace("+psycopg2", "").replace(postgres.password, "wrong")
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(wrong)
    assert not listens(postgres.port)
    assert postgres.home == postgres.folder or not postgres.home.exists()


@pytest.mark.integration
def test_a_later_command_finds_every_server_wherever_it_works(tmp_path: Path) -> None:
    with started(Postgres(tmp_path / "postgres")), started(S3(tmp_path / "s3")):
        assert Postgres(tmp_path / "postgres").runs()
        S3(tmp_path / "s3").start()  # does nothing


def test_a_port_that_another_process_took_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Sleeper(tmp_path, taken.getsockname()[1])
        with pytest.raises(ServerError, match=f"port {server.port} of .* is used by another process"):
            server.start()
    assert not server.any_runs()


@pytest.mark.integration
def test_s3_keeps_its_objects_and_refuses_a_wrong_secret(tmp_path: Path) -> None:
    import boto3
    import botocore.exceptions

    def client(secret: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=s3.endpoint,
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
        )

    with started(S3(tmp_path / "s3")) as s3:
        s3.make_bucket("bank")
        s3.make_bucket("bank")
        client(s3.secret_key).put_object(Bucket="bank", Key="a/b", Body=b"content")
        s3.kill()
        s3.start()
        assert client(s3.secret_key).get_object(Bucket="bank", Key="a/b")["Body"].read() == b"content"
        with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
            client("wrong").get_object(Bucket="bank", Key="a/b")


@pytest.mark.integration
def test_kafka_keeps_its_records_over_a_power_cut(tmp_path: Path) -> None:
    from confluent_kafka import Consumer, Producer, TopicPartition

    with started(Kafka(tmp_path / "kafka")) as kafka:
        kafka.make_topic("payments", 2)
        kafka.make_topic("payments", 2)
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        producer.produce("payments", b"one", partition=1)
        assert producer.flush(30) == 0
        kafka.kill()
        kafka.start()
        consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "test"})
        consumer.assign([TopicPartition("payments", 1, 0)])
        message = consumer.poll(30)
        consumer.close()
        assert message is not None
        assert message.value() == b"one"


@pytest.mark.integration
def test_kafka_listens_with_a_login_too(tmp_path: Path) -> None:
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

    known, signer = authority("bank", tmp_path)
    secured = Secured(broker_certificate(tmp_path, "bank", signer), "somebody", "one-of-us")
    refused: list[int] = []

    def client(password: str) -> AdminClient:
        return AdminClient(
            {
                "bootstrap.servers": kafka.secured_bootstrap,
                "security.protocol": "sasl_ssl",
                "ssl.ca.location": str(known),
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": "somebody",
                "sasl.password": password,
                "error_cb": lambda error: refused.append(error.code()),
                "log_level": 2,
            }
        )

    with started(Kafka(tmp_path / "kafka", secured=secured)) as kafka:
        kafka.make_topic("payments")
        assert "payments" in client("one-of-us").list_topics(timeout=30).topics
        assert not refused
        stranger = client("not-one-of-us")
        for _ in range(60):
            stranger.poll(1)
            if refused:
                break
        assert KafkaError._AUTHENTICATION in refused
    assert secured.password not in repr(secured)


@pytest.mark.integration
def test_toxiproxy_cuts_and_heals(tmp_path: Path) -> None:
    with started(S3(tmp_path / "s3")) as s3, started(Toxiproxy(tmp_path / "toxiproxy")) as toxiproxy:
        proxy = toxiproxy.proxy(s3.port)
        url = f"http://127.0.0.1:{proxy.port}/"
        assert httpx.get(url, trust_env=False).status_code == 403
        proxy.enable(False)
        with pytest.raises(httpx.TransportError):
            httpx.get(url, trust_env=False)
        proxy.heal()
        assert httpx.get(url, trust_env=False).status_code == 403


@pytest.mark.integration
@pytest.mark.slow
def test_hdfs_keeps_its_files(tmp_path: Path) -> None:
    with started(Hdfs(tmp_path / "hdfs")) as hdfs:
        place = f"{hdfs.webhdfs}/webhdfs/v1/a.txt"
        put = httpx.put(f"{place}?op=CREATE&overwrite=true", content=b"content", follow_redirects=True)
        assert put.status_code == 201
        hdfs.stop()
        hdfs.start()
        assert httpx.get(f"{place}?op=OPEN", follow_redirects=True).content == b"content"


@pytest.mark.integration
def test_mlflow_hides_the_keys_it_was_given(tmp_path: Path) -> None:
    secret = "sqlite:///" + str(tmp_path / "secret-name.db")
    with started(Mlflow(tmp_path / "mlflow", store=secret)) as mlflow:
        pid = (tmp_path / "mlflow" / "mlflow.pid").read_text().strip()
        assert "secret-name" not in Path(f"/proc/{pid}/cmdline").read_text()
        assert httpx.get(f"{mlflow.url}/version").status_code == 200
    assert not Path(f"/proc/{pid}").exists()
