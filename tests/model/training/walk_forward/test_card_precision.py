import numpy as np
import pytest

from model.statistics import HOUR
from model.training.split import DAY
from model.training.walk_forward.card_precision import TOP, card_precision_figures, daily_card_precision
from tests.model.training.walk_forward.outcomes import JULY, outcomes, random_outcomes

NOBODY = np.zeros(0, dtype=np.int64)


def test_customers_rank_by_their_most_suspicious_payment_of_the_day() -> None:
    n = TOP + 50
    fraud = np.zeros(n, dtype=bool)
    fraud[:10] = True
    score = np.linspace(0.5, 0.1, n)
    score[5:10] = 0.0  # five defrauded customers look better than all others
    tested = outcomes(n, fraud=fraud, score=score)
    reached, best = daily_card_precision(tested, reported_customer=NOBODY, report_hour=NOBODY)
    assert (reached.tolist(), best.tolist()) == ([0.05], [0.1])
    # A second payment of one of them that looks worse brings the customer back.
    again = outcomes(n + 1, fraud=[*fraud, True], score=[*score, 0.9], customer=[*range(n), 7])
    assert daily_card_precision(again, reported_customer=NOBODY, report_hour=NOBODY)[0].tolist() == [0.06]


@pytest.mark.parametrize(("hours_before", "counts"), [(0, True), (1, False), (14 * 24, False), (14 * 24 + 1, True)])
def test_customers_reported_in_the_two_weeks_before_the_day_are_left_out(hours_before: int, counts: bool) -> None:
    tested = outcomes(3, fraud=[True, False, False], score=[0.9, 0.2, 0.1])
    report = np.array([JULY // HOUR - hours_before])
    reached, best = daily_card_precision(tested, reported_customer=np.array([0]), report_hour=report)
    assert reached.tolist() == best.tolist() == ([0.01] if counts else [0.0])


def test_each_day_has_its_own_ranking() -> None:
    tested = outcomes(2, fraud=[True, True], score=[0.9, 0.2], seconds=[JULY, JULY + DAY], customer=[1, 1])
    assert daily_card_precision(tested, reported_customer=NOBODY, report_hour=NOBODY)[0].tolist() == [0.01, 0.01]


def test_mean_over_days_lies_in_its_interval_and_below_the_best_possible() -> None:
    reached, best = daily_card_precision(random_outcomes(days=6), reported_customer=NOBODY, report_hour=NOBODY)
    figures = card_precision_figures(reached, best, resamples=200, seed=1)
    mean = figures["card_precision_at_100"]
    assert mean == pytest.approx(reached.mean())
    assert figures["card_precision_at_100_low"] <= mean <= figures["card_precision_at_100_high"]
    assert mean <= figures["card_precision_at_100_best_possible"]
