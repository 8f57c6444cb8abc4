"""Transactions: what a batch gives and the offsets after it are committed together, or not at all.

One commits in a thread of its own, while the loop goes on to the next batch. Whatever goes wrong ends with a producer
that can begin another transaction, and with the share to be read again from the last committed offset.
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from model.settings import Settings
from service.judge import Judge
from service.stream.brokers import (
    ASK_SECONDS,
    StreamError,
    advice,
    is_away,
    is_hopeless,
    make_producer,
    member_name,
)
from service.stream.connection import Connection
from service.stream.meters import Meters
from service.stream.pace import Pace
from service.stream.share import Share
from service.stream.topics import Outgoing

FULL_SECONDS: Final = 0.05  # to wait for room in the queue to the brokers
LONGEST_PAUSE: Final = 5.0  # after transactions that were aborted one after the other

_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)

log = logging.getLogger("antifraud")


@dataclass(slots=True)
class _Underway:
    """A transaction that commits at this moment."""

    done: "Future[None]"
    batch: list[Any]
    outgoing: list[Outgoing]
    offsets: dict[int, int]
    began: float


class Transactions:
    """The transactions of one member, one after the other.

    Parameters
    ----------
    judge
        Logs and counts decisions.
    share
        Told what is committed, and when it has to be read again.
    """

    def __init__(  # noqa: PLR0917  what one member consists of
        self, settings: Settings, judge: Judge, meters: Meters, pace: Pace, connection: Connection, share: Share
    ) -> None:
        self._settings, self._judge, self._meters = settings, judge, meters
        self._pace, self._connection, self._share = pace, connection, share
        self._producer: Producer | None = None
        self._pool = _one_thread()
        self._underway: _Underway | None = None
        self._aborted_in_a_row = 0
        self._gone = False

    def open(self) -> None:
        """Make a producer and let it take over this member's transactions; what was left open is aborted by that.

        Raises
        ------
        StreamError
            If the brokers refuse it.
        StoppedError
            If the process was told to end meanwhile.
        """
        if self._producer is not None:
            self._producer.purge()
        while True:
            self._pace.breathe()
            producer = make_producer(self._settings, on_error=self._connection.note)
            try:
                self._introduce(producer)
            except KafkaException as error:
                if is_hopeless(error.args[0]):
                    raise StreamError(advice(error.args[0], self._settings)) from None
                self._connection.note(error.args[0])
                self._pace.pause(1)
                continue
            producer.poll(0)  # hears what it had to say of brokers that were away: that is over
            self._connection.show(True)
            self._producer = producer
            return

    def _introduce(self, producer: Producer) -> None:
        def ask() -> None:
            self._pace.breathe()
            producer.init_transactions(ASK_SECONDS)

        self._insist(ask)

    # --- one transaction ----------------------------------------------------------------------------------------------

    def write(self, batch: list[Any], outgoing: list[Outgoing], began: float) -> None:
        """Write a batch's messages and begin to commit them with the offsets after the batch; errors as of `settle`.

        The one before must be settled.
        """
        offsets: dict[int, int] = {}
        for message in batch:
            offsets[message.partition()] = message.offset() + 1
        producer = self._producer
        assert producer is not None  # noqa: S101  made at the start
        try:
            producer.begin_transaction()
            for one in outgoing:
                self._produce(producer, one)
        except KafkaException as error:
            self._recover(error.args[0])
            return
        # Before the commit: of a decision that others may read there is a line, of some aborted ones as well.
        self._judge.log(one.decision for one in outgoing if one.decision is not None)
        topic = self._settings.stream_input
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        done = self._pool.submit(self._commit, producer, places, self._share.membership)
        self._underway = _Underway(done, batch, outgoing, offsets, began)

    def _produce(self, producer: Producer, one: Outgoing) -> None:
        while True:
            try:
                producer.produce(one.topic, one.value, one.key, headers=one.headers)
                return
            except BufferError:
                self._meters.waits.inc()
                producer.poll(FULL_SECONDS)
                self._pace.breathe()

    def _commit(self, producer: Producer, places: list[TopicPartition], membership: object) -> None:
        self._insist(lambda: producer.send_offsets_to_transaction(places, membership, ASK_SECONDS))
        self._insist(lambda: producer.commit_transaction(ASK_SECONDS))

    def _insist(self, question: Callable[[], object]) -> None:
        """Ask again as long as the answer is that asking again helps, but not longer than a transaction may stay open.

        By then the brokers have aborted it themselves, or committed it: the offsets tell.
        """
        end = time.monotonic() + self._settings.stream_transaction_seconds
        while True:
            try:
                question()
                return
            except KafkaException as error:
                if self._gone or not error.args[0].retriable() or time.monotonic() > end:
                    raise
                self._connection.show(not is_away(error.args[0]))
                self._connection.note(error.args[0])
                self._pace.turn()
                time.sleep(FULL_SECONDS)

    @property
    def is_done(self) -> bool:
        """Whether the one under way waits to be settled."""
        return self._underway is not None and self._underway.done.done()

    def settle(self) -> bool:
        """Wait for the commit under way and return whether it went well; without one it did.

        Raises
        ------
        StreamError
            If the brokers forbid what the stream needs.
        StoppedError
            If the process was told to end while another attempt was waited for.
        """
        underway, self._underway = self._underway, None
        if underway is None:
            return True
        try:
            underway.done.result(self._settings.stream_transaction_seconds + 2 * ASK_SECONDS)
        except KafkaException as error:
            self._recover(error.args[0])
            return False
        except TimeoutError:
            self._abandon()
            return False
        self._aborted_in_a_row = 0
        self._connection.show(True)
        self._share.advance(underway.offsets)
        self._count(underway)
        return True

    def _count(self, underway: _Underway) -> None:
        meters, now = self._meters, time.time()
        meters.transactions.labels("committed").inc()
        meters.messages.inc(len(underway.batch))
        meters.seconds.observe(time.monotonic() - underway.began)
        meters.ages.add(max(now - message.timestamp()[1] / 1000, 0.0) for message in underway.batch)
        for one in underway.outgoing:
            if one.decision is None:
                meters.letters.labels(one.reason).inc()
            else:
                self._judge.telemetry.count_answer(one.decision.facts)

    # --- when it does not go well -------------------------------------------------------------------------------------

    def _recover(self, error: KafkaError) -> None:
        """Abort what is open, with a new producer where this one is of no use any more; the share is read again."""
        self._share.rewind_due = True
        if is_hopeless(error):
            raise StreamError(advice(error, self._settings))
        if error.fatal() or error.retriable() or not self._abort():
            fenced = error.code() in _FENCED
            self._meters.transactions.labels("fenced" if fenced else "aborted").inc()
            why = "took over its transactions: does another process have the same FRAUD_STREAM_MEMBER?"
            log.warning("member %s: %s", member_name(self._settings), why if fenced else advice(error, self._settings))
            self.open()
        else:
            self._meters.transactions.labels("aborted").inc()
            log.warning("a transaction was aborted and is repeated: %s", error.name())
        self._aborted_in_a_row += 1
        self._pace.pause(min(0.05 * 2.0**self._aborted_in_a_row, LONGEST_PAUSE))

    def _abandon(self) -> None:
        """Leave a producer that does not come back from a call to its thread; another one takes over and fences it."""
        self._share.rewind_due = True
        self._meters.transactions.labels("aborted").inc()
        log.warning("a commit did not come back in time: another client takes over")
        self._pool.shutdown(wait=False)
        self._pool = _one_thread()
        self.open()

    def _abort(self) -> bool:
        """Abort the open transaction and return whether this producer can begin another."""
        producer = self._producer
        assert producer is not None  # noqa: S101  made at the start
        try:
            self._insist(lambda: producer.abort_transaction(ASK_SECONDS))
        except KafkaException:
            return False
        return True

    # --- the end ------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Wait a little for the commit under way; what is open then is aborted by the brokers, or the next start."""
        underway, self._underway = self._underway, None
        if underway is not None:
            try:
                underway.done.result(ASK_SECONDS)
                self._count(underway)
            except (KafkaException, TimeoutError):
                pass
        self._gone = True
        self._pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="commit")
