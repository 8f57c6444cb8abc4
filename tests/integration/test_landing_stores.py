"""The same on a real S3 and a real HDFS: they say 500, refuse, have no such bucket; reports reach the statistics."""

import io
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from antifraud.cli import main
from model.bundle import read_snapshot
from model.registry import CURRENT, STATISTICS_NAME, embedded_uri, open_reader
from model.settings import Settings, load_settings
from model.statistics import Snapshot
from model.training.addresses import open_address
from model.training.landing import LandingError, land
from model.training.train import TrainingOutcome
from stack.servers import S3, Hdfs, Kafka
from tests.conftest import ID_KEY
from tests.integration.faulty_proxy import FaultyProxy, faulty_proxy
from tests.integration.landing_topics import committed, decision, produce, start_landing
from tests.integration.started import started
from tests.integration.test_landing import wait_until
from tests.model.training.histories import payment, write_parquet

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with started(Kafka(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with started(S3(tmp_path_factory.mktemp("s3"))) as server:
        server.make_bucket("bank")
        yield server


@pytest.fixture
def proxy(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy before the S3 server, by which this process and its children reach it."""
    with faulty_proxy(s3.port) as found:
        for name, value in s3.environment(f"http://127.0.0.1:{found.port}").items():
            monkeypatch.setenv(name, value)
        yield found


def places(address: str) -> list[tuple[int, int]]:
    """Return the place of every row that stands at an address."""
    found = []
    for file in open_address(address).list_files():
        table = pq.read_table(io.BytesIO(file.place.read_bytes()))
        found += list(zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True))
    return found


def fill(kafka: Kafka, topic: str, count: int) -> None:
    kafka.make_topic(topic, 2)
    batches = [([decision(number) for number in range(count)], True), ([decision(-1)], False)]
    produce(kafka.bootstrap, topic, batches, partitions=2)


def test_a_store_that_says_500_is_waited_for_and_nothing_is_lost(kafka: Kafka, proxy: FaultyProxy) -> None:
    fill(kafka, "sick", 500)
    said: list[str] = []
    proxy.status = 500
    settings = load_settings(
        kafka_bootstrap=kafka.bootstrap, stream_output="sick", landing_port=0, landing_records=50, landing_patience="2m"
    )
    thread = threading.Thread(
        target=land, args=("decisions", "s3://bank/sick"),
        kwargs={"settings": settings, "once": True, "stop": threading.Event(), "say": said.append},
    )  # fmt: skip
    thread.start()
    wait_until(lambda: any(line.startswith("waiting: s3://bank/sick") for line in said))
    proxy.status = 0
    wait_until(lambda: len(proxy.puts) >= 3)
    proxy.status = 503
    refused = proxy.refused
    wait_until(lambda: proxy.refused > refused or not thread.is_alive())
    proxy.status = 0
    thread.join()
    found = places("s3://bank/sick")
    assert len(found) == len(set(found)) == 500
    assert set(found) == set(committed(kafka.bootstrap, "sick", partitions=2))
    assert "going on" in said


def test_killed_while_it_writes_to_s3_each_record_is_there_once(kafka: Kafka, proxy: FaultyProxy) -> None:
    fill(kafka, "killed", 600)
    for puts in (3, 6):
        before = len(proxy.puts)
        process = start_landing(kafka.bootstrap, "killed", "s3://bank/killed", "--landing-records", "20")
        wait_until(lambda before=before, puts=puts: len(proxy.puts) >= before + puts)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = places("s3://bank/killed")
        assert len(found) == len(set(found))
    process = start_landing(kafka.bootstrap, "killed", "s3://bank/killed", "--landing-records", "70")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    found = places("s3://bank/killed")
    assert len(found) == len(set(found)) == 600


@pytest.mark.slow
def test_killed_while_it_writes_to_hdfs_each_record_is_there_once(
    kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(kafka, "hadoop", 600)
    with started(Hdfs(tmp_path / "hdfs")) as hdfs:
        monkeypatch.setenv("FRAUD_WEBHDFS", f"http://127.0.0.1:{hdfs.webhdfs_port}")
        address = f"{hdfs.hdfs}/bank/decisions"
        folder = open_address(address)
        process = start_landing(kafka.bootstrap, "hadoop", address, "--landing-records", "20")
        wait_until(lambda: folder.exists() and len(folder.below()) >= 3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = places(address)
        assert len(found) == len(set(found)) < 600
        process = start_landing(kafka.bootstrap, "hadoop", address, "--landing-records", "70")
        said, _ = process.communicate()
        assert process.returncode == 0, said
        found = places(address)
        assert len(found) == len(set(found)) == 600


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("s3://nobodys/x", "there is no such bucket"),
        ("s3://bank/wrong-secret", "access was refused"),
        ("s3://key:secret@bank/x", "must hold no user, password"),
        ("ftp://bank/x", "ftp:// is not known"),
    ],
)
def test_an_address_that_cannot_be_right_ends_it_at_once(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, address: str, rule: str
) -> None:
    kafka.make_topic("plain", 1)
    if "wrong" in address:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    settings = load_settings(kafka_bootstrap=kafka.bootstrap, stream_output="plain", landing_port=0)
    with pytest.raises(LandingError, match=rule) as caught:
        land("decisions", address, settings=settings, once=True, stop=threading.Event(), say=print)
    assert "secret@" not in str(caught.value)


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("where", ["folder", "s3"])
def test_a_report_sent_to_the_topic_reaches_the_statistics_of_the_next_refresh(
    kafka: Kafka, small_registry: Path, tmp_path: Path, history: Path, where: str
) -> None:
    reports = "s3://bank/reports" if where == "s3" else str(tmp_path / "reports")
    topic = f"reports-{where}"
    kafka.make_topic(topic, 2)
    (tmp_path / "history").mkdir()
    for path in sorted(history.glob("*.parquet"))[-4:]:
        (tmp_path / "history" / path.name).symlink_to(path)
    write_parquet(tmp_path / "history" / "late.parquet", [payment(10**9, tx_datetime=datetime(2026, 2, 9, 23, 59))])
    report = {"transaction_id": 10**9, "report_datetime": "2026-02-10T00:30:00Z"}
    batches = [([json.dumps(report).encode(), b"{}"], True), ([b'{"transaction_id": 1}'], False)]
    produce(kafka.bootstrap, topic, batches, partitions=2)

    settings = load_settings(kafka_bootstrap=kafka.bootstrap, landing_reports=topic, landing_port=0)
    tally = land("reports", reports, settings=settings, once=True, stop=threading.Event(), say=print)
    assert (tally.records, tally.rejected) == (1, 1)
    refreshing = ["refresh", "--history", str(tmp_path / "history"), "--work-folder", str(small_registry)]
    assert main([*refreshing, "--reports", reports, "--as-of", "2026-02-10T01:00:00Z"]) == 0
    snapshot = current(small_registry, tmp_path / "pod")
    hasher = load_settings(id_key=ID_KEY).id_hasher()
    keys = snapshot.customer.keys
    assert snapshot.customer.lookup(keys[keys == hasher.customer("7")]).reshape(3, 4)[0, 3] == 1


@pytest.fixture
def small_registry(
    settings: Settings, outcome: TrainingOutcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A work folder with a copy of the small bank's registry."""
    assert outcome.is_champion
    for name in [name for name in os.environ if name.upper().startswith("FRAUD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FRAUD_ID_KEY", ID_KEY)
    (tmp_path / "work").mkdir()
    shutil.copyfile(settings.work_folder / "mlflow.db", tmp_path / "work" / "mlflow.db")
    return tmp_path / "work"


def current(registry: Path, folder: Path) -> Snapshot:
    """Return the statistics that `current` names, as a pod gets them."""
    reader = open_reader(embedded_uri(registry))
    version = reader.resolve(STATISTICS_NAME, CURRENT)
    reader.download(version, folder)
    fingerprint = load_settings(id_key=ID_KEY).id_hasher().fingerprint
    return read_snapshot(folder, id_key_fingerprint=fingerprint, manifest_sha256=version.tags["manifest_sha256"])
