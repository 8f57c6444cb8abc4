"""Which folders of a history named after days are read: `date=2026-01-31/`, `tx_date=...`, `dt=...`."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_FOLDER = re.compile(r"(?:tx_date|date|dt)=(\d{4}-\d\d-\d\d)")
_ANY = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d)(?!\d)")
_MARGIN = timedelta(days=1)  # a folder's day may be one of another time zone


@dataclass(frozen=True, slots=True)
class Days:
    """The days, both ends counted and in UTC, whose transactions matter; None where it is open."""

    first: date | None = None
    last: date | None = None

    @classmethod
    def of_seconds(cls, first: int | None, end: int | None) -> "Days":
        """Return the days of `[first, end)`, seconds since 1970."""
        return cls(None if first is None else _day(first), None if end is None else _day(end - 1))

    def __str__(self) -> str:
        return f"{self.first or '...'} to {self.last or '...'}"

    def may_hold(self, name: str) -> bool:
        """Return whether a file may hold rows of these days, by the folder it is in; one day around them is kept."""
        day = folder_day(name)
        if day is None:
            return True
        if self.first is not None and day + _MARGIN < self.first:
            return False
        return self.last is None or day - _MARGIN <= self.last


def folder_day(name: str) -> date | None:
    """Return the day of the innermost folder that is named after one, None where there is none."""
    for part in reversed(name.split("/")[:-1]):
        found = _FOLDER.fullmatch(part)
        if found:
            return _read(found[1])
    return None


def named_day(name: str) -> date | None:
    """Return the day that a file's folder or, failing that, its own name gives."""
    found = _ANY.findall(name.rsplit("/", 1)[-1])
    return folder_day(name) or (_read(found[-1]) if found else None)


def _read(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()
