"""`antifraud stream` as its users meet it: real processes on a real broker, each message accounted for in the end."""

import itertools
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from starlette.testclient import TestClient

from loadtest.kill_ledger import balance, bodies, run_and_kill
from loadtest.stream_topics import Topics, Watch, fill, read_all, wait_until
from loadtest.streams import StreamProcess
from model.settings import Settings
from service.scorer import Loaded
from stack.servers import Kafka
from tests.integration.started import started
from tests.integration.stream_members import PATIENCE, Start, clean, ended, said_of, streams, wait_for
from tests.service.shelf import make_shelf, pod_on, serving
from tests.service.wire import payment, post

pytestmark = [pytest.mark.slow, pytest.mark.integration]

PARTITIONS = 4
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with started(Kafka(tmp_path_factory.mktemp("kafka"))) as kafka:
        yield kafka


@pytest.fixture
def topics(kafka: Kafka) -> Topics:
    topics = Topics.numbered(next(_numbers))
    topics.make(kafka, partitions=PARTITIONS)
    return topics


@pytest.fixture
def start(
    kafka: Kafka, topics: Topics, settings: Settings, loaded: Loaded, tmp_path: Path
) -> Iterator[Callable[..., StreamProcess]]:
    assert loaded
    with streams(kafka, topics, settings, tmp_path) as make:

        def start(member: str = "one", **given: str) -> StreamProcess:
            stream = make(member, **given)
            stream.start()
            return stream

        yield start


def test_decisions_are_the_answers_of_the_service_and_poison_goes_aside(  # noqa: PLR0917  fixtures
    kafka: Kafka, topics: Topics, start: Start, client: TestClient, payments: list[dict[str, Any]], tmp_path: Path
) -> None:
    stream = start(decision_log=str(tmp_path / "decisions"))
    good = [json.dumps(one).encode() for one in payments]
    bad = [b"{", json.dumps(payment(tx_amount=-1)).encode(), json.dumps(payment()).encode() + b" " * 20_000]
    version_2 = json.dumps(payment(transaction_id="wide", channel="web")).encode()
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for body in (*good, *bad):
        producer.produce(topics.input, body, b"k")
    producer.produce(topics.input, None, b"k")
    producer.produce(topics.input, version_2, b"wide", headers=[("schema-version", b"2")])
    producer.produce(topics.input, good[0], b"k", headers=[("schema-version", b"9")])
    assert producer.flush(30) == 0
    wait_for(kafka, topics, len(good) + len(bad) + 3)
    decisions = {message.key(): message.value() for message in read_all(kafka.bootstrap, topics.output)}
    answers = [message.value() for message in read_all(kafka.bootstrap, topics.output) if message.key() == b"k"]
    assert sorted(answers) == sorted(post(client, body).content for body in good)
    assert decisions[b"wide"] == post(client, payment(transaction_id="wide")).content
    letters = [(message, dict(message.headers())) for message in read_all(kafka.bootstrap, topics.dead_letter)]
    assert sorted(found["reason"] for _, found in letters) == sorted(
        [b"not-json", b"invalid-field", b"too-large", b"tombstone", b"unknown-schema"]
    )
    problems = {message.value(): found["problem"] for message, found in letters}
    assert all(problems[body] == post(client, body).content for body in bad)

    def decided() -> float:
        return sum(value for name, value in stream.metrics().items() if name.startswith("fraud_decisions_total"))

    # It counts what it has committed a moment later.
    wait_until(lambda: decided() == len(good) + 1, seconds=PATIENCE, what="all decisions are counted")
    metrics = stream.metrics()
    assert metrics['fraud_stream_dead_letters_total{reason="not-json"}'] == 1
    assert metrics["fraud_stream_age_seconds_count"] == len(good) + len(bad) + 3
    assert sum(value for name, value in metrics.items() if name.startswith("fraud_stream_lag")) == 0
    stream.wait_until_ready()
    assert stream.end() == 0
    logged = [json.loads(line) for line in (tmp_path / "decisions").read_text().splitlines()]
    assert len(logged) == len(good) + 1
    assert {line["transaction_id"] for line in logged} == {one["transaction_id"] for one in payments} | {"wide"}


def test_two_members_share_the_work_and_what_one_leaves_the_other_takes(
    kafka: Kafka, topics: Topics, start: Start, payments: list[dict[str, Any]]
) -> None:
    count = 6000
    first = start("one")
    first.wait_until_ready()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(fill, kafka.bootstrap, topics.input, bodies(payments, count), rate=400)
        second = start("two")
        second.wait_until_ready()

        def worked(stream: StreamProcess) -> bool:
            return stream.metrics().get("fraud_stream_messages_total", 0) > 0

        wait_until(lambda: worked(first) and worked(second), seconds=PATIENCE, what="both work")
        assert first.metrics()['fraud_stream_rebalances_total{event="revoked"}'] >= 1
        assert first.end() == 0
        writing.result()
        wait_for(kafka, topics, count)
    assert second.metrics()['fraud_stream_rebalances_total{event="lost"}'] == 0
    assert second.end() == 0
    assert clean(balance(kafka.bootstrap, topics, count), count)


def test_killed_again_and_again_nothing_is_lost_or_double(  # noqa: PLR0917  fixtures
    kafka: Kafka, topics: Topics, settings: Settings, start: Start, payments: list[dict[str, Any]], tmp_path: Path
) -> None:
    count, kills = 5000, 4
    fill(kafka.bootstrap, topics.input, bodies(payments, count))
    other = start("two")
    with streams(kafka, topics, settings, tmp_path) as make, Watch(kafka.bootstrap, topics) as watch:
        # Slow enough that all kills find it at work.
        victim = make("one", stream_batch="20")
        rng = random.Random(5)  # noqa: S311  no secret, and repeatable
        done = run_and_kill(victim, watch, count=count, kills=kills, rng=rng)
    assert len(done) == kills
    assert other.end() == 0
    assert clean(balance(kafka.bootstrap, topics, count), count)


def at_work(kafka: Kafka, topics: Topics, start: Start, messages: Iterable[bytes]) -> StreamProcess:
    """Return a stream in the middle of its work, with much of it left."""
    fill(kafka.bootstrap, topics.input, messages)
    stream = start(stream_batch="10")
    with Watch(kafka.bootstrap, topics) as watch:
        wait_until(lambda: watch.committed() > 100, seconds=PATIENCE, what="it works", pause=0.01)
    return stream


@pytest.mark.parametrize("go", [Kafka.stop, Kafka.kill])
def test_a_broker_that_goes_and_comes_back_costs_time_only(
    kafka: Kafka, topics: Topics, start: Start, payments: list[dict[str, Any]], go: Callable[[Kafka], None]
) -> None:
    count = 3000
    stream = at_work(kafka, topics, start, bodies(payments, count))
    go(kafka)
    wait_until(lambda: stream.page("/ready")[0] == 503, seconds=PATIENCE, what="it is not ready any more")
    assert stream.page("/health")[0] == 200
    kafka.start()
    wait_for(kafka, topics, count)
    stream.wait_until_ready()
    assert f"Kafka at {kafka.bootstrap} does not answer" in said_of(stream)
    assert stream.end() == 0
    assert clean(balance(kafka.bootstrap, topics, count), count)


def test_brokers_and_members_killed_at_random_lose_and_double_nothing(
    kafka: Kafka, topics: Topics, start: Start, payments: list[dict[str, Any]]
) -> None:
    count, rng = 6000, random.Random(3)  # noqa: S311  no secret, and repeatable
    one, two = start("one", stream_batch="20"), start("two", stream_batch="20")
    fill(kafka.bootstrap, topics.input, bodies(payments, count))
    for _ in range(3):
        time.sleep(rng.uniform(1, 6))
        rng.choice([Kafka.stop, Kafka.kill])(kafka)
        time.sleep(rng.choice([0, 0.2, 1, 8]))
        kafka.start()
        killed = rng.choice([one, two])
        killed.kill()
        killed.start()
    wait_for(kafka, topics, count)
    for stream in (one, two):
        stream.wait_until_ready()
        assert stream.end() == 0
    assert clean(balance(kafka.bootstrap, topics, count), count)


def test_told_to_end_in_the_middle_it_leaves_nothing_open(
    kafka: Kafka, topics: Topics, start: Start, payments: list[dict[str, Any]]
) -> None:
    count = 3000
    stream = at_work(kafka, topics, start, bodies(payments, count, poison_every=0))
    assert stream.end() == 0
    with Watch(kafka.bootstrap, topics) as watch:
        committed = watch.committed()
    assert committed < count
    assert sum(1 for _ in read_all(kafka.bootstrap, topics.output)) == committed
    # It has left the group: the next member has its share without waiting for the session to end.
    later = start("two", stream_session_seconds="300")
    later.wait_until_ready()
    wait_for(kafka, topics, count)
    assert later.end() == 0
    assert clean(balance(kafka.bootstrap, topics, count, poison_every=0), count)


def test_two_processes_of_one_name_fence_each_other_and_decide_nothing_twice(  # noqa: PLR0917  fixtures
    kafka: Kafka, topics: Topics, start: Start, settings: Settings, tmp_path: Path, payments: list[dict[str, Any]]
) -> None:
    count = 1500
    fill(kafka.bootstrap, topics.input, bodies(payments, count))
    first = start("same", stream_batch="20")
    first.wait_until_ready()
    (tmp_path / "other").mkdir()
    with streams(kafka, topics, settings, tmp_path / "other") as make:
        second = make("same", stream_batch="20")
        second.start()
        wait_for(kafka, topics, count)
        first.kill()
        second.kill()
    # What the last one left open is aborted after a while; the reader waits for that.
    assert clean(balance(kafka.bootstrap, topics, count), count)


def test_an_aborted_transaction_is_repeated_until_it_commits(
    kafka: Kafka, settings: Settings, loaded: Loaded, tmp_path: Path, payments: list[dict[str, Any]]
) -> None:
    assert loaded
    topics, count = Topics.numbered(next(_numbers)), 200
    kafka.make_topic(topics.input, PARTITIONS)
    kafka.make_topic(topics.dead_letter, PARTITIONS)
    kafka.make_topic(topics.output, PARTITIONS, max_message_bytes="300")
    fill(kafka.bootstrap, topics.input, bodies(payments, count))
    with streams(kafka, topics, settings, tmp_path) as make:
        stream = make("one")
        stream.start()
        stream.wait_until_ready()
        aborted = 'fraud_stream_transactions_total{result="aborted"}'
        wait_until(lambda: stream.metrics().get(aborted, 0) >= 2, seconds=PATIENCE, what="aborts")
        assert stream.metrics()["fraud_stream_messages_total"] == 0
        _allow_long_messages(kafka, topics.output)
        wait_for(kafka, topics, count)
        assert stream.end() == 0
    assert clean(balance(kafka.bootstrap, topics, count), count)


def _allow_long_messages(kafka: Kafka, topic: str) -> None:
    entry = ConfigEntry("max.message.bytes", "1000000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    client = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for done in client.incremental_alter_configs([resource]).values():
        done.result(30)


def test_another_pair_is_taken_while_messages_are_decided_and_no_decision_mixes_two(  # noqa: PLR0917  fixtures
    kafka: Kafka,
    topics: Topics,
    settings: Settings,
    loaded: Loaded,
    tmp_path: Path,
    payments: list[dict[str, Any]],
) -> None:
    from tests.integration.test_reload import Expected

    count, rate = 3000, 200
    shelf_of_two = make_shelf(tmp_path / "registry", settings, loaded)
    with serving(shelf_of_two) as shelf:
        expected = Expected(shelf, tmp_path / "expected")
        expected.learn()
        other = shelf.add_model(trees=20), shelf.add_statistics(later_by=1)
        pod = pod_on(shelf, tmp_path / "pod")
        with streams(kafka, topics, pod, tmp_path) as make, ThreadPoolExecutor(1) as pool:
            stream = make("one", tracking_uri=shelf.uri, poll_seconds="0.2")
            stream.start()
            stream.wait_until_ready()
            writing = pool.submit(
                fill, kafka.bootstrap, topics.input, bodies(payments, count, poison_every=0), rate=rate
            )
            wait_for(kafka, topics, count // 10)
            shelf.point(champion=other[0], current=other[1])
            expected.learn()
            writing.result()
            wait_for(kafka, topics, count)
            assert stream.end() == 0
    used = set()
    asked = {(one.partition(), one.offset()): one.value() for one in read_all(kafka.bootstrap, topics.input)}
    for message in read_all(kafka.bootstrap, topics.output):
        found = dict(message.headers())
        answer = json.loads(message.value())
        used.add((answer["model_version"], answer["statistics_as_of"]))
        assert found["model-version"].decode() == answer["model_version"]
        place = int(found["source-partition"]), int(found["source-offset"])
        assert message.value() == expected.answer(asked[place], answer)
    assert len(used) == 2
    assert clean(balance(kafka.bootstrap, topics, count, poison_every=0), count)


def test_a_start_without_a_broker_says_so_and_ends_with_its_own_code(start: Start) -> None:
    code, said = ended(start(kafka_bootstrap="127.0.0.1:1", stream_start_seconds="8"))
    assert code == 3
    assert "Kafka at 127.0.0.1:1 does not answer" in said
    assert "FRAUD_KAFKA_BOOTSTRAP" in said
    assert "trying again" in said
    assert "Traceback" not in said


def test_a_start_without_its_topic_names_it(start: Start, kafka: Kafka) -> None:
    code, said = ended(start(stream_output="nobody-made-it"))
    assert code == 1
    assert f"Kafka at {kafka.bootstrap} has no topic nobody-made-it: create it, or set FRAUD_STREAM_OUTPUT" in said
    assert "Traceback" not in said


@contextmanager
def broker_with(messages: Iterable[bytes], folder: Path) -> Iterator[tuple[Kafka, Topics]]:
    """Run a broker for one test, with messages in a topic."""
    with started(Kafka(folder / "broker")) as kafka:
        topics = Topics()
        topics.make(kafka, partitions=1)
        fill(kafka.bootstrap, topics.input, messages)
        yield kafka, topics


def test_a_start_waits_for_its_broker(
    settings: Settings, loaded: Loaded, tmp_path: Path, payments: list[dict[str, Any]]
) -> None:
    assert loaded
    with broker_with(bodies(payments, 100), tmp_path) as (kafka, topics):
        kafka.stop()
        with streams(kafka, topics, settings, tmp_path) as make:
            stream = make("one")
            stream.start()
            wait_until(lambda: "does not answer" in said_of(stream), seconds=PATIENCE, what="it says so")
            kafka.start()
            wait_for(kafka, topics, 100)
            assert stream.end() == 0
        assert clean(balance(kafka.bootstrap, topics, 100), 100)


def test_a_stream_whose_broker_is_gone_ends_all_the_same_when_told_to(
    settings: Settings, loaded: Loaded, tmp_path: Path, payments: list[dict[str, Any]]
) -> None:
    assert loaded
    with (
        broker_with(bodies(payments, 3000), tmp_path) as (kafka, topics),
        streams(kafka, topics, settings, tmp_path) as make,
    ):
        stream = make("one", stream_batch="10")
        stream.start()
        wait_for(kafka, topics, 100)
        kafka.kill()
        assert stream.end() == 0
