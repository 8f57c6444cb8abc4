"""Transactions whose client fails: what a real broker cannot be made to do at will."""

from collections.abc import Callable, Iterator
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError
from prometheus_client import CollectorRegistry

from model.settings import load_settings
from service.judge import Judge
from service.stream import transactions
from service.stream.connection import Connection
from service.stream.meters import Beat, Meters
from service.stream.pace import Pace
from service.stream.share import Share
from service.stream.transactions import Transactions
from service.telemetry import Telemetry
from tests.conftest import ID_KEY
from tests.service.stream.test_topics import Message


class Producer:
    """A producer of transactions that commits whatever it is told to, once it may."""

    def __init__(self) -> None:
        self.may_commit = Event()
        self.may_commit.set()
        self.committed: list[int] = []
        self.said: Callable[[KafkaError], None] = print
        self.waiting: list[KafkaError] = []

    def init_transactions(self, _: float) -> None:
        """Do nothing; it is let in."""

    def begin_transaction(self) -> None:
        """Do nothing."""

    def purge(self) -> None:
        """Do nothing."""

    def send_offsets_to_transaction(self, places: list[Any], *_: object) -> None:
        assert self.may_commit.wait(60)
        self.committed += [place.offset for place in places]

    def commit_transaction(self, _: float) -> None:
        """Do nothing."""

    def poll(self, _: float) -> None:
        for error in self.waiting:
            self.said(error)
        self.waiting.clear()


class Bench:
    """The transactions of one member, with the producers that were made for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = load_settings(
            id_key=ID_KEY, kafka_bootstrap="127.0.0.1:1", stream_transaction_seconds=5, decision_log=""
        )
        self.meters = Meters(CollectorRegistry())
        self.connection = Connection(self.settings, self.meters)
        self.share = Share(SimpleNamespace(), "payments", self.meters)
        self.made: list[Producer] = []
        self.next = [Producer(), Producer()]
        monkeypatch.setattr(transactions, "make_producer", self._make)
        self.transactions = Transactions(
            self.settings, Judge(Telemetry()), self.meters, Pace(Beat()), self.connection, self.share
        )

    def _make(self, _: object, *, on_error: Callable[[KafkaError], None]) -> Producer:
        producer = self.next.pop(0)
        producer.said = on_error
        self.made.append(producer)
        return producer

    def count(self, result: str) -> float:
        return self.meters.transactions.labels(result)._value.get()  # type: ignore[no-any-return]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(monkeypatch)
    yield bench
    for producer in bench.made:
        producer.may_commit.set()
    bench.transactions.leave()


class Arrived(Message):
    """A message with a time."""

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


def test_a_commit_that_never_comes_back_is_left_behind_and_another_client_takes_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # librdkafka does not keep its own time limit in every state: once seen after a restart of the only broker.
    monkeypatch.setattr(transactions, "ASK_SECONDS", -2.4)  # 0.2 s in all, instead of 15
    batch = [Arrived(b"{}")]
    bench.transactions.open()
    stuck, later = bench.made[0], bench.next[0]
    stuck.may_commit.clear()
    bench.transactions.write(batch, [], 0.0)
    assert not bench.transactions.settle()
    assert bench.share.rewind_due
    assert bench.made == [stuck, later]
    bench.transactions.write(batch, [], 0.0)
    assert bench.transactions.settle()
    assert (later.committed, stuck.committed) == ([1235], [])
    assert (bench.count("committed"), bench.count("aborted")) == (1, 1)


def test_what_a_new_client_has_to_say_of_brokers_that_were_away_is_over(bench: Bench) -> None:
    bench.next[0].waiting = [KafkaError(KafkaError._ALL_BROKERS_DOWN)]
    bench.transactions.open()
    assert not bench.made[0].waiting
    assert bench.connection.is_up
