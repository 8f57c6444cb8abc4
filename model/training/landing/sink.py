"""The landing itself: read, close a file, announce it, write it, note that it is there.

The order makes each committed record land in exactly one file, whenever a run ends:

1. A range of offsets is announced: noted with the group's offset, which still stands at the range's first record.
2. Its files are written. Their names and what they hold follow from the range alone.
3. The group's offset moves behind the range.

Whoever goes on after a run that ended between 1 and 3 finds the announcement and lands the same range again, over the
same names. The brokers refuse the notes of a member that was replaced, so nobody announces what another has landed; and
what such a member still writes is what its successor writes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from model.training.landing import topic as kafka
from model.training.landing.buffers import Buffer, Limits
from model.training.landing.contract import AwayError, LandingError, Record, Span, named, planned
from model.training.landing.files import Landed, files_of
from model.training.landing.kinds import Kind
from model.training.landing.metrics import Metrics
from model.training.landing.store import Store, StoreAwayError

POLL_SECONDS = 0.2
READ_BYTES = 8 * 1024 * 1024  # after so much it is time to look whether a file is due
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between attempts
TOLD_SECONDS = 10.0
NAMED_REJECTS = 5  # of one file in the log; all of them stand in the file of rejected records

Say = Callable[[str], None]
Result = TypeVar("Result")


class _StoppedError(Exception):
    """Somebody wants this run to end."""


class _ReplacedError(Exception):
    """Another member of the group has the partition now."""


@dataclass(slots=True)
class Tally:
    """What a run has done so far."""

    records: int = 0
    files: int = 0
    rejected: int = 0

    def render(self) -> str:
        """Return it in words."""
        return f"{self.records:,} records in {self.files:,} files, {self.rejected:,} rejected"


class Sink:
    """Lands one topic at one address.

    Parameters
    ----------
    reach
        What librdkafka needs to reach the brokers.
    limits
        When a file is closed; `bytes` bounds what waits in memory, of all partitions together.
    patience
        Seconds to wait for brokers or store that are away; 0 is for ever.
    once
        Whether to end when all that was committed at the start has landed.
    stop
        Set by whoever wants the run to end.
    """

    def __init__(
        self,
        kind: Kind,
        topic: str,
        store: Store,
        *,
        reach: dict[str, Any],
        limits: Limits,
        patience: float,
        once: bool,
        stop: Event,
        say: Say,
    ) -> None:
        self._kind, self._topic, self._store, self._reach = kind, topic, store, reach
        self._limits, self._patience, self._once, self._stop, self._say = limits, patience, once, stop, say
        self._buffers: dict[int, Buffer] = {}
        self._is_member = self._is_paused = False
        self._fatal: LandingError | None = None
        self._told, self._away_since = time.monotonic(), 0.0
        self._away_told = ""
        self._is_doubtful = False
        self._lag = 0
        self._member: Consumer | None = None
        self.tally, self.metrics = Tally(), Metrics(topic)

    def land(self, group: str, claim: Callable[[str], None]) -> Tally:
        """Land until all is done (`once`) or somebody stops it.

        Parameters
        ----------
        group
            The consumer group.
        claim
            Takes the topic's id and raises `LandingError` if the store is another topic's.

        Raises
        ------
        LandingError
            If it cannot go on; `AwayError` if that is because brokers or store were away for too long.
        """
        try:
            topic_id = self.until_done(lambda: kafka.topic_id(self._topic, self._reach, self._on_error))
            self.until_done(lambda: claim(topic_id))
            self._run(group)
        except _StoppedError:
            pass
        except KafkaException as error:
            raise LandingError(f"topic {self._topic}: {error.args[0].str()}; see FRAUD_KAFKA_*") from error
        return self.tally

    def _run(self, group: str) -> None:
        self._member = kafka.consumer(group, self._reach, self._on_error)
        try:
            self._member.subscribe([self._topic], on_assign=self._gained, on_revoke=self._lost, on_lost=self._lost)
            while not self._is_done():
                self._read()
                self._land_what_is_due()
                self._tell()
        finally:
            self._member.close()

    def _is_done(self) -> bool:
        if self._stop.is_set():
            return True
        if not self._once or not self._is_member:
            return False
        return all(one.caught_up and not one.records and one.plan is None for one in self._buffers.values())

    # --- reading ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Read for a moment, or until much has come."""
        assert self._member is not None  # noqa: S101  for the type checker
        until, read = time.monotonic() + POLL_SECONDS, 0
        while (left := until - time.monotonic()) > 0 and read < READ_BYTES:
            message = self._member.poll(left)
            self._check()
            if message is not None:
                read += self._take(message)
        if self._is_doubtful:
            self._is_doubtful = False
            self.until_done(lambda: kafka.answer(self._member, self._topic))

    def _take(self, message: Message) -> int:
        """Keep a record, or note the end of a partition; return the bytes kept."""
        error, buffer = message.error(), self._buffers.get(message.partition())
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._on_error(error)
        elif buffer is not None and error is not None:
            buffer.reached(message.offset())
            if self._once:
                self._member.pause([TopicPartition(self._topic, buffer.partition)])  # type: ignore[union-attr]
        elif buffer is not None:
            record = Record(message.offset(), message.timestamp()[1], message.value())
            return buffer.take(record, time.monotonic())
        return 0

    def _gained(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        """Begin with partitions where the group left off."""
        try:
            offsets = self._first_offsets(member, [one.partition for one in partitions])
            kafka.begin(member, self._topic, offsets)
            self._is_member = True
            # The client keeps in mind what was paused before this one lost a partition and got it again.
            if partitions:
                (member.pause if self._is_paused else member.resume)(partitions)
        except (LandingError, _StoppedError) as error:
            # Raised within the client's own call it would be lost.
            self._fatal = error if isinstance(error, LandingError) else self._fatal

    def _first_offsets(self, member: Consumer, partitions: list[int]) -> dict[int, int | None]:
        if not partitions:
            self._say(f"{self._topic}: no more partitions for this one, other members of the group have the rest")
            return {}
        noted = self.until_done(lambda: kafka.noted(member, self._topic, partitions), polls=False)
        landed: dict[int, int] = {}
        if any(offset is None for offset, _ in noted.values()):
            # Brokers forget a group that was away for long; then the files say what has landed.
            landed = self.until_done(self._landed, polls=False)
        offsets = {number: landed.get(number) if offset is None else offset for number, (offset, _) in noted.items()}
        for number, offset in offsets.items():
            self._buffers[number] = Buffer(number, offset or 0, plan=planned(noted[number][1]))
        self._say(f"{self._topic}: landing partitions {', '.join(map(str, sorted(offsets)))}")
        return offsets

    def _landed(self) -> dict[int, int]:
        """Return for each partition of which there are files the offset after the last."""
        found: dict[int, int] = {}
        for partition, span in filter(None, map(named, self._store.names())):
            found[partition] = max(found.get(partition, 0), span.last + 1)
        return found

    def _lost(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget partitions that another member has now; it reads what had not landed."""
        self._is_member = False  # until the group has said what is this one's now
        for one in partitions:
            self._buffers.pop(one.partition, None)
        if partitions:
            member.incremental_unassign(partitions)

    def _on_error(self, error: KafkaError) -> None:
        try:
            kafka.checked(error, self._topic)
        except LandingError as fatal:
            self._fatal = fatal
        except kafka.BrokersAwayError:
            self._is_doubtful = True  # it may be one of many, or a moment: ask

    # --- landing ----------------------------------------------------------------------------------------------------

    def _land_what_is_due(self) -> None:
        now = time.monotonic()
        due = [one for one in self._buffers.values() if one.is_due(self._limits, now) or self._is_last(one)]
        if not due and sum(one.size for one in self._buffers.values()) >= self._limits.bytes:
            due = sorted((one for one in self._buffers.values() if one.plan is None), key=lambda one: one.size)[-1:]
        for buffer in due:
            try:
                self._land(buffer)
            except _ReplacedError:
                self._say(f"partition {buffer.partition} of {self._topic} has gone to another member of the group")
        self._measure()

    def _is_last(self, buffer: Buffer) -> bool:
        return self._once and buffer.caught_up and bool(buffer.records) and buffer.plan is None

    def _land(self, buffer: Buffer) -> None:
        span, records = buffer.next_range(self._limits)
        if buffer.plan is None:
            self._note(buffer, span.first, span.plan)
            buffer.plan = span
        landed = files_of(self._kind, buffer.partition, span, records)
        for name, content in landed.files.items():
            self._while_ours(buffer, lambda name=name, content=content: self._store.write(name, content))  # type: ignore[misc]
        self._note(buffer, buffer.next_offset(span))
        buffer.landed(span, time.monotonic())
        self._count(buffer, span, landed)

    def _note(self, buffer: Buffer, offset: int, text: str = "") -> None:
        member = self._member
        self._while_ours(buffer, lambda: kafka.note(member, self._topic, buffer.partition, offset, text))

    def _while_ours(self, buffer: Buffer, attempt: Callable[[], None]) -> None:
        def check() -> None:
            if self._buffers.get(buffer.partition) is not buffer:
                raise _ReplacedError
            attempt()

        self.until_done(check)

    def _count(self, buffer: Buffer, span: Span, landed: Landed) -> None:
        self.tally.records += landed.rows
        self.tally.files += len(landed.files)
        self.tally.rejected += len(landed.rejected)
        self.metrics.records.inc(landed.rows)
        self.metrics.files.inc(len(landed.files))
        self.metrics.bytes.inc(sum(map(len, landed.files.values())))
        self.metrics.rejected.inc(len(landed.rejected))
        for one in landed.rejected[:NAMED_REJECTS]:
            self._say(f"rejected: {self._topic}, partition {one.partition}, offset {one.record.offset}: {one.reason}")
        if len(landed.rejected) > NAMED_REJECTS:
            more = len(landed.rejected) - NAMED_REJECTS
            self._say(f"rejected: {more} more of {self._topic}, partition {buffer.partition}, up to offset {span.last}")

    # --- waiting and telling ----------------------------------------------------------------------------------------

    def until_done(self, attempt: Callable[[], Result], *, polls: bool = True) -> Result:
        """Return what an attempt returns; where brokers or store are away, wait and try again."""
        pause = FIRST_PAUSE
        try:
            while True:
                self._check()
                try:
                    result = attempt()
                except (StoreAwayError, kafka.BrokersAwayError) as error:
                    self.metrics.failures.inc()
                    self._is_away(str(error))
                    self._wait(pause, polls=polls)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                self._is_back()
                return result
        finally:
            self._resume()

    def _wait(self, seconds: float, *, polls: bool) -> None:
        """Wait, and stay a member of the group meanwhile; nothing more is read."""
        if self._member is None or not polls:
            self._stop.wait(seconds)
            return
        self._pause()
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            message = self._member.poll(min(left, POLL_SECONDS))
            self._check()
            if message is not None:
                self._take(message)

    def _pause(self) -> None:
        assert self._member is not None  # noqa: S101  for the type checker
        if not self._is_paused:
            self._is_paused = True
            self._member.pause([TopicPartition(self._topic, number) for number in self._buffers])

    def _check(self) -> None:
        if self._stop.is_set():
            raise _StoppedError
        if self._fatal is not None:
            raise self._fatal
        if self._away_since and self._patience and time.monotonic() - self._away_since > self._patience:
            raise AwayError(f"{self._away_told}; gave up after {self._patience:.0f} s, the next run goes on from here")

    def _is_away(self, text: str) -> None:
        now = time.monotonic()
        if not self._away_since:
            self._away_since = now
        if text != self._away_told or now - self._told >= TOLD_SECONDS:
            self._told, self._away_told = now, text
            self._say(f"waiting: {text}; trying again")

    def _is_back(self) -> None:
        if self._away_since:
            self._say("going on")
        self._away_since, self._away_told = 0.0, ""

    def _resume(self) -> None:
        if self._is_paused and self._member is not None:
            self._is_paused = False
            going_on = [number for number, one in self._buffers.items() if not (self._once and one.caught_up)]
            self._member.resume([TopicPartition(self._topic, number) for number in going_on])

    def _measure(self) -> None:
        ends = {number: kafka.end_of(self._member, self._topic, number) for number in self._buffers}
        self._lag = sum(max(0, ends[number] - one.landed_to) for number, one in self._buffers.items())
        self.metrics.lag.set(self._lag)
        self.metrics.partitions.set(len(self._buffers))
        waiting = [one.records[0].timestamp_ms / 1000 for one in self._buffers.values() if one.records]
        empty = ((ends[number], one) for number, one in self._buffers.items() if not one.records)
        if all(one.caught_up and one.position >= end for end, one in empty):
            self.metrics.complete_until.set(min([time.time(), *waiting]))

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= TOLD_SECONDS:
            self._told = now
            self._say(f"landed {self.tally.render()}; {self._lag:,} offsets behind")
