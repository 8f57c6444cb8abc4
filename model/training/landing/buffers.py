"""What of one partition was read and has not landed yet, and which range of it lands next."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from model.training.landing.contract import LandingError, Record, Span


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is closed: at so many records, so many bytes of values, or so many seconds after its first record."""

    records: int
    bytes: int
    seconds: float


@dataclass(slots=True, eq=False)
class Buffer:
    """Records of one partition in the order of their offsets.

    Attributes
    ----------
    position
        The offset after all that was read, records or not.
    plan
        The range that was announced with it and may be half landed: it must land before all others, just as it is.
    caught_up
        Whether all that was committed had been read at some time.
    """

    partition: int
    position: int
    plan: Span | None = None
    caught_up: bool = False
    records: list[Record] = field(default_factory=list)
    size: int = 0
    since: float = 0.0

    @property
    def landed_to(self) -> int:
        """The offset of the first record that has not landed."""
        return self.records[0].offset if self.records else self.position

    def take(self, record: Record, now: float) -> int:
        """Add a record and return its bytes; one that was read before is left out."""
        if record.offset < self.position:
            return 0
        if not self.records:
            self.since = now
        self.records.append(record)
        self.position = record.offset + 1
        size = len(record.value or b"")
        self.size += size
        return size

    def reached(self, position: int) -> None:
        """Take note that there is no committed record before this offset that was not read."""
        self.position = max(self.position, position)
        self.caught_up = True

    def is_due(self, limits: Limits, now: float) -> bool:
        """Return whether a range should land now."""
        if self.plan is not None:
            return self.position > self.plan.last
        return bool(self.records) and (
            len(self.records) >= limits.records or self.size >= limits.bytes or now - self.since >= limits.seconds
        )

    def next_range(self, limits: Limits) -> tuple[Span, Sequence[Record]]:
        """Return the range that lands next with its records.

        Raises
        ------
        LandingError
            If it was announced and its records are no longer in the topic.
        """
        if self.plan is None:
            chosen = self.records[: limits.records]
            return Span(chosen[0].offset, chosen[-1].offset), chosen
        chosen = [record for record in self.records if record.offset <= self.plan.last]
        if not chosen or Span(chosen[0].offset, chosen[-1].offset) != self.plan:
            raise LandingError(
                f"partition {self.partition}: offsets {self.plan.first} to {self.plan.last} were being landed when the"
                " last run ended, and are no longer all in the topic (retention or compaction); look at the files of"
                " this range, then set the group's offset with kafka-consumer-groups --reset-offsets"
            )
        return self.plan, chosen

    def landed(self, span: Span, now: float) -> None:
        """Forget a range that has landed."""
        rest = [record for record in self.records if record.offset > span.last]
        self.records, self.since, self.plan = rest, now, None
        self.size = sum(len(record.value or b"") for record in rest)

    def next_offset(self, span: Span) -> int:
        """Return the offset for the group to note once a range has landed."""
        # Behind the last record there may be the marks of transactions, which nobody needs to read again.
        is_all = not self.records or self.records[-1].offset <= span.last
        return self.position if is_all else span.last + 1
