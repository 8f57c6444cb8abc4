"""The stream under test: topics filled, `antifraud stream` as a process, what a reader of committed data finds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from loadtest.peers.processes import pinned
from loadtest.service import free_port

START_SECONDS = 120.0
STOP_SECONDS = 20.0
ASK_SECONDS = 10.0


class StreamingError(RuntimeError):
    """The stream or its broker did not do what is needed; one line."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The three topics and the group of one stream."""

    input: str = "payments"
    output: str = "decisions"
    dead_letter: str = "payments-dead-letter"
    group: str = "antifraud"

    @classmethod
    def numbered(cls, number: int) -> "Topics":
        """Return topics and a group that no other number has."""
        return cls(f"payments-{number}", f"decisions-{number}", f"dead-letter-{number}", f"antifraud-{number}")

    def make(self, kafka: Any, *, partitions: int) -> None:
        """Make them on a broker."""
        for name in (self.input, self.output, self.dead_letter):
            kafka.make_topic(name, partitions)

    def variables(self) -> dict[str, str]:
        """Return the settings that name them."""
        return {
            "FRAUD_STREAM_INPUT": self.input,
            "FRAUD_STREAM_OUTPUT": self.output,
            "FRAUD_STREAM_DEAD_LETTER": self.dead_letter,
            "FRAUD_STREAM_GROUP": self.group,
        }


class StreamProcess:
    """`antifraud stream` as a process that can be ended, killed and started again.

    Parameters
    ----------
    variables
        Its settings, `FRAUD_*`; a free port is found for its pages.
    log
        File that its errors are appended to.
    core
        The one core that it may run on.
    """

    def __init__(self, variables: Mapping[str, str], *, log: Path, core: int | None = None) -> None:
        self.port = free_port()
        self.log = log
        self._core = core
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")},
            "FRAUD_LOG_LEVEL": "info",
            "FRAUD_DECISION_LOG": "",
            **variables,
            "FRAUD_STREAM_PORT": str(self.port),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None  # noqa: S101  it was started
        return self.process.pid

    def start(self) -> None:
        """Start it; it is not waited for."""
        cores = os.sched_getaffinity(0) if self._core is None else {self._core}
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            with self.log.open("ab") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "antifraud", "stream"],
                    env=self._variables,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
        finally:
            os.sched_setaffinity(0, before)

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its pages; status 0 where it does not answer."""
        opener = build_opener(ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except URLError as error:
            status = getattr(error, "code", 0)
            with suppress(AttributeError):
                error.close()  # type: ignore[attr-defined]  # of an answer with another status than 200
            return int(status), ""
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name with labels.

        Raises
        ------
        StreamingError
            If the page does not answer.
        """
        status, text = self.page("/metrics")
        if status != 200:
            raise StreamingError(f"/metrics answered with status {status}; its last words: {self.last_words()}")
        lines = text.splitlines()
        parts = (line.rpartition(" ") for line in lines if line and line[0] != "#")
        return {name: float(value) for name, _, value in parts}

    def wait_until_ready(self) -> None:
        """Wait until it has its share of the partitions.

        Raises
        ------
        StreamingError
            If it ends before, or takes too long.
        """

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise StreamingError(f"the stream ended; its last words: {self.last_words()}")
            return self.page("/ready")[0] == 200

        wait_until(ready, seconds=START_SECONDS, what="the stream is ready")

    def last_words(self) -> str:
        """Return the end of what it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-500:].strip()

    def end(self) -> int:
        """Tell it to end and return its exit code."""
        assert self.process is not None  # noqa: S101  it was started
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StreamingError(f"the stream had not ended after {STOP_SECONDS:g} s") from None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def streaming(variables: Mapping[str, str], *, log: Path, core: int | None = None) -> Iterator[StreamProcess]:
    """Run a stream until it is ready, and for the time of the block."""
    stream = StreamProcess(variables, log=log, core=core)
    stream.start()
    try:
        stream.wait_until_ready()
        yield stream
    finally:
        stream.kill()


def bank_variables(bank: Path, bootstrap: str) -> dict[str, str]:
    """Return the settings of a stream that serves a bank's work folder."""
    return {
        "FRAUD_WORK_FOLDER": str(bank.absolute()),
        "FRAUD_ID_KEY_FILE": str((bank / "id.key").absolute()),
        "FRAUD_KAFKA_BOOTSTRAP": bootstrap,
    }


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str, pause: float = 0.1) -> None:
    """Wait until something is so.

    Raises
    ------
    StreamingError
        If it is not in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise StreamingError(f"{what}: not after {seconds:g} s")
        time.sleep(pause)


@contextmanager
def broker_on(kafka: Any, core: int) -> Iterator[Any]:
    """Run a broker on one core."""
    with pinned(core):
        kafka.start()
    try:
        yield kafka
    finally:
        kafka.stop()


def fill(bootstrap: str, topic: str, bodies: Iterable[bytes], *, rate: float = 0) -> int:
    """Write bodies to a topic, as fast as it goes or so many a second, and return how many there were."""
    from confluent_kafka import Producer

    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 5, "acks": "all", "sticky.partitioning.linger.ms": 20}
    )
    started, count = time.monotonic(), 0
    for count, body in enumerate(bodies, start=1):
        while True:
            try:
                producer.produce(topic, body)
                break
            except BufferError:
                producer.poll(0.1)
        if rate:
            time.sleep(max(started + count / rate - time.monotonic(), 0))
        if count % 1000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise StreamingError(f"{topic}: not everything could be written")
    return count


class Watch:
    """Where a group stands in a topic; only committed transactions move it.

    A context manager.
    """

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        from confluent_kafka import Consumer

        self._topic = topics.input
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": topics.group, "enable.auto.commit": False, "log_level": 2}
        )
        found = self._consumer.list_topics(topics.input, timeout=ASK_SECONDS).topics[topics.input]
        self._partitions = sorted(found.partitions)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def committed(self) -> int:
        """Return how many messages are before the committed offsets."""
        from confluent_kafka import KafkaException, TopicPartition

        places = [TopicPartition(self._topic, partition) for partition in self._partitions]
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return sum(max(place.offset, 0) for place in self._consumer.committed(places, ASK_SECONDS))
            except KafkaException as error:  # the group's coordinator moves, or a transaction is still open
                if time.monotonic() > end:
                    raise StreamingError(f"{self._topic}: {error.args[0].str()}") from None
                time.sleep(0.1)

    def ends(self) -> int:
        """Return how many messages there are."""
        from confluent_kafka import TopicPartition

        places = (TopicPartition(self._topic, partition) for partition in self._partitions)
        return sum(self._consumer.get_watermark_offsets(place, timeout=ASK_SECONDS)[1] for place in places)


def read_all(bootstrap: str, *names: str) -> Iterator[Any]:
    """Read topics from their beginning as far as they are committed; messages of the client."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    from confluent_kafka import KafkaError

    places = [
        TopicPartition(name, partition, 0)
        for name in names
        for partition in consumer.list_topics(name, timeout=ASK_SECONDS).topics[name].partitions
    ]
    consumer.assign(places)
    open_places = {(place.topic, place.partition) for place in places}
    try:
        while open_places:
            for message in consumer.consume(1000, 1.0):
                if message.error() is None:
                    yield message
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_places.discard((message.topic(), message.partition()))
                elif not message.error().retriable():
                    raise StreamingError(message.error().str())
    finally:
        consumer.close()
