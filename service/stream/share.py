"""What the group gives a member of the topic: its place in the group, its partitions, and what waits in them."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

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
        self._moved = False
        self._fresh: set[int] = set()
        self._positions: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._looked = -math.inf
        self.joined = self.rewind_due = False
        self.membership: object = None
        meters.lag.source = self.lags

    def ask_for(self, settle: Callable[[], object]) -> None:
        """Join the group.

        Parameters
        ----------
        settle
            Finishes the transaction under way, before partitions go to others; must not raise, or the client would
            stop rebalancing.
        """
        self._settle = settle
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

    def rewind(self) -> None:
        """Read on from the last committed offset of each partition.

        Raises
        ------
        KafkaException
            If the brokers do not say where that is.
        """
        for place in self._committed(self._consumer.assignment()):
            place.offset = place.offset if place.offset >= 0 else OFFSET_BEGINNING
            self._seek(place)
        self.rewind_due = False

    def _seek(self, place: TopicPartition) -> None:
        # Answered by the client itself, so that brokers that are away do not hold it up.
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

    # --- moves --------------------------------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, places: list[TopicPartition]) -> None:
        self.joined = True
        self._meters.moves.labels("assigned").inc()
        self._fresh |= {place.partition for place in places}
        self.note_membership()
        if places:
            log.info("partitions %s are this member's", _named(places))

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
            self._fresh.discard(place.partition)
        self._meters.partitions.set(len(self._positions))

    # --- what waits ---------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Find out where partitions stand that are new here, and now and then where all end; for the lag only."""
        if self._fresh:
            self._learn_positions()
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._ends = dict(self._found_ends())

    def _learn_positions(self) -> None:
        try:
            found = self._committed([TopicPartition(self._topic, partition) for partition in self._fresh])
        except KafkaException:
            return
        for place in found:
            self._positions.setdefault(place.partition, max(place.offset, 0))
        self._fresh.clear()
        self._looked = -math.inf
        self._meters.partitions.set(len(self._positions))

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
