import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.training.split import DAY
from model.training.walk_forward.runs import GAP_DAYS, find_runs

frauds = st.lists(
    st.tuples(st.integers(-3, 3), st.integers(0, 60 * DAY), st.integers(0, 2000)), min_size=1, max_size=40
)


def test_runs_end_after_a_week_without_a_fraud() -> None:
    days = np.array([0, 3, 10, 18])  # gaps of 3, 7 and 8 days
    runs = find_runs(np.full(4, 5), days * DAY, np.array([40, 90, 300, 500]))
    assert runs.size.tolist() == [3, 1]
    assert runs.first_report_hour.tolist() == [40, 500]
    assert runs.of(np.array([5, 5, 5, 6]), np.array([0, 17, 18, 18]) * DAY).tolist() == [0, 0, 1, -1]


@given(rows=frauds)
def test_runs_are_those_found_by_walking_through_each_key(rows: list[tuple[int, int, int]]) -> None:
    key, seconds, report = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    expected = []
    for each in sorted(set(key.tolist())):
        own = sorted((s, r) for k, s, r in rows if k == each)
        runs: list[list[tuple[int, int]]] = []
        for fraud in own:
            if runs and fraud[0] - runs[-1][-1][0] <= GAP_DAYS * DAY:
                runs[-1].append(fraud)
            else:
                runs.append([fraud])
        expected += [(len(run), min(r for _, r in run)) for run in runs]
    found = find_runs(key, seconds, report)
    assert list(zip(found.size.tolist(), found.first_report_hour.tolist(), strict=True)) == expected
    assert (found.of(key, seconds) >= 0).all()


def test_first_day_is_the_first_24_hours_of_a_run_of_two_or_more() -> None:
    key = np.array([1, 1, 2])
    runs = find_runs(key, np.array([100, 5 * DAY, 100]), np.zeros(3, dtype=np.int64))
    asked = np.array([99, 100, 100 + DAY - 1, 100 + DAY])
    assert runs.in_first_day(np.full(4, 1), asked).tolist() == [False, True, True, False]
    assert not runs.in_first_day(np.full(4, 2), asked).any()  # a single fraud is no run
    assert not runs.in_first_day(np.full(4, 3), asked).any()


def test_without_frauds_there_are_no_runs() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    runs = find_runs(nothing, nothing, nothing)
    assert runs.of(np.array([1]), np.array([5])).tolist() == [-1]
    assert not runs.in_first_day(np.array([1]), np.array([5])).any()
