"""One member of the consumer group: collect, decide, write; each payment in exactly one transaction that commits.

A transaction holds the decisions and dead letters of one batch and the offsets after it. While one commits, in a thread
of its own, the next batch is collected and decided on; it is written only when the one before is settled. Whenever
something goes wrong, what is not committed is dropped and read again from the last committed offset.
"""

import asyncio
import logging
import time
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException

from model.settings import Settings
from service.judge import Judge
from service.stream.brokers import StreamError, advice, is_hopeless, make_consumer, require_topics
from service.stream.connection import Connection
from service.stream.meters import Beat, Meters
from service.stream.pace import IDLE_SECONDS, Pace, StoppedError
from service.stream.share import Share
from service.stream.topics import Clerk
from service.stream.transactions import Transactions

PORTION: Final = 100  # messages taken from the client at once
MOST_BYTES: Final = 8 * 2**20  # of messages in one transaction

log = logging.getLogger("antifraud")


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
    busy
        Whether more waits than one transaction takes.
    """

    def __init__(self, settings: Settings, judge: Judge, meters: Meters, beat: Beat) -> None:
        self._settings = settings
        self._clerk = Clerk(settings, judge)
        self._pace = Pace(beat)
        self._connection = Connection(settings, meters)
        self._consumer: Consumer = make_consumer(
            settings, on_error=self._connection.note, on_figures=self._connection.note_figures
        )
        self._share = Share(self._consumer, settings.stream_input, meters)
        self._transactions = Transactions(settings, judge, meters, self._pace, self._connection, self._share)
        self.busy = False

    @property
    def joined(self) -> bool:
        """Whether the group has given this member its share."""
        return self._share.joined

    @property
    def connected(self) -> bool:
        """Whether a broker is connected."""
        return self._connection.is_up

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._pace.stopping

    def stop(self) -> None:
        """Tell it to end."""
        self._pace.stopping = True

    async def run(self) -> None:
        """Work until told to end; then finish the transaction in hand and leave the group.

        Raises
        ------
        StreamError
            If the brokers cannot be reached in time, or refuse what the stream needs.
        """
        try:
            require_topics(self._consumer, self._settings, waiting=self._look_around)
            self._transactions.open()
            self._share.ask_for(self._settle_quietly, self._bear)
            while not self.stopping:
                self._turn()
                await asyncio.sleep(0)  # another pair is taken here: between two transactions, never within one
            self._transactions.settle()
        except StoppedError:
            pass
        finally:
            self._leave()

    def _look_around(self) -> None:
        """Hear, at the start, what the client has to say."""
        self._pace.breathe()
        self._consumer.poll(0)
        self._connection.require_welcome()

    def _turn(self) -> None:
        self._pace.breathe()
        if self._share.rewind_due and not self._rewind():
            return
        began, batch = self._collect()
        self._share.look()
        if not batch:
            if self._transactions.is_done:
                self._transactions.settle()
            return
        outgoing = [self._clerk.handle(message) for message in batch]
        if self._transactions.settle():
            self._transactions.write(batch, outgoing, began)

    def _rewind(self) -> bool:
        """Read on from what is committed; return whether that could be arranged."""
        if not self._transactions.settle():
            return False
        try:
            self._share.rewind()
        except KafkaException as error:
            self._bear(error.args[0])
            return False
        return True

    def _bear(self, error: KafkaError) -> None:
        """Take it that a question to the brokers was not answered, and wait before the next.

        Raises
        ------
        StreamError
            If it never will be.
        StoppedError
            If the process was told to end.
        """
        if is_hopeless(error):
            raise StreamError(advice(error, self._settings)) from None
        self._connection.note(error)
        self._pace.pause(IDLE_SECONDS)

    def _collect(self) -> tuple[float, list[Any]]:
        """Return the next batch, and when its first message came; nothing if the share changed meanwhile."""
        self._share.note_membership()
        settings, size = self._settings, 0
        batch: list[Any] = []
        began = end = time.monotonic() + IDLE_SECONDS
        while len(batch) < settings.stream_batch and size < MOST_BYTES:
            # Alone for the first, so that the time for others to come counts from it.
            wanted = min(PORTION, settings.stream_batch - len(batch)) if batch else 1
            found = self._consumer.consume(wanted, max(end - time.monotonic(), 0))
            self._pace.turn()
            if self._share.has_moved():
                return began, []
            for error in filter(None, (message.error() for message in found)):
                self._connection.note(error)
            good = self._share.only_new(message for message in found if message.error() is None)
            if good and not batch:
                began = time.monotonic()
                end = began + settings.stream_linger_ms / 1000
            batch += good
            size += sum(map(len, good))
            if time.monotonic() >= end or self.stopping:
                break
        self.busy = len(batch) >= settings.stream_batch
        return began, [] if self.stopping else batch

    def _settle_quietly(self) -> None:
        """Finish the transaction under way where nothing may raise; what failed is repeated after the rewind."""
        try:
            self._transactions.settle()
        except (StreamError, StoppedError) as error:
            log.warning("%s", error or "told to end")

    def _leave(self) -> None:
        """Leave the group, so that others go on at once."""
        self._share.joined = False
        self._transactions.leave()
        self._consumer.close()
