import numpy as np
import pytest

from model.training.walk_forward.bootstrap import bootstrap_of
from model.training.walk_forward.curves import curves
from model.training.walk_forward.segments import Segment, segment_figures
from tests.model.training.walk_forward.outcomes import outcomes, random_outcomes


def test_figures_of_a_segment_are_those_of_its_rows() -> None:
    tested = random_outcomes()
    low = tested.amount < 50
    segments = [Segment("amount", "low", low), Segment("amount", "high", ~low)]
    for segment, figures in zip(segments, _figures(segments), strict=True):
        own = tested.where(segment.chosen)
        assert figures["transactions"] == len(own)
        assert figures["recall"] == pytest.approx(np.mean(own.flagged[own.fraud]))
        assert figures["false_positive_rate"] == pytest.approx(np.mean(own.flagged[~own.fraud]))
        assert figures["precision"] == pytest.approx(np.mean(own.fraud[own.flagged]))
        assert figures["recall_low"] <= figures["recall"] <= figures["recall_high"]


def _figures(segments: list[Segment]) -> list[dict[str, float]]:
    tested = random_outcomes()
    return segment_figures(segments, tested, bootstrap_of(tested, by="terminal", resamples=200, seed=1))


@pytest.mark.parametrize(
    ("found", "false_alarms", "frauds", "meets", "clearly"),
    [
        (100, 0, 100, True, False),
        (94, 0, 100, False, False),  # chance could do that
        (60, 0, 100, False, True),
        (100, 30, 100, False, True),
        (5, 0, 10, None, False),  # too few frauds to say
    ],
)
def test_segment_says_whether_it_meets_the_requirement(
    found: int, false_alarms: int, frauds: int, meets: bool | None, clearly: bool
) -> None:
    fraud = np.arange(300) < frauds
    score = np.zeros(300)
    score[:found] = score[frauds : frauds + false_alarms] = 1.0
    tested = outcomes(300, fraud=fraud, score=score)
    everything = [Segment("all", "all", np.ones(300, dtype=bool))]
    (figures,) = segment_figures(everything, tested, bootstrap_of(tested, by="terminal", resamples=200, seed=1))
    assert (figures["meets_requirement"], figures["clearly_failed"]) == (meets, clearly)


def test_curves_run_from_the_strictest_cut_off_to_the_laxest_and_agree_with_the_rows() -> None:
    tested = random_outcomes()
    drawn = curves(tested)
    points = drawn["cut_offs"]
    assert len(points) <= 200
    for name in ("recall", "false_positive_rate", "flagged_per_day", "money_falsely_stopped_per_month"):
        values = [point[name] for point in points]
        assert values == sorted(values), name
    assert points[-1]["recall"] == points[-1]["false_positive_rate"] == 1
    for point in points[:: len(points) // 7]:
        flagged = tested.score >= point["cut_off"]
        assert point["recall"] == pytest.approx(np.mean(flagged[tested.fraud]))
        assert point["money_passed_per_month"] == pytest.approx(
            tested.amount[tested.fraud & ~flagged].sum() / tested.months
        )
    assert sum(part["transactions"] for part in drawn["calibration"]) == len(tested)
    assert sum(drawn["scores"]["fraud"]) == tested.fraud.sum()
