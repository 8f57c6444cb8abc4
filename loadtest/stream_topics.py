"""The topics of a stream under test: made, filled, how far a group has come, what a reader of committed data finds."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

START_SECONDS = 120.0
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
