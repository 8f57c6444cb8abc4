"""A member's share of the topic, without brokers: who may ask for it and when, and where it is read from."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry, generate_latest

from model.settings import load_settings
from service.stream.brokers import make_consumer
from service.stream.meters import Meters
from service.stream.share import LOOK_SECONDS, Share
from tests.conftest import ID_KEY

NOBODY = "127.0.0.1:1"
READ_SECONDS = 8.0


def test_metrics_do_not_wait_for_the_loop_that_reads() -> None:
    # The client lets one thread at a time ask it: who asks while the loop waits for messages gets no answer until then.
    reads = Event()
    settings = load_settings(id_key=ID_KEY, kafka_bootstrap=NOBODY)
    consumer = make_consumer(settings, on_error=lambda _: reads.set(), on_figures=print)
    registry = CollectorRegistry()
    share = Share(consumer, settings.stream_input, Meters(registry))
    share.advance({0: 5})
    loop = Thread(target=consumer.consume, args=(1, READ_SECONDS))
    loop.start()
    assert reads.wait(60)
    assert b"fraud_stream_lag" in generate_latest(registry)
    assert loop.is_alive()
    loop.join()
    consumer.close()


def test_lag_is_what_the_last_look_found() -> None:
    class Told:
        """A client that knows where partition 0 ends, and of partition 1 that nothing was read yet."""

        asked = 0

        def get_watermark_offsets(self, place: object, *, cached: bool) -> tuple[int, int]:
            assert cached
            self.asked += 1
            return (0, 12) if place.partition == 0 else (-1001, -1001)  # type: ignore[attr-defined]

    client = Told()
    now = [100.0]
    share = Share(client, "payments", Meters(CollectorRegistry()), clock=lambda: now[0])
    share.advance({0: 5, 1: 3})
    assert share.lags() == []
    share.look()
    assert share.lags() == [(0, 7), (1, 0)]
    share.advance({0: 12})
    assert share.lags() == [(0, 0), (1, 0)]
    share.look()
    assert client.asked == 2  # a moment later there is nothing new
    now[0] += LOOK_SECONDS
    share.look()
    assert client.asked == 4


class Client:
    """A client whose group stands at offset 40 in partition 0, below the first message that is left, and nowhere else.

    Every first question to the brokers fails.
    """

    def __init__(self) -> None:
        self.given: list[tuple[int, int]] = []
        self.sought: list[tuple[int, int]] = []
        self.places: list[TopicPartition] = []
        self.answers = False
        self._assign: Callable[..., None] = print

    def subscribe(self, _: list[str], *, on_assign: Callable[..., None], **__: object) -> None:
        self._assign = on_assign

    def assign(self, *partitions: int) -> None:
        self._assign(self, [TopicPartition("payments", partition) for partition in partitions])

    def incremental_assign(self, places: list[TopicPartition]) -> None:
        self.places += places
        self.given += [(place.partition, place.offset) for place in places]

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition) for place in self.places]

    def seek(self, place: TopicPartition) -> None:
        self.sought.append((place.partition, place.offset))

    def committed(self, places: list[TopicPartition], _: float) -> list[TopicPartition]:
        self.answers = not self.answers
        if self.answers:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition("payments", place.partition, -1001 if place.partition else 40) for place in places]

    def get_watermark_offsets(self, place: TopicPartition, **_: object) -> tuple[int, int]:
        return (50, 90) if place.partition == 0 else (0, 7)

    def consumer_group_metadata(self) -> object:
        return object()

    def memberid(self) -> str:
        return "one"


class Message:
    def __init__(self, partition: int, offset: int) -> None:
        self.place = partition, offset

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def share(client: Client) -> Share:
    share = Share(client, "payments", Meters(CollectorRegistry()))
    share.ask_for(bool, bool)
    return share


def taken(share: Share, *places: tuple[int, int]) -> list[tuple[int, int]]:
    return [message.place for message in share.only_new(Message(*place) for place in places)]


def test_the_client_is_told_by_number_where_to_read_on(client: Client, share: Share) -> None:
    # Told "the beginning" or "what is committed", it may read a partition on that was taken away meanwhile.
    client.assign(0, 1)
    assert client.given == [(0, 50), (1, 0)]
    share.rewind_due = True
    with pytest.raises(KafkaException):
        share.rewind()
    assert share.rewind_due
    share.rewind()
    assert client.sought == [(0, 50), (1, 0)]
    assert not share.rewind_due


def test_questions_that_nobody_answered_are_borne_and_asked_again(client: Client) -> None:
    borne: list[Any] = []
    share = Share(client, "payments", Meters(CollectorRegistry()))
    share.ask_for(bool, borne.append)
    client.assign(1)
    assert [error.code() for error in borne] == [KafkaError._TIMED_OUT]
    assert share.joined


def test_what_the_client_gives_twice_is_left_out(client: Client, share: Share) -> None:
    client.assign(0, 1)
    assert taken(share, (0, 50), (0, 51), (1, 0)) == [(0, 50), (0, 51), (1, 0)]
    assert taken(share, (0, 50), (0, 53), (1, 0), (1, 1)) == [(0, 53), (1, 1)]  # gaps are usual in a topic
    assert taken(share, (0, 49), (2, 0)) == []  # 2 is another member's
    assert taken(share, (0, 52), (0, 54)) == [(0, 54)]


def test_after_a_rewind_what_was_not_committed_is_taken_again(client: Client, share: Share) -> None:
    client.assign(1)
    assert taken(share, (1, 0), (1, 1)) == [(1, 0), (1, 1)]
    client.answers = True
    share.rewind()
    assert taken(share, (1, 0), (1, 1)) == [(1, 0), (1, 1)]
