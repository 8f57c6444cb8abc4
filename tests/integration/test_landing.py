"""Records of a real Kafka land each in one file, whenever a landing is killed and whatever is away meanwhile."""

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from model.settings import load_settings
from model.training.landing import AwayError, LandingError, Tally, land
from model.training.landing import run as landing_run
from model.training.landing.store import Store
from model.training.landing.topic import group_of
from stack.servers import Kafka, unused_port
from tests.integration.landing_topics import Place, committed, decision, landed, produce, start_landing
from tests.integration.started import started

pytestmark = pytest.mark.integration
PARTITIONS = 2


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One broker for all tests here; each has topics of its own."""
    with started(Kafka(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture
def topic(kafka: Kafka, request: pytest.FixtureRequest) -> str:
    """A topic of its own for a test, with committed, aborted and broken records."""
    name = f"t{abs(hash(request.node.name))}"
    kafka.make_topic(name, PARTITIONS)
    fill(kafka, name)
    return name


def fill(kafka: Kafka, topic: str, first: int = 0) -> None:
    """Write 1 200 committed decisions in three transactions, 400 that are aborted, and two broken records."""
    committed_ones = [[decision(first + 400 * part + number) for number in range(400)] for part in range(3)]
    aborted = [decision(-1 - number) for number in range(400)]
    batches = [(committed_ones[0], True), (aborted, False), ([*committed_ones[1], b"{", b"[]"], True)]
    produce(kafka.bootstrap, topic, [*batches, (committed_ones[2], True)], partitions=PARTITIONS)


def run_once(kafka: Kafka, topic: str, folder: Path, **settings: Any) -> tuple[Tally, list[str]]:
    """Land what is there in this process; return what was done and what was said."""
    said: list[str] = []
    given = {"kafka_bootstrap": kafka.bootstrap, "stream_output": topic, "landing_port": 0, "landing_records": 150}
    loaded = load_settings(**{**given, **settings})
    return land("decisions", str(folder), settings=loaded, once=True, stop=threading.Event(), say=said.append), said


def check_exactly_once(kafka: Kafka, topic: str, folder: Path) -> None:
    """Compare the folder with what a committed reader finds: each record once, aborted and broken ones never."""
    rows = landed(folder)
    wanted = committed(kafka.bootstrap, topic, partitions=PARTITIONS)
    expected = {
        place: str(json.loads(value)["transaction_id"]) for place, value in wanted.items() if value not in (b"{", b"[]")
    }
    assert dict(rows) == expected
    assert len(rows) == len(expected)
    assert not any(transaction.startswith("-") for _, transaction in rows)


def test_committed_records_land_once_and_aborted_ones_never(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    tally, said = run_once(kafka, topic, tmp_path)
    assert (tally.records, tally.rejected) == (1200, 2)
    check_exactly_once(kafka, topic, tmp_path)
    assert run_once(kafka, topic, tmp_path)[0] == Tally()
    fill(kafka, topic, first=5000)
    assert run_once(kafka, topic, tmp_path)[0].records == 1200
    check_exactly_once(kafka, topic, tmp_path)
    assert sum("rejected: " in line and "offset" in line for line in said) == 2


def test_rejected_records_are_named_in_a_file_that_readers_leave_out(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    run_once(kafka, topic, tmp_path)
    lines = [json.loads(line) for file in tmp_path.glob("_rejected/*") for line in file.read_text().splitlines()]
    wanted = committed(kafka.bootstrap, topic, partitions=PARTITIONS)
    broken = {place for place, value in wanted.items() if value in (b"{", b"[]")}
    assert {(line["partition"], line["offset"]) for line in lines} == broken
    assert len(lines) == 2


class _Crash(BaseException):
    """The end of a process, as far as the code in it can tell."""


@pytest.mark.parametrize("at", [(number, when) for number in (1, 3, 6) for when in ("before", "after")], ids=str)
def test_a_range_that_was_begun_lands_under_the_same_name_with_other_limits_too(
    kafka: Kafka, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, str]
) -> None:
    number, when = at
    written: list[str] = []

    class Breaking(Store):
        def write(self, name: str, content: bytes) -> None:
            written.append(name)
            if len(written) == number + 1 and when == "before":
                raise _Crash
            super().write(name, content)
            if len(written) == number + 1:
                raise _Crash

    monkeypatch.setattr(landing_run, "Store", Breaking)
    with pytest.raises(_Crash):
        run_once(kafka, topic, tmp_path)
    monkeypatch.undo()
    run_once(kafka, topic, tmp_path, landing_records=1000)
    assert (tmp_path / written[-1]).is_file()
    check_exactly_once(kafka, topic, tmp_path)


@pytest.mark.slow
def test_killed_again_and_again_no_reader_ever_sees_a_record_twice_or_half_a_file(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    chance = random.Random(7)  # noqa: S311  no secret
    for part in range(1, 5):
        fill(kafka, topic, first=10_000 * part)
    kills, code = 0, None
    while code is None:
        process = start_landing(kafka.bootstrap, topic, tmp_path, "--landing-records", str(chance.randint(20, 60)))
        # From the first file on: what comes before has nothing to lose.
        seen = len(list(tmp_path.glob("date=*/*.parquet")))
        wanted = seen + chance.randint(15, 60)
        while process.poll() is None and len(list(tmp_path.glob("date=*/*.parquet"))) < wanted:
            time.sleep(chance.random() / 100)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        said, _ = process.communicate()
        places = [place for place, _ in landed(tmp_path)]
        assert len(places) == len(set(places)), said
        if process.returncode != -signal.SIGKILL:
            code = process.returncode
    assert code == 0, said
    assert kills >= 2
    check_exactly_once(kafka, topic, tmp_path)


def test_a_group_that_the_brokers_forgot_goes_on_behind_the_files(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    run_once(kafka, topic, tmp_path)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    client.delete_consumer_groups([group_of(topic, str(tmp_path))])[group_of(topic, str(tmp_path))].result(30)
    fill(kafka, topic, first=5000)
    assert run_once(kafka, topic, tmp_path, landing_records=70)[0].records == 1200
    check_exactly_once(kafka, topic, tmp_path)


def test_another_topic_or_the_same_made_anew_does_not_land_over_the_files(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    run_once(kafka, topic, tmp_path)
    before = landed(tmp_path)
    kafka.make_topic(f"{topic}-other")
    with pytest.raises(LandingError, match=f"decisions of the topic {topic} land there"):
        run_once(kafka, f"{topic}-other", tmp_path)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    client.delete_topics([topic])[topic].result(30)
    wait_until(lambda: topic not in client.list_topics().topics)
    kafka.make_topic(topic, PARTITIONS)
    wait_until(lambda: _is_described(client, topic))
    with pytest.raises(LandingError, match="was deleted and made anew"):
        run_once(kafka, topic, tmp_path)
    assert landed(tmp_path) == before


def _is_described(client: AdminClient, topic: str) -> bool:
    try:
        return bool(client.describe_topics(TopicCollection([topic]))[topic].result().partitions)
    except KafkaException:  # not all parts of the brokers know it yet
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what takes the broker a moment."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_topic_that_is_not_there_is_named(kafka: Kafka, tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="topic nobody: there is no such topic"):
        run_once(kafka, "nobody", tmp_path)


def test_records_that_were_deleted_before_they_landed_are_an_error_that_says_what_to_do(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    run_once(kafka, topic, tmp_path)
    fill(kafka, topic, first=5000)
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for future in client.delete_records([TopicPartition(topic, 0, 1200)]).values():
        future.result(30)
    with pytest.raises(LandingError, match=r"deleted before they landed .*kafka-consumer-groups"):
        run_once(kafka, topic, tmp_path)


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    settings = load_settings(
        kafka_bootstrap="127.0.0.1:1", kafka_security="ssl", kafka_ca_file=tmp_path / "no.crt", landing_port=0
    )
    with pytest.raises(LandingError, match=r"ssl\.ca\.location.*; see FRAUD_KAFKA_"):
        land("decisions", str(tmp_path), settings=settings, once=True, stop=threading.Event(), say=print)


def test_brokers_that_stay_away_end_it_after_its_patience(tmp_path: Path) -> None:
    said: list[str] = []
    settings = load_settings(kafka_bootstrap=f"127.0.0.1:{unused_port()}", landing_port=0, landing_patience="1s")
    with pytest.raises(AwayError, match=r"FRAUD_KAFKA_BOOTSTRAP do not answer .*; gave up after 1 s"):
        land("decisions", str(tmp_path), settings=settings, once=True, stop=threading.Event(), say=said.append)
    assert any(line.startswith("waiting: ") for line in said)
    assert not list(tmp_path.iterdir())


def test_two_that_share_a_topic_and_one_that_leaves_land_each_record_once(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    stops = [threading.Event(), threading.Event()]
    said: list[str] = []
    settings = load_settings(
        kafka_bootstrap=kafka.bootstrap, stream_output=topic, landing_port=0, landing_records=20, landing_every="1s"
    )
    threads = [
        threading.Thread(
            target=land, args=("decisions", str(tmp_path)),
            kwargs={"settings": settings, "once": False, "stop": stop, "say": said.append},
        )
        for stop in stops
    ]  # fmt: skip
    for number, thread in enumerate(threads):
        thread.start()
        fill(kafka, topic, first=10_000 * (number + 1))
    fill(kafka, topic, first=30_000)
    stops[0].set()
    threads[0].join()
    fill(kafka, topic, first=40_000)
    wanted: set[Place] = set(committed(kafka.bootstrap, topic, partitions=PARTITIONS))
    wait_until(lambda: len(landed(tmp_path)) >= len(wanted) - 10)  # 2 of each filling are broken
    stops[1].set()
    threads[1].join()
    check_exactly_once(kafka, topic, tmp_path)


def test_told_to_end_it_leaves_at_once_and_its_metrics_were_there(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()
    settings = load_settings(
        kafka_bootstrap=kafka.bootstrap, stream_output=topic, landing_port=0, landing_every="1s", landing_records=100
    )
    thread = threading.Thread(
        target=land, args=("decisions", str(tmp_path)),
        kwargs={"settings": settings, "once": False, "stop": stop, "say": said.append},
    )  # fmt: skip
    thread.start()
    wait_until(lambda: len(landed(tmp_path)) == 1200)
    port = next(line for line in said if "metrics on port" in line).rsplit(" ", 1)[-1]
    label = f'{{topic="{topic}"}}'
    wait_until(
        lambda: (
            f"fraud_landing_lag_records{label} 0.0" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        )
    )
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    assert f"fraud_landing_records_total{label} 1200.0" in text
    assert f"fraud_landing_rejected_total{label} 2.0" in text
    assert httpx.get(f"http://127.0.0.1:{port}/health", timeout=60).json() == {"status": "alive"}
    assert httpx.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == 404
    stop.set()
    thread.join()


def test_as_a_process_it_ends_by_sigterm_with_all_that_had_landed_told(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    process = start_landing(kafka.bootstrap, topic, tmp_path, "--landing-every", "1s", once=False)
    wait_until(lambda: len(landed(tmp_path)) == 1200)
    process.terminate()
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "LANDED: 1,200 records in" in said
    assert "Traceback" not in said


def test_as_a_process_it_says_by_its_exit_code_that_brokers_are_away(tmp_path: Path) -> None:
    process = start_landing(f"127.0.0.1:{unused_port()}", "any", tmp_path, "--landing-patience", "1s")
    said, _ = process.communicate()
    assert process.returncode == 3, said
    assert "gave up after 1 s, the next run goes on from here" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_broker_that_dies_and_comes_back_costs_nothing(kafka: Kafka, topic: str, tmp_path: Path) -> None:
    process = start_landing(kafka.bootstrap, topic, tmp_path, "--landing-records", "10")
    wait_until(lambda: bool(list(tmp_path.glob("date=*/*.parquet"))))
    kafka.kill()
    time.sleep(2)
    kafka.start()
    try:
        process.wait(120)
    finally:
        process.kill()
        said, _ = process.communicate()
    assert process.returncode == 0, said
    check_exactly_once(kafka, topic, tmp_path)
