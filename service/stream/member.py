"""One member of the consumer group: collect, decide, write; each payment in exactly one transaction that commits.

A transaction holds the decisions and dead letters of one batch and the offsets after it. While one commits, in a thread
of its own, the next batch is collected and decided on; it is written only when the one before is settled. Whenever
something goes wrong, what is not committed is dropped and read again from the last committed offset.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from model.settings import Settings
from service.judge import Judge
from service.stream.brokers import (
    ASK_SECONDS,
    StreamError,
    advice,
    is_away,
    is_hopeless,
    make_consumer,
    make_producer,
    member_name,
    require_topics,
)
from service.stream.meters import Beat, Meters
from service.stream.topics import Clerk, Outgoing

IDLE_SECONDS: Final = 0.1  # longest that the loop waits for a message before it looks after other things
PORTION: Final = 100  # messages taken from the client at once
MOST_BYTES: Final = 8 * 2**20  # of messages in one transaction
FULL_SECONDS: Final = 0.05  # to wait for room in the queue to the brokers
LONGEST_PAUSE: Final = 5.0  # after transactions that were aborted one after the other

log = logging.getLogger("antifraud")


class StoppedError(Exception):
    """The process was told to end while something was waited for."""


@dataclass(slots=True)
class _Underway:
    """A transaction that commits at this moment."""

    done: "Future[None]"
    batch: list[Any]
    outgoing: list[Outgoing]
    offsets: dict[int, int]
    began: float


class Member:
    """Works through the partitions that the group gives it.

    Parameters
    ----------
    judge
        Decides; it has a loaded pair.
    meters, beat
        Told what happens, and that something happens.

    Attributes
    ----------
    joined
        Whether the group has given this member its share.
    connected
        Whether a broker is connected.
    busy
        Whether more waits than one transaction takes.
    stopping
        Set to end.
    """

    def __init__(self, settings: Settings, judge: Judge, meters: Meters, beat: Beat) -> None:
        self._settings, self._judge, self._meters, self._beat = settings, judge, meters, beat
        self._clerk = Clerk(settings, judge)
        self._consumer: Consumer = make_consumer(settings, on_error=self._note, on_figures=self._note_figures)
        self._producer: Producer | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._underway: _Underway | None = None
        self._membership: object = None
        self._moved = self._rewind_due = False
        self._fresh: set[int] = set()
        self._positions: dict[int, int] = {}
        self._aborted_in_a_row = 0
        self._refusal: KafkaError | None = None
        self._gone = False
        self._said: tuple[str, float] = ("", 0.0)
        self.joined = self.connected = self.busy = self.stopping = False
        meters.lag.source = self._lags

    async def run(self) -> None:
        """Work until told to end; then finish the transaction in hand and leave the group.

        Raises
        ------
        StreamError
            If the brokers cannot be reached in time, or refuse what the stream needs.
        """
        try:
            require_topics(self._consumer, self._settings, waiting=self._look_around)
            self._renew_producer()
            self._consumer.subscribe(
                [self._settings.stream_input],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not self.stopping:
                self._turn()
                await asyncio.sleep(0)  # another pair is taken here: between two transactions, never within one
            self._settle()
        except StoppedError:
            pass
        finally:
            self._leave()

    # --- one turn -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._breathe()
        if self._rewind_due and not self._rewind():
            return
        began, batch = self._collect()
        if self._fresh:
            self._learn_positions()
        if not batch:
            if self._underway is not None and self._underway.done.done():
                self._settle()
            return
        outgoing = [self._clerk.handle(message) for message in batch]
        if self._settle():
            self._write(batch, outgoing, began)

    def _breathe(self) -> None:
        """Say that the loop turns, and end what waits once the process was told to."""
        self._beat.turn()
        if self.stopping:
            raise StoppedError

    def _look_around(self) -> None:
        """Hear, at the start, what the client has to say."""
        self._breathe()
        self._consumer.poll(0)
        if self._refusal is not None:
            raise StreamError(advice(self._refusal, self._settings))

    def _collect(self) -> tuple[float, list[Any]]:
        """Return the next batch, and when its first message came; nothing if the share changed meanwhile."""
        self._note_membership()
        settings, size = self._settings, 0
        batch: list[Any] = []
        began = end = time.monotonic() + IDLE_SECONDS
        while len(batch) < settings.stream_batch and size < MOST_BYTES:
            # Alone for the first, so that the time for others to come counts from it.
            wanted = min(PORTION, settings.stream_batch - len(batch)) if batch else 1
            found = self._consumer.consume(wanted, max(end - time.monotonic(), 0))
            self._beat.turn()
            if self._moved:
                # Some of it may be another member's now. It is not committed, so whoever has it reads it again.
                self._moved, self._rewind_due = False, True
                return began, []
            good = [message for message in found if message.error() is None]
            if len(good) < len(found):
                self._note(next(error for error in (message.error() for message in found) if error is not None))
            if good and not batch:
                began = time.monotonic()
                end = began + settings.stream_linger_ms / 1000
            batch += good
            size += sum(map(len, good))
            if time.monotonic() >= end or self.stopping:
                break
        self.busy = len(batch) >= settings.stream_batch
        return began, [] if self.stopping else batch

    def _write(self, batch: list[Any], outgoing: list[Outgoing], began: float) -> None:
        """Write a batch's messages and begin to commit them with the offsets after the batch."""
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
        done = self._pool.submit(self._commit, producer, places, self._membership)
        self._underway = _Underway(done, batch, outgoing, offsets, began)

    def _produce(self, producer: Producer, one: Outgoing) -> None:
        while True:
            try:
                producer.produce(one.topic, one.value, one.key, headers=one.headers)
                return
            except BufferError:
                self._meters.waits.inc()
                producer.poll(FULL_SECONDS)
                self._breathe()

    def _commit(self, producer: Producer, places: list[TopicPartition], membership: object) -> None:
        self._insist(lambda: producer.send_offsets_to_transaction(places, membership, ASK_SECONDS))
        self._insist(lambda: producer.commit_transaction(ASK_SECONDS))

    def _insist(self, question: Callable[[], object]) -> None:
        """Ask again as long as the answer is that asking again helps, but not for ever.

        After a broker was restarted a client may go on without ever finding its coordinator again; a new one does. By
        then the brokers have aborted the transaction themselves, or committed it: the offsets tell.
        """
        end = time.monotonic() + self._settings.stream_transaction_seconds
        while True:
            try:
                question()
                return
            except KafkaException as error:
                if self._gone or not error.args[0].retriable() or time.monotonic() > end:
                    raise
                self._show_connected(not is_away(error.args[0]))
                self._note(error.args[0])
                self._beat.turn()
                time.sleep(FULL_SECONDS)

    def _settle(self) -> bool:
        """Wait for the commit under way and return whether it went well; without one it did."""
        underway, self._underway = self._underway, None
        if underway is None:
            return True
        try:
            underway.done.result()
        except KafkaException as error:
            self._recover(error.args[0])
            return False
        self._aborted_in_a_row = 0
        self._show_connected(True)
        self._positions |= underway.offsets
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
        """Abort what is open, with a new producer where this one is of no use any more, and read on from the commit."""
        self._rewind_due = True
        if is_hopeless(error):
            raise StreamError(advice(error, self._settings))
        if error.fatal() or error.retriable() or not self._abort():
            fenced = error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
            self._meters.transactions.labels("fenced" if fenced else "aborted").inc()
            why = "took over its transactions: does another process have the same FRAUD_STREAM_MEMBER?"
            log.warning("member %s: %s", member_name(self._settings), why if fenced else advice(error, self._settings))
            self._renew_producer()
        else:
            self._meters.transactions.labels("aborted").inc()
            log.warning("a transaction was aborted and is repeated: %s", error.name())
        self._aborted_in_a_row += 1
        self._pause(min(0.05 * 2.0**self._aborted_in_a_row, LONGEST_PAUSE))

    def _abort(self) -> bool:
        """Abort the open transaction and return whether this producer can begin another."""
        producer = self._producer
        assert producer is not None  # noqa: S101  made at the start
        try:
            self._insist(lambda: producer.abort_transaction(ASK_SECONDS))
        except KafkaException:
            return False
        return True

    def _renew_producer(self) -> None:
        """Make a producer and let it take over this member's transactions; what was left open is aborted by that."""
        if self._producer is not None:
            self._producer.purge()
        while True:
            self._breathe()
            producer = make_producer(self._settings, on_error=self._note)
            try:
                self._introduce(producer)
            except KafkaException as error:
                if is_hopeless(error.args[0]):
                    raise StreamError(advice(error.args[0], self._settings)) from None
                self._note(error.args[0])
                self._pause(1)
                continue
            self._producer = producer
            return

    def _introduce(self, producer: Producer) -> None:
        def ask() -> None:
            self._breathe()
            producer.init_transactions(ASK_SECONDS)

        self._insist(ask)

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._breathe()
            time.sleep(min(IDLE_SECONDS, max(end - time.monotonic(), 0)))

    def _rewind(self) -> bool:
        """Read on from the last committed offset of each partition; return whether that could be arranged."""
        if not self._settle():
            return False
        try:
            mine = self._consumer.assignment()
            for place in self._committed(mine):
                place.offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
                self._seek(place)
        except KafkaException as error:
            self._note(error.args[0])
            self._pause(IDLE_SECONDS)
            return False
        self._rewind_due = False
        return True

    def _seek(self, place: TopicPartition) -> None:
        try:
            self._consumer.seek(place)
        except KafkaException as error:
            # Not read from yet, or gone meanwhile: then it begins at what is committed by itself.
            if error.args[0].code() not in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
                raise

    def _committed(self, places: list[TopicPartition]) -> list[TopicPartition]:
        """Return where the group stands; a transaction that is still open there is waited for."""
        if not places:
            return []
        found: list[TopicPartition] = self._consumer.committed(places, ASK_SECONDS)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return found

    # --- what the client tells ----------------------------------------------------------------------------------------

    def _note_membership(self) -> None:
        """Keep what proves, with the offsets, that this member is in the group; taken before messages are.

        Without a member's name the brokers would check nothing, so such a moment's is never used.
        """
        membership = self._consumer.consumer_group_metadata()
        if self._consumer.memberid():
            self._membership = membership

    def _on_assign(self, _: Consumer, places: list[TopicPartition]) -> None:
        self.joined = True
        self._meters.moves.labels("assigned").inc()
        self._fresh |= {place.partition for place in places}
        self._note_membership()
        if places:
            log.info("partitions %s are this member's", _named(places))

    def _on_revoke(self, _: Consumer, places: list[TopicPartition]) -> None:
        # The transaction under way is finished first: after this, others read on from what is committed.
        self._settle_quietly()
        self._let_go(places)
        self._meters.moves.labels("revoked").inc()
        if not self.stopping:
            log.info("partitions %s go to another member", _named(places))

    def _on_lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._settle_quietly()
        self._let_go(places)
        self.joined = False
        self._meters.moves.labels("lost").inc()
        log.warning("partitions %s were taken away: this member was not heard of in time", _named(places))

    def _settle_quietly(self) -> None:
        # A callback must not raise: the client would stop rebalancing. What failed is repeated after the rewind.
        try:
            self._settle()
        except (StreamError, StoppedError) as error:
            log.warning("%s", error or "told to end")

    def _let_go(self, places: list[TopicPartition]) -> None:
        self._moved = True
        for place in places:
            self._positions.pop(place.partition, None)
            self._fresh.discard(place.partition)

    def _learn_positions(self) -> None:
        """Find out where partitions stand that are new here, for the lag only."""
        topic = self._settings.stream_input
        try:
            found = self._committed([TopicPartition(topic, partition) for partition in self._fresh])
        except KafkaException:
            return
        for place in found:
            self._positions.setdefault(place.partition, max(place.offset, 0))
        self._fresh.clear()

    def _lags(self) -> Iterable[tuple[int, int]]:
        topic, lags = self._settings.stream_input, []
        for partition, position in sorted(self._positions.items()):
            try:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            except (KafkaException, RuntimeError):  # another member's by now, or closed
                continue
            lags.append((partition, max(end - position, 0)))
        return lags

    def _note(self, error: KafkaError) -> None:
        """Say what is wrong, once a minute at most as long as it is the same."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._show_connected(False)
        if is_hopeless(error):
            self._refusal = error
        text = advice(error, self._settings)
        said, when = self._said
        if text != said or time.monotonic() - when > 60:
            self._said = text, time.monotonic()
            log.warning("%s", text) if is_away(error) else log.error("%s", text)

    def _note_figures(self, text: str) -> None:
        self._show_connected('"state":"UP"' in text)
        self._meters.partitions.set(len(self._positions))

    def _show_connected(self, connected: bool) -> None:
        if connected and not self.connected and self._said[0]:
            log.info("Kafka answers again")
            self._said = ("", 0.0)
        self.connected = connected
        self._meters.connected.set(connected)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """Abort what is open and leave the group, so that others go on at once."""
        self.joined = False
        underway, self._underway = self._underway, None
        if underway is not None:
            try:
                underway.done.result(ASK_SECONDS)
                self._count(underway)
            except (KafkaException, TimeoutError):
                pass  # aborted by the brokers, or by the next process of this name
        self._gone = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._consumer.close()


def _named(places: list[TopicPartition]) -> str:
    return ", ".join(str(place.partition) for place in places)
