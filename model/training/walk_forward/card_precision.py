"""Card precision at k: of the k customers whose payments look worst on a day, how many were defrauded that day."""

import numpy as np

from model.statistics import HOUR, Floats, Integers
from model.training.measures import percentile_interval
from model.training.split import DAY
from model.training.walk_forward.bootstrap import ALPHA
from model.training.walk_forward.tested import Outcomes

TOP = 100  # customers that a team of analysts can call on a day
KNOWN_DAYS = 14  # so long a customer with a reported fraud is known as defrauded


def daily_card_precision(
    tested: Outcomes, *, reported_customer: Integers, report_hour: Integers
) -> tuple[Floats, Floats]:
    """Return card precision at 100 of each tested day, and the best that could be reached that day, both (days,).

    As in Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection" (2022), chapter 4: customers
    rank by their highest score of the day, those already known as defrauded are left out, and the share is always of
    100. Known is who had a fraud reported in the 14 days before the day began.

    Parameters
    ----------
    reported_customer, report_hour
        Customer and hour of every fraud report of the history, (m,).
    """
    reached, best = [], []
    for day in np.unique(tested.day):
        morning = day * DAY // HOUR
        recent = (report_hour < morning) & (report_hour >= morning - KNOWN_DAYS * DAY // HOUR)
        today = tested.day == day
        unknown = today & ~np.isin(tested.customer, reported_customer[recent])
        defrauded = _ranked(tested, unknown)
        reached.append(defrauded[:TOP].sum() / TOP)
        best.append(min(int(defrauded.sum()), TOP) / TOP)
    return np.array(reached), np.array(best)


def _ranked(tested: Outcomes, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Integers:
    """Return for each customer, the most suspicious first, whether it was defrauded."""
    customers, place = np.unique(tested.customer[chosen], return_inverse=True)
    highest, defrauded = np.zeros(len(customers)), np.zeros(len(customers), dtype=np.int64)
    np.maximum.at(highest, place, tested.score[chosen])
    np.maximum.at(defrauded, place, tested.fraud[chosen].astype(np.int64))
    return defrauded[np.argsort(-highest, kind="stable")]


def card_precision_figures(reached: Floats, best: Floats, *, resamples: int, seed: int) -> dict[str, float]:
    """Return the mean over days with its interval; days are drawn again, for it is a figure of days."""
    rng = np.random.default_rng(seed)
    drawn = reached[rng.integers(0, len(reached), (resamples, len(reached)))].mean(axis=1)
    low, high = percentile_interval(drawn, ALPHA)
    return {
        "card_precision_at_100": float(reached.mean()),
        "card_precision_at_100_low": low,
        "card_precision_at_100_high": high,
        "card_precision_at_100_best_possible": float(best.mean()),
    }
