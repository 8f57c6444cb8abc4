"""The words of landing: records of a topic, the range of offsets that one file holds, and what can go wrong."""

import re
from dataclasses import dataclass

_PLAN = re.compile(r"landing:([0-9]{1,19})-([0-9]{1,19})")
_NAME = re.compile(r"([0-9]{5,})-([0-9]{12,})-([0-9]{12,})\.(?:parquet|jsonl)")


class LandingError(RuntimeError):
    """Landing cannot go on; nothing is lost, the message says what to do."""


class AwayError(LandingError):
    """The broker or the store stayed away for longer than one was to wait; the next run goes on where this one was."""


@dataclass(frozen=True, slots=True)
class Record:
    """One committed record: its offset, the producer's time in milliseconds since 1970 (-1: none), and its value."""

    offset: int
    timestamp_ms: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Span:
    """The range of offsets, both ends included, that is landed as one.

    Which range it is gets noted with the group's offset before anything is written. Whoever goes on after a crash lands
    the very same range under the same names, so that a repeat overwrites itself.
    """

    first: int
    last: int

    @property
    def plan(self) -> str:
        """Return the note that goes with the group's offset."""
        return f"landing:{self.first}-{self.last}"

    def file_name(self, partition: int, suffix: str) -> str:
        """Return the name of the file that holds this range of a partition; names sort by offset."""
        return f"{partition:05d}-{self.first:012d}-{self.last:012d}{suffix}"


def planned(note: str | None) -> Span | None:
    """Return the range that a note of the group's offset announces, or None where it announces none."""
    found = _PLAN.fullmatch(note or "")
    return Span(int(found[1]), int(found[2])) if found else None


def named(file_name: str) -> tuple[int, Span] | None:
    """Return the partition and the range that a file's name says it holds, or None for another file."""
    found = _NAME.fullmatch(file_name)
    return (int(found[1]), Span(int(found[2]), int(found[3]))) if found else None
