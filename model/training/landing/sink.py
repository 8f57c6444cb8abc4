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
from typing import Any

from confluent_kafka import KafkaException

from model.training.landing.buffers import Buffer, Limits
from model.training.landing.contract import LandingError, Span
from model.training.landing.files import Landed, files_of
from model.training.landing.kinds import Kind
from model.training.landing.member import Member
from model.training.landing.metrics import Metrics
from model.training.landing.store import Store
from model.training.landing.waiting import Say, StoppedError, Waiting

NAMED_REJECTS = 5  # of one file in the log; all of them stand in the file of rejected records


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
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        return f"{self.records:,} records in {files}, {self.rejected:,} rejected"


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
        self._kind, self._topic, self._store = kind, topic, store
        self._limits, self._once, self._say = limits, once, say
        self._lag = 0
        self.tally, self.metrics = Tally(), Metrics(topic)
        self._waiting = Waiting(patience=patience, stop=stop, say=say, on_failure=self.metrics.failures.inc)
        self._member = Member(topic, store, self._waiting, reach=reach, once=once, say=say)

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
            topic_id = self._member.topic_id()
            self._member.until_done(lambda: claim(topic_id))
            with self._member.joined(group):
                while not self._is_done():
                    self._member.read()
                    self._land_what_is_due()
                    self._tell()
        except StoppedError:
            pass
        except KafkaException as error:
            raise LandingError(f"topic {self._topic}: {error.args[0].str()}; see FRAUD_KAFKA_*") from error
        return self.tally

    def _is_done(self) -> bool:
        if self._waiting.is_stopped:
            return True
        if not self._once or not self._member.has_joined:
            return False
        return all(one.caught_up and not one.records and one.plan is None for one in self._member.buffers.values())

    # --- landing ----------------------------------------------------------------------------------------------------

    def _land_what_is_due(self) -> None:
        now, buffers = time.monotonic(), self._member.buffers.values()
        due = [one for one in buffers if one.is_due(self._limits, now) or self._is_last(one)]
        if not due and sum(one.size for one in buffers) >= self._limits.bytes:
            due = sorted((one for one in buffers if one.plan is None), key=lambda one: one.size)[-1:]
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
            self._while_ours(buffer, lambda: self._member.note(buffer, span.first, span.plan))
            buffer.plan = span
        landed = files_of(self._kind, buffer.partition, span, records)
        for name, content in landed.files.items():
            self._while_ours(buffer, lambda name=name, content=content: self._store.write(name, content))  # type: ignore[misc]
        behind = buffer.next_offset(span)
        self._while_ours(buffer, lambda: self._member.note(buffer, behind))
        buffer.landed(span, time.monotonic())
        self._count(buffer, span, landed)

    def _while_ours(self, buffer: Buffer, attempt: Callable[[], None]) -> None:
        def check() -> None:
            if self._member.buffers.get(buffer.partition) is not buffer:
                raise _ReplacedError
            attempt()

        self._member.until_done(check)

    # --- telling ----------------------------------------------------------------------------------------------------

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

    def _measure(self) -> None:
        buffers, ends = self._member.buffers, self._member.ends()
        self._lag = sum(max(0, ends[number] - one.landed_to) for number, one in buffers.items())
        self.metrics.lag.set(self._lag)
        self.metrics.partitions.set(len(buffers))
        waiting = [one.records[0].timestamp_ms / 1000 for one in buffers.values() if one.records]
        empty = ((ends[number], one) for number, one in buffers.items() if not one.records)
        if all(one.caught_up and one.position >= end for end, one in empty):
            self.metrics.complete_until.set(min([time.time(), *waiting]))

    def _tell(self) -> None:
        if self._waiting.is_time_to_tell():
            self._say(f"landed {self.tally.render()}; {self._lag:,} offsets behind")
