"""Which days each fold learns from, chooses its cut-offs on and is tested on; each fold moves on in time."""

from collections.abc import Iterator
from dataclasses import dataclass

from model.statistics import HOUR, hour_text
from model.training.split import (
    CALIBRATION_SHARE,
    DAY,
    MAX_CALIBRATION_DAYS,
    MAX_WARM_UP_DAYS,
    MIN_DAYS,
    WARM_UP_SHARE,
    Period,
    SplitError,
)

DEFAULT_FOLDS = 4
DEFAULT_TEST_DAYS = 7


@dataclass(frozen=True, slots=True)
class FoldPlan:
    """How many folds there are, how many days each is tested on, and how many days lie between two test starts.

    Attributes
    ----------
    count
        The most folds to make; None for as many as the history allows, up to four.

    Raises
    ------
    SplitError
        If a number is below 1, or the stride is shorter than a test, so that a row would be tested twice.
    """

    count: int | None = None
    test_days: int = DEFAULT_TEST_DAYS
    stride_days: int = DEFAULT_TEST_DAYS

    def __post_init__(self) -> None:
        for name, value in (("folds", self.count), ("test days", self.test_days), ("stride days", self.stride_days)):
            if value is not None and value < 1:
                raise SplitError(f"{name} must be at least 1")
        if self.stride_days < self.test_days:
            raise SplitError("stride days must not be fewer than test days, or a transaction would be tested twice")


@dataclass(frozen=True, slots=True)
class Fold:
    """Three periods, one after the other, as `model.training.split.TimeSplit` has them."""

    number: int
    train: Period
    calibration: Period
    test: Period

    def named(self) -> Iterator[tuple[str, Period]]:
        """Give the periods in order of time, each with its name."""
        yield from (("train", self.train), ("calibration", self.calibration), ("test", self.test))


def plan_folds(start: int, end: int, *, label_delay: int, plan: FoldPlan) -> list[Fold]:
    """Return the folds of a history, the earliest first.

    The test of the last fold ends with the history. Each fold learns from all that lies before its calibration, as a
    model retrained on the first test day would; shares of days are those of `model.training.split.split_time`.

    Parameters
    ----------
    start, end
        First moment of the history and the one after its last, seconds since 1970.
    label_delay
        Seconds between two periods, rounded up to whole days, so that the reports of the earlier one have arrived.

    Raises
    ------
    SplitError
        If the history is too short for the folds asked for, or for a single one.
    """
    first_day, last_day = start // DAY, _days_up(end)
    wanted = plan.count or DEFAULT_FOLDS
    test_starts = [last_day - plan.test_days - back * plan.stride_days for back in range(wanted)]
    gap_days = _days_up(label_delay)
    possible = [day for day in test_starts if day - first_day - 2 * gap_days >= MIN_DAYS]
    if not possible or (plan.count is not None and len(possible) < plan.count):
        needed = MIN_DAYS + 2 * gap_days + plan.test_days + (plan.count or 1) * plan.stride_days - plan.stride_days
        raise SplitError(
            f"history is too short: it spans {last_day - first_day} days (UTC), and {plan.count or 1} test periods of"
            f" {plan.test_days} days with labels {gap_days} days late need at least {needed}"
        )
    return [
        _fold(number, first_day, test_day, min(test_day + plan.test_days, last_day), gap_days)
        for number, test_day in enumerate(reversed(possible), start=1)
    ]


def _fold(number: int, first_day: int, test_day: int, end_day: int, gap_days: int) -> Fold:
    days = test_day - first_day - 2 * gap_days
    warm_up = min(int(days * WARM_UP_SHARE), MAX_WARM_UP_DAYS)
    calibration_end = test_day - gap_days
    calibration_day = calibration_end - max(1, min(int(days * CALIBRATION_SHARE), MAX_CALIBRATION_DAYS))
    return Fold(
        number,
        train=Period((first_day + warm_up) * DAY, (calibration_day - gap_days) * DAY),
        calibration=Period(calibration_day * DAY, calibration_end * DAY),
        test=Period(test_day * DAY, end_day * DAY),
    )


def day_text(seconds: int) -> str:
    """Return the day (UTC) of a moment as `2018-07-01`."""
    return hour_text(seconds // HOUR)[:10]


def _days_up(seconds: int) -> int:
    return -(-seconds // DAY)
