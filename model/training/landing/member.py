"""One member of the consumer group that lands a topic: the partitions that are its own, and what it read of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from model.training.landing import topic as kafka
from model.training.landing.buffers import Buffer
from model.training.landing.contract import LandingError, Record, named, planned
from model.training.landing.store import Store
from model.training.landing.waiting import Result, Say, StoppedError, Waiting

POLL_SECONDS = 0.2
READ_BYTES = 8 * 1024 * 1024  # after so much it is time to look whether a file is due


class Member:
    """Reads the partitions that the group gives it, each from where the group left off.

    Parameters
    ----------
    reach
        What librdkafka needs to reach the brokers.
    once
        Whether a partition is left alone once all that was committed in it had been read.

    Attributes
    ----------
    buffers
        What was read of each of its partitions and has not landed; one that is another member's by now is gone.
    has_joined
        Whether the group has said which partitions are this one's.
    """

    def __init__(
        self, topic: str, store: Store, waiting: Waiting, *, reach: dict[str, Any], once: bool, say: Say
    ) -> None:
        self._topic, self._store, self._waiting, self._reach = topic, store, waiting, reach
        self._once, self._say = once, say
        self.buffers: dict[int, Buffer] = {}
        self.has_joined = self._is_paused = self._is_doubtful = False
        self._consumer: Consumer | None = None

    def topic_id(self) -> str:
        """Return the id that the brokers gave the topic."""
        return self.until_done(lambda: kafka.topic_id(self._topic, self._reach, self._on_error))

    @contextmanager
    def joined(self, group: str) -> Iterator[None]:
        """Be a member of a group while the block runs."""
        self._consumer = kafka.consumer(group, self._reach, self._on_error)
        try:
            self._consumer.subscribe([self._topic], on_assign=self._gained, on_revoke=self._lost, on_lost=self._lost)
            yield
        finally:
            self._consumer.close()

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read for a moment, or until much has come."""
        assert self._consumer is not None  # noqa: S101  for the type checker
        until, read = time.monotonic() + POLL_SECONDS, 0
        while (left := until - time.monotonic()) > 0 and read < READ_BYTES:
            message = self._consumer.poll(left)
            self._waiting.check()
            if message is not None:
                read += self._take(message)
        if self._is_doubtful:
            self._is_doubtful = False
            self.until_done(lambda: kafka.answer(self._consumer, self._topic))

    def note(self, buffer: Buffer, offset: int, text: str = "") -> None:
        """Note an offset of a partition for the group; the brokers refuse it from a member that was replaced."""
        kafka.note(self._consumer, self._topic, buffer.partition, offset, text)

    def ends(self) -> dict[int, int]:
        """Return for each partition the offset after the last record, as far as is known by now."""
        return {number: kafka.end_of(self._consumer, self._topic, number) for number in self.buffers}

    def _take(self, message: Message) -> int:
        """Keep a record, or note the end of a partition; return the bytes kept."""
        error, buffer = message.error(), self.buffers.get(message.partition())
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._on_error(error)
        elif buffer is not None and error is not None:
            buffer.reached(message.offset())
            if self._once:
                self._consumer.pause([TopicPartition(self._topic, buffer.partition)])  # type: ignore[union-attr]
        elif buffer is not None:
            record = Record(message.offset(), message.timestamp()[1], message.value())
            return buffer.take(record, time.monotonic())
        return 0

    def _on_error(self, error: KafkaError) -> None:
        try:
            kafka.checked(error, self._topic)
        except LandingError as fatal:
            self._waiting.fatal = fatal
        except kafka.BrokersAwayError:
            self._is_doubtful = True  # it may be one of many, or a moment: ask

    # --- partitions that come and go --------------------------------------------------------------------------------

    def _gained(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin with partitions where the group left off."""
        try:
            offsets = self._first_offsets(consumer, [one.partition for one in partitions])
            kafka.begin(consumer, self._topic, offsets)
            self.has_joined = True
            # The client keeps in mind what was paused before this one lost a partition and got it again.
            if partitions:
                (consumer.pause if self._is_paused else consumer.resume)(partitions)
        except (LandingError, StoppedError) as error:
            # Raised within the client's own call it would be lost.
            self._waiting.fatal = error if isinstance(error, LandingError) else self._waiting.fatal

    def _first_offsets(self, consumer: Consumer, partitions: list[int]) -> dict[int, int]:
        if not partitions:
            self._say(f"{self._topic}: no more partitions for this one, other members of the group have the rest")
            return {}
        noted = self.until_done(lambda: kafka.noted(consumer, self._topic, partitions), polls=False)
        offsets = {number: offset for number, (offset, _) in noted.items() if offset is not None}
        if len(offsets) < len(noted):
            # Brokers forget a group that was away for long; then the files say what has landed.
            offsets = self.until_done(self._landed, polls=False) | offsets
        for number in partitions:
            if number not in offsets:
                first = partial(kafka.first_of, consumer, self._topic, number)
                offsets[number] = self.until_done(first, polls=False)
            self.buffers[number] = Buffer(number, offsets[number], plan=planned(noted[number][1]))
        self._say(f"{self._topic}: landing partitions {', '.join(map(str, sorted(partitions)))}")
        return {number: offsets[number] for number in partitions}

    def _landed(self) -> dict[int, int]:
        """Return for each partition of which there are files the offset after the last."""
        found: dict[int, int] = {}
        for partition, span in filter(None, map(named, self._store.names())):
            found[partition] = max(found.get(partition, 0), span.last + 1)
        return found

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget partitions that another member has now; it reads what had not landed."""
        self.has_joined = False  # until the group has said what is this one's now
        for one in partitions:
            self.buffers.pop(one.partition, None)
        if partitions:
            consumer.incremental_unassign(partitions)

    # --- waiting ----------------------------------------------------------------------------------------------------

    def until_done(self, attempt: Callable[[], Result], *, polls: bool = True) -> Result:
        """Return what an attempt returns; where brokers or store are away, wait and try again.

        Parameters
        ----------
        polls
            Whether this stays a member of the group by polling meanwhile, which the client's own calls must not do.
        """
        try:
            return self._waiting.until_done(attempt, pause=self._wait if polls else self._waiting.pause)
        finally:
            self._resume()

    def _wait(self, seconds: float) -> None:
        """Wait, and stay a member of the group meanwhile; nothing more is read."""
        if self._consumer is None:
            self._waiting.pause(seconds)
            return
        self._pause(self._consumer)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            message = self._consumer.poll(min(left, POLL_SECONDS))
            self._waiting.check()
            if message is not None:
                self._take(message)

    def _pause(self, consumer: Consumer) -> None:
        if not self._is_paused:
            self._is_paused = True
            consumer.pause([TopicPartition(self._topic, number) for number in self.buffers])

    def _resume(self) -> None:
        if self._is_paused and self._consumer is not None:
            self._is_paused = False
            going_on = [number for number, one in self.buffers.items() if not (self._once and one.caught_up)]
            self._consumer.resume([TopicPartition(self._topic, number) for number in going_on])
