from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.split import DAY, MIN_DAYS, Period, SplitError, TimeSplit, split_time

HOUR = 3600
APRIL = 17_622 * DAY  # 2018-04-01 00:00 UTC
ODD_DELAYS = [0, 1, HOUR, DAY - 1, DAY, DAY + 1, 36 * HOUR, 7 * DAY, 30 * DAY]

starts = st.integers(0, 40_000 * DAY)
label_delays = st.sampled_from(ODD_DELAYS) | st.integers(0, 40 * DAY)


def gap_days(label_delay: int) -> int:
    return -(-label_delay // DAY)


def in_order(split: TimeSplit) -> list[Period]:
    return [period for _, period in split.named()]


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, int]:
    start, label_delay = draw(starts), draw(label_delays)
    shortest = (MIN_DAYS + 2 * gap_days(label_delay)) * DAY
    return start, start + shortest + draw(st.integers(0, 500 * DAY)), label_delay


@given(histories())
def test_train_comes_before_calibration_and_calibration_before_test(history: tuple[int, int, int]) -> None:
    start, end, label_delay = history
    periods = in_order(split_time(start, end, label_delay=label_delay))
    for period in periods:
        assert period.start < period.end
    for earlier, later in pairwise(periods):
        assert earlier.end <= later.start
    assert start // DAY * DAY < periods[0].start
    assert periods[-1].end == end


@given(histories())
def test_the_labels_of_a_period_are_all_known_when_the_next_begins(history: tuple[int, int, int]) -> None:
    start, end, label_delay = history
    for earlier, later in pairwise(in_order(split_time(start, end, label_delay=label_delay))):
        assert later.start - earlier.end >= label_delay
        assert later.start - earlier.end < label_delay + DAY


@given(histories())
def test_every_period_begins_and_all_but_the_last_end_at_midnight(history: tuple[int, int, int]) -> None:
    start, end, label_delay = history
    split = split_time(start, end, label_delay=label_delay)
    moments = [split.train.start, split.train.end, split.calibration.start, split.calibration.end, split.test.start]
    assert [moment % DAY for moment in moments] == [0] * 5


@given(histories())
def test_periods_have_their_share_of_the_days(history: tuple[int, int, int]) -> None:
    start, end, label_delay = history
    train, calibration, test = in_order(split_time(start, end, label_delay=label_delay))
    assert 1 * DAY <= calibration.end - calibration.start <= 14 * DAY
    assert test.end - test.start <= 28 * DAY
    assert train.end - train.start >= 5 * DAY
    assert train.start - start <= 30 * DAY


@pytest.mark.parametrize("label_delay", ODD_DELAYS)
def test_a_history_one_day_too_short_is_refused_with_the_rule(label_delay: int) -> None:
    needed = MIN_DAYS + 2 * gap_days(label_delay)
    split_time(APRIL, APRIL + needed * DAY, label_delay=label_delay)
    rule = (
        rf"it spans {needed - 1} days \(UTC\), and training needs at least {needed}: 10, and twice the label delay in"
        rf" whole days \({gap_days(label_delay)}\)"
    )
    with pytest.raises(SplitError, match=rule):
        split_time(APRIL, APRIL + (needed - 1) * DAY, label_delay=label_delay)


def test_days_are_counted_as_on_a_calendar() -> None:
    # Twelve days of which the first begins a little late and the last ends a little early.
    split = split_time(APRIL + 40, APRIL + 12 * DAY - 40, label_delay=DAY)
    assert [str(period) for period in in_order(split)] == [
        "2018-04-02T00:00:00Z to 2018-04-08T00:00:00Z",
        "2018-04-09T00:00:00Z to 2018-04-10T00:00:00Z",
        "2018-04-11T00:00:00Z to 2018-04-13T00:00:00Z",
    ]


def test_half_a_year_is_split_as_the_page_says() -> None:
    train, calibration, test = in_order(split_time(APRIL, APRIL + 183 * DAY, label_delay=7 * DAY))
    assert (train.start - APRIL) / DAY == 16
    assert (calibration.end - calibration.start) / DAY == 14
    assert (test.end - test.start) / DAY == 28
    assert (calibration.start - train.end) / DAY == (test.start - calibration.end) / DAY == 7


def test_a_period_is_said_in_whole_hours_rounded_outwards() -> None:
    assert Period(APRIL + 1, APRIL + HOUR + 1).hours == ["2018-04-01T00:00:00Z", "2018-04-01T02:00:00Z"]
