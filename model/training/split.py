"""The order of time: what a model may learn from, what its cut-offs are chosen on, and what it is tested on."""

from dataclasses import dataclass

DAY = 24 * 3600
MIN_DAYS = 10
WARM_UP_SHARE, CALIBRATION_SHARE, TEST_SHARE = 0.1, 0.12, 0.2
MAX_WARM_UP_DAYS, MAX_CALIBRATION_DAYS, MAX_TEST_DAYS = 30, 14, 28


class SplitError(ValueError):
    """History is too short to train, calibrate and test on."""


@dataclass(frozen=True, slots=True)
class Period:
    """`[start, end)`, seconds since 1970."""

    start: int
    end: int

    @property
    def days(self) -> float:
        """Its length in days."""
        return (self.end - self.start) / DAY


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """Three periods, one after the other.

    Between two of them lies the label delay: the labels of an earlier period are all known when the next one begins.
    """

    train: Period
    calibration: Period
    test: Period


def split_time(start: int, end: int, *, label_delay: int) -> TimeSplit:
    """Split a history by whole days counted back from its end.

    The last fifth, at most 28 days, is the test; the eighth before it, at most 14 days, the calibration; a tenth at the
    beginning, at most 30 days, only fills the windows of the statistics.

    Parameters
    ----------
    start, end
        First moment of the history and the one after its last, seconds since 1970.
    label_delay
        Seconds.

    Raises
    ------
    SplitError
        If fewer than 10 days are left after the two label delays.
    """
    days = (end - start - 2 * label_delay) // DAY
    if days < MIN_DAYS:
        raise SplitError(
            f"history covers {(end - start) / DAY:.1f} days; training needs {MIN_DAYS} and twice the label delay"
            f" ({2 * label_delay / DAY:.1f} days)"
        )
    test_days = min(max(int(days * TEST_SHARE), 1), MAX_TEST_DAYS)
    calibration_days = min(max(int(days * CALIBRATION_SHARE), 1), MAX_CALIBRATION_DAYS)
    warm_up_days = min(int(days * WARM_UP_SHARE), MAX_WARM_UP_DAYS)
    midnight = -(-end // DAY) * DAY
    test = Period(midnight - test_days * DAY, end)
    calibration_start = test.start - label_delay - calibration_days * DAY
    return TimeSplit(
        train=Period(start + warm_up_days * DAY, calibration_start - label_delay),
        calibration=Period(calibration_start, test.start - label_delay),
        test=test,
    )
