"""The order of time: what a model may learn from, what its cut-offs are chosen on, and what it is tested on."""

from collections.abc import Iterator
from dataclasses import dataclass

from model.statistics import HOUR, hour_text

DAY = 24 * 3600
MIN_DAYS = 10
WARM_UP_SHARE, CALIBRATION_SHARE, TEST_SHARE = 0.1, 0.12, 0.2
MAX_WARM_UP_DAYS, MAX_CALIBRATION_DAYS, MAX_TEST_DAYS = 30, 14, 28


class SplitError(ValueError):
    """History cannot be split: it is too short, or one of its periods is empty."""


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)`, seconds since 1970."""

    start: int
    end: int

    @property
    def hours(self) -> list[str]:
        """Its start and end as text, rounded outwards to whole hours."""
        return [hour_text(self.start // HOUR), hour_text(-(-self.end // HOUR))]

    def __str__(self) -> str:
        return " to ".join(self.hours)


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Three periods, one after the other.

    Between two of them lies at least the label delay: where reports take no longer than that, the labels of an earlier
    period are all known when the next one begins.
    """

    train: Period
    calibration: Period
    test: Period

    def named(self) -> Iterator[tuple[str, Period]]:
        """Give the periods in order of time, each with its name."""
        yield from (("train", self.train), ("calibration", self.calibration), ("test", self.test))


def split_time(start: int, end: int, *, label_delay: int) -> TimeSplit:
    """Split a history by days (UTC) counted back from its last one.

    The last fifth, at most 28 days, is the test; the eighth before it, at most 14 days, the calibration; a tenth at the
    beginning, at most 30 days, only fills the windows of the statistics. Every period begins at midnight, and so the
    gap between two is the label delay in whole days, rounded up.

    Parameters
    ----------
    start, end
        First moment of the history and the one after its last, seconds since 1970.
    label_delay
        Seconds, not negative.

    Raises
    ------
    SplitError
        If fewer than 10 days are left after the two gaps.
    """
    first_midnight, last_midnight = start // DAY * DAY, _days_up(end) * DAY
    gap_days = _days_up(label_delay)
    days = (last_midnight - first_midnight) // DAY - 2 * gap_days
    if days < MIN_DAYS:
        raise SplitError(
            f"history is too short: it spans {days + 2 * gap_days} days (UTC), and training needs at least"
            f" {MIN_DAYS + 2 * gap_days}: {MIN_DAYS}, and twice the label delay in whole days ({gap_days})"
        )
    warm_up_days = min(int(days * WARM_UP_SHARE), MAX_WARM_UP_DAYS)
    test_start = last_midnight - min(int(days * TEST_SHARE), MAX_TEST_DAYS) * DAY
    calibration_end = test_start - gap_days * DAY
    calibration_start = calibration_end - min(int(days * CALIBRATION_SHARE), MAX_CALIBRATION_DAYS) * DAY
    return TimeSplit(
        train=Period(first_midnight + warm_up_days * DAY, calibration_start - gap_days * DAY),
        calibration=Period(calibration_start, calibration_end),
        test=Period(test_start, end),
    )


def _days_up(seconds: int) -> int:
    return -(-seconds // DAY)
