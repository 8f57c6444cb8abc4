"""MLflow on PostgreSQL and S3 when something behind it breaks, and who needs which keys."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.registry import (
    CHAMPION,
    CURRENT,
    MODEL_NAME,
    STATISTICS_NAME,
    Publisher,
    RegistryUnavailableError,
    Version,
    open_publisher,
    open_reader,
)
from stack.servers import Mlflow, Toxiproxy
from tests.conftest import ID_KEY
from tests.integration.mlflow_server import BUCKET, Platform, platform
from tests.integration.started import started

pytestmark = pytest.mark.integration

TRAINING = ("--trees", "2", "--leaves", "4")
# What has no key of a store must not even find its libraries.
WITHOUT_LIBRARIES = """\
import sys
for name in ("mlflow", "boto3", "psycopg2"):
    sys.modules[name] = None
from pathlib import Path
from model.registry import open_reader
address, name, alias, folder = sys.argv[1:]
reader = open_reader(address)
reader.download(reader.resolve(name, alias), Path(folder))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("platform")) as found:
        yield found


@pytest.fixture
def publisher(found: Platform) -> Publisher:
    return open_publisher(found.mlflow.url)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for number in range(8):
        (folder / f"part-{number}.bin").write_bytes(os.urandom(4 * 2**20))
    return folder


def publish(publisher: Publisher, folder: Path, name: str) -> Version:
    with publisher.run("training", "a run", {"why": "test"}) as run:
        return publisher.publish(name, folder, run_id=run.run_id, tags={})


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def without_keys() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FRAUD_", "MLFLOW_"))}


def stored(found: Platform) -> int:
    """Return the bytes of all that lies in the bucket."""
    return sum(path.stat().st_size for path in (found.s3.folder / "root" / BUCKET).rglob("*") if path.is_file())


def wait_for(what: str, seconds: float, is_so: object) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def test_a_pod_loads_with_neither_mlflow_nor_a_key_of_s3(
    found: Platform, publisher: Publisher, bundle: Path, tmp_path: Path
) -> None:
    before = stored(found)
    version = publish(publisher, bundle, MODEL_NAME)
    publisher.set_alias(MODEL_NAME, CHAMPION, version.version)
    assert stored(found) >= before + 32 * 2**20  # they are on S3 and nowhere else
    command = [sys.executable, "-c", WITHOUT_LIBRARIES, found.mlflow.url, MODEL_NAME, CHAMPION, str(tmp_path / "pod")]
    done = subprocess.run(command, env=without_keys(), capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "pod") == hashes(bundle)


def test_a_server_restarted_in_the_middle_of_an_upload_leaves_a_whole_version_or_none(
    found: Platform, publisher: Publisher, bundle: Path, tmp_path: Path
) -> None:
    name, before = "interrupted", stored(found)
    outcome: list[Version | Exception] = []

    def upload() -> None:
        try:
            outcome.append(publish(publisher, bundle, name))
        except RegistryUnavailableError as error:
            outcome.append(error)

    uploader = threading.Thread(target=upload)
    uploader.start()
    wait_for("the upload began", 60, lambda: stored(found) > before + 2**20)
    assert uploader.is_alive()
    found.mlflow.kill()
    found.mlflow.start()
    uploader.join(180)
    assert len(outcome) == 1

    versions = publisher.versions(name)
    if isinstance(outcome[0], Exception):
        assert versions == []
        assert found.mlflow.url in str(outcome[0])
        versions = [publish(publisher, bundle, name)]  # what a repeat of the job does
    assert [one.version for one in versions] == ["1"]
    open_reader(found.mlflow.url).download(versions[0], tmp_path / "pod")
    assert hashes(tmp_path / "pod") == hashes(bundle)


def test_while_postgres_is_away_a_pod_hears_so_and_afterwards_all_goes_on(
    found: Platform, publisher: Publisher, bundle: Path
) -> None:
    name = "restarted"
    publisher.set_alias(name, CHAMPION, publish(publisher, bundle, name).version)
    reader = open_reader(found.mlflow.url)
    found.postgres.kill()
    try:
        with pytest.raises(RegistryUnavailableError):
            reader.resolve(name, CHAMPION)
    finally:
        found.postgres.start()

    def answers() -> bool:
        try:
            return reader.resolve(name, CHAMPION).version == "1"
        except RegistryUnavailableError:
            return False

    wait_for("the registry answers again", 60, answers)
    assert publish(publisher, bundle, name).version == "2"


def test_an_upload_that_s3_cuts_off_registers_nothing(
    found: Platform, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with started(Toxiproxy(tmp_path / "toxiproxy")) as toxiproxy:
        proxy = toxiproxy.proxy(found.s3.port)
        environment = found.s3.environment(f"http://127.0.0.1:{proxy.port}") | {"AWS_MAX_ATTEMPTS": "1"}
        artifacts = f"s3://{BUCKET}/cut"
        behind = Mlflow(tmp_path / "mlflow", store=found.postgres.url, artifacts=artifacts, environment=environment)
        with started(behind):
            publisher = open_publisher(behind.url)
            proxy.toxic("limit_data", stream="upstream", bytes=2 * 2**20)  # of each connection; a file is twice as long
            with pytest.raises(RegistryUnavailableError):
                publish(publisher, bundle, "cut")
            assert publisher.versions("cut") == []
            proxy.heal()
            assert publish(publisher, bundle, "cut").version == "1"


@pytest.mark.slow
def test_of_two_trainers_at_once_both_register_and_one_champion_stands(
    found: Platform, history: Path, tmp_path: Path
) -> None:
    def train(number: int) -> "subprocess.Popen[str]":
        variables = without_keys() | {
            "FRAUD_ID_KEY": ID_KEY,
            "FRAUD_WORK_FOLDER": str(tmp_path / f"trainer-{number}"),
            "FRAUD_TRACKING_URI": behind.url,
            "FRAUD_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        command = [sys.executable, "-m", "antifraud", "train", "--history", str(history), *TRAINING]
        return subprocess.Popen(
            command, env=variables, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    # A database of their own: two first trainings of one registry.
    with platform(tmp_path) as own:
        behind = own.mlflow
        trainers = [train(number) for number in range(2)]
        told = [trainer.communicate(timeout=300)[0] for trainer in trainers]
        codes = [trainer.returncode for trainer in trainers]
        publisher = open_publisher(behind.url)
        versions = [one.version for one in publisher.versions(MODEL_NAME)]
        champion = publisher.find_alias(MODEL_NAME, CHAMPION)
        statistics = publisher.find_alias(STATISTICS_NAME, CURRENT)

    # They take turns at the registry's lock: each is champion, with its own statistics, and the later one stays.
    assert codes == [0, 0], told
    assert sorted(versions) == ["1", "2"]
    assert champion is not None
    assert statistics is not None
    appointed = {f"{MODEL_NAME} version {number} appointed champion" for number in versions}
    assert {one for one in appointed for text in told if one in text} == appointed
    assert any(f"{champion} appointed champion; {statistics}" in text for text in told)
