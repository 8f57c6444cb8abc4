from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.training.split import DAY, SplitError
from model.training.walk_forward.folds import FoldPlan, day_text, plan_folds

START = 17_622 * DAY  # 2018-04-01


def test_folds_of_a_hundred_and_eight_days_are_the_last_four_weeks() -> None:
    folds = plan_folds(START, START + 108 * DAY, label_delay=DAY, plan=FoldPlan())
    assert [day_text(fold.test.start) for fold in folds] == ["2018-06-20", "2018-06-27", "2018-07-04", "2018-07-11"]
    assert [fold.number for fold in folds] == [1, 2, 3, 4]
    first = folds[0]
    # 80 days before the test, two gaps of a day: 78 days, of which a tenth warms up and an eighth calibrates.
    assert day_text(first.train.start) == "2018-04-08"
    assert (day_text(first.train.end), day_text(first.calibration.start)) == ("2018-06-09", "2018-06-10")
    assert (day_text(first.calibration.end), day_text(first.test.start)) == ("2018-06-19", "2018-06-20")
    assert folds[-1].test.end == START + 108 * DAY


@given(
    days=st.integers(12, 400),
    delay=st.integers(0, 9 * DAY),
    test_days=st.integers(1, 14),
    more_stride=st.integers(0, 7),
    seconds_left=st.integers(0, DAY - 1),
)
def test_periods_follow_each_other_with_the_delay_between_them(
    days: int, delay: int, test_days: int, more_stride: int, seconds_left: int
) -> None:
    end = START + days * DAY - seconds_left
    try:
        folds = plan_folds(START, end, label_delay=delay, plan=FoldPlan(None, test_days, test_days + more_stride))
    except SplitError:
        assert days < 10 + 2 * -(-delay // DAY) + test_days
        return
    assert 1 <= len(folds) <= 4
    for fold in folds:
        assert START <= fold.train.start < fold.train.end <= fold.calibration.start - delay
        assert fold.calibration.start < fold.calibration.end <= fold.test.start - delay
        assert fold.test.end - fold.test.start == test_days * DAY
    for earlier, later in pairwise(folds):
        assert earlier.test.end <= later.test.start
        assert later.train.end >= earlier.train.end
    assert folds[-1].test.end - DAY < end <= folds[-1].test.end


def test_folds_asked_for_by_number_are_made_or_refused() -> None:
    with pytest.raises(SplitError, match=r"too short: it spans 40 days.*5 test periods of 7 days.*need at least"):
        plan_folds(START, START + 40 * DAY, label_delay=DAY, plan=FoldPlan(5))
    assert len(plan_folds(START, START + 40 * DAY, label_delay=DAY, plan=FoldPlan())) == 4
    assert len(plan_folds(START, START + 30 * DAY, label_delay=DAY, plan=FoldPlan())) == 2


@pytest.mark.parametrize(("plan", "rule"), [((0, 7, 7), "folds"), ((1, 0, 7), "test days"), ((1, 7, 6), "stride")])
def test_impossible_plan_is_refused_by_name(plan: tuple[int, int, int], rule: str) -> None:
    with pytest.raises(SplitError, match=rule):
        FoldPlan(*plan)
