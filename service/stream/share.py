"""What the group gives a member of the topic: its place in the group, its partitions, and what waits in them.

Where a partition is read from is always said to the client as a number. Told only "the beginning", it asks the brokers
for that number, and if the partition is taken away before the answer comes, it asks again half a second later, and goes
on to read what is not this member's any more (librdkafka 2.16: an outdated answer is retried whatever became of the
partition). What it has read like that it delivers as soon as the partition is given back, and then once more. So
offsets that were seen before are dropped here, too, whatever the client does.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from service.stream.brokers import ASK_SECONDS
from service.stream.meters import Meters

LOOK_SECONDS: Final = 0.5  # between two looks at where partitions end

log = logging.getLogger("antifraud")


class Share:
    """The partitions of one member.

    All of it belongs to the thread of the loop, but for `lags`. The client lets one thread at a time ask it, and a
    thread that waits for its turn may wait long: between two questions of the loop there is hardly a moment.

    Parameters
    ----------
    consumer
        Reads the topic; nothing is subscribed to yet.
    meters
        Told of moves, partitions and lag.
    clock
        Seconds, monotonic.

    Attributes
    ----------
    joined
        Whether the group has given this member its share.
    membership
        What proves, with the offsets of a batch, that this member was in the group when it read the batch.
    rewind_due
        Whether everything has to be read again from the last committed offset.
    """

    def __init__(
        self, consumer: Consumer, topic: str, meters: Meters, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._consumer, self._topic, self._meters, self._clock = consumer, topic, meters, clock
        self._settle: Callable[[], object] = bool
        self._bear: Callable[[KafkaError], object] = bool
        self._moved = self._dropping = False
        self._positions: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._looked = -math.inf
        self.joined = self.rewind_due = False
        self.membership: object = None
        meters.lag.source = self.lags

    def ask_for(self, settle: Callable[[], object], bear: Callable[[KafkaError], object]) -> None:
        """Join the group.

        Parameters
        ----------
        settle
            Finishes the transaction under way, before partitions go to others; must not raise, or the client would
            stop rebalancing.
        bear
            Told what was in the way of a question that has to be answered before partitions are read; waits a little,
            or raises to end the stream.
        """
        self._settle, self._bear = settle, bear
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def note_membership(self) -> None:
        """Keep what proves that this member is in the group; to be called before messages are taken.

        Without a member's name the brokers would check nothing, so such a moment's is never used.
        """
        membership = self._consumer.consumer_group_metadata()
        if self._consumer.memberid():
            self.membership = membership

    def has_moved(self) -> bool:
        """Return whether partitions went away since the last question; then what was read since is to be dropped.

        Some of it may be another member's now. It is not committed, so whoever has it reads it again.
        """
        moved, self._moved = self._moved, False
        self.rewind_due |= moved
        return moved

    def advance(self, offsets: dict[int, int]) -> None:
        """Take it that these offsets, by partition, are committed."""
        self._positions |= offsets

    def only_new(self, messages: Iterable[Any]) -> list[Any]:
        """Return the messages that were not returned before, in their order; others are dropped.

        A rewind sets back what counts as returned.
        """
        good, dropped = [], 0
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if offset < self._next.get(partition, math.inf):
                dropped += 1
                continue
            self._next[partition] = offset + 1
            good.append(message)
        if dropped:
            self._meters.repeated.inc(dropped)
            if not self._dropping:
                log.warning("the client gives messages a second time: they are left out, %d to begin with", dropped)
        self._dropping = bool(dropped)
        return good

    def rewind(self) -> None:
        """Read on from the last committed offset of each partition.

        Raises
        ------
        KafkaException
            If the brokers do not say where that is.
        """
        for place in self._starts(self._consumer.assignment()):
            self._seek(place)
            self._next[place.partition] = place.offset
        self.rewind_due = False

    def _seek(self, place: TopicPartition) -> None:
        # Answered by the client itself, so that brokers that are away do not hold it up.
        try:
            self._consumer.seek(place)
        except KafkaException as error:
            # Not read from yet, or gone meanwhile: then it begins at what was committed when it was given.
            if error.args[0].code() not in (KafkaError._STATE, KafkaError._UNKNOWN_PARTITION):
                raise

    def _starts(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Return where to read on: what is committed, or the first message there is; errors as of `rewind`.

        A transaction that is still open there is waited for.
        """
        if not places:
            return []
        found: list[TopicPartition] = self._consumer.committed(list(places), ASK_SECONDS)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
            first, _ = self._consumer.get_watermark_offsets(place, timeout=ASK_SECONDS)
            place.offset = max(place.offset, first)
        return found

    # --- moves --------------------------------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, places: list[TopicPartition]) -> None:
        starts = self._insist_on_starts(places)
        self._consumer.incremental_assign(starts)
        given = {start.partition: start.offset for start in starts}
        self._next |= given
        self._positions |= given
        self._meters.partitions.set(len(self._positions))
        self._looked = -math.inf
        self.joined = True
        self._meters.moves.labels("assigned").inc()
        self.note_membership()
        if places:
            log.info("partitions %s are this member's", _named(places))

    def _insist_on_starts(self, places: list[TopicPartition]) -> list[TopicPartition]:
        while True:
            try:
                return self._starts(places)
            except KafkaException as error:
                self._bear(error.args[0])

    def _on_revoke(self, _: Consumer, places: list[TopicPartition]) -> None:
        # The transaction under way is finished first: after this, others read on from what is committed.
        self._settle()
        self._let_go(places)
        self._meters.moves.labels("revoked").inc()
        if self.joined:  # not where it leaves by itself
            log.info("partitions %s go to another member", _named(places))

    def _on_lost(self, _: Consumer, places: list[TopicPartition]) -> None:
        self._settle()
        self._let_go(places)
        self.joined = False
        self._meters.moves.labels("lost").inc()
        log.warning("partitions %s were taken away: this member was not heard of in time", _named(places))

    def _let_go(self, places: list[TopicPartition]) -> None:
        self._moved = True
        for place in places:
            self._positions.pop(place.partition, None)
            self._next.pop(place.partition, None)
        self._meters.partitions.set(len(self._positions))

    # --- what waits ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Find out, now and then, where the partitions end; for the lag only."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._ends = dict(self._found_ends())

    def _found_ends(self) -> Iterable[tuple[int, int]]:
        for partition in self._positions:
            try:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), cached=True)
            except KafkaException:  # another member's by now
                continue
            yield partition, end

    def lags(self) -> list[tuple[int, int]]:
        """Return partitions and the messages in them without a committed decision, as of the last look.

        May be called by any thread: nobody is asked.
        """
        ends, positions = self._ends, sorted(self._positions.items())
        return [(partition, max(ends[partition] - at, 0)) for partition, at in positions if partition in ends]


def _named(places: list[TopicPartition]) -> str:
    return ", ".join(str(place.partition) for place in places)
