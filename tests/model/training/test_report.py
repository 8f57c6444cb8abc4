from datetime import timedelta

import pytest

from model.training.evaluate import evaluate
from model.training.report import render
from tests.model.training.evaluated import JULY, TINY_CUTOFFS, evaluate_tiny


def test_without_a_fraud_the_page_says_which_figures_are_not_available() -> None:
    page = render(evaluate_tiny(label=[0] * 6), label_delay=timedelta(days=1), statistics_age=timedelta(hours=1))
    assert "n/a      cut-off chosen beforehand: recall n/a, false positive rate 50.00 %" in page
    assert "nan" not in page.lower()


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [1] * 6},
        {"score": [0.5] * 6},
        {"score": [0.0] * 6},
        {"score": [1.0] * 6},
        {"amount": [0.0] * 6},
    ],
)
def test_a_one_sided_period_is_rendered_without_a_warning(columns: dict[str, list[float]]) -> None:
    page = render(evaluate_tiny(**columns), label_delay=timedelta(days=1), statistics_age=timedelta(hours=1))
    assert "nan" not in page.lower()


def test_a_single_transaction_can_be_evaluated() -> None:
    evaluation = evaluate(label=[0], score=[0.1], amount=[5], tx_seconds=[JULY], cutoffs=TINY_CUTOFFS)
    page = render(evaluation, label_delay=timedelta(days=1), statistics_age=timedelta(hours=1))
    assert "Tested on 2018-07-01 to 2018-07-01 (1 day)\n  1 transaction, 0 of them fraud" in page


def test_the_page_states_days_label_delay_statistics_age_and_the_verdict() -> None:
    page = render(evaluate_tiny(), label_delay=timedelta(days=7), statistics_age=timedelta(hours=3))
    assert "Tested on 2018-07-01 to 2018-07-02 (2 days)" in page
    assert "label delay 7 days" in page
    assert "statistics age 3 hours" in page
    assert "recall at least 95.00 % at a false positive rate of at most 5.00 %" in page
    assert "NOT MET  cut-off chosen beforehand: recall 50.00 %, false positive rate 50.00 %" in page
    assert max(map(len, page.splitlines())) <= 100


def test_the_page_says_when_the_requirement_is_met() -> None:
    perfect = evaluate_tiny(score=[0.9, 0.95, 0.1, 0.1, 0.1, 0.1])
    page = render(perfect, label_delay=timedelta(days=1), statistics_age=timedelta(hours=1))
    assert page.count("  MET") == 4  # twice the requirement, and two rules about losses
    assert "NOT MET" not in page


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(0), "0 seconds"),
        (timedelta(seconds=90), "90 seconds"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=24), "1 day"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(days=7), "7 days"),
    ],
)
def test_a_label_delay_is_said_in_the_largest_whole_unit(span: timedelta, words: str) -> None:
    page = render(evaluate_tiny(), label_delay=span, statistics_age=timedelta(hours=1))
    assert f"label delay {words}, where" in page


def test_the_page_says_whether_losses_stay_within_their_limits() -> None:
    kept = render(evaluate_tiny(), label_delay=timedelta(days=1), statistics_age=timedelta(hours=1))
    assert "  MET      fraud money passed a month 600, limit 500,000" in kept
    assert "  NOT MET  frauds passed per 100 transactions 16.6667, at most 2" in kept
    poor = evaluate_tiny(monthly_loss_limit=599)
    page = render(poor, label_delay=timedelta(days=1), statistics_age=timedelta(hours=1))
    assert "  NOT MET  fraud money passed a month 600, limit 599" in page


def test_the_page_says_that_figures_are_from_a_sample_and_only_then() -> None:
    spans = {"label_delay": timedelta(days=1), "statistics_age": timedelta(hours=1)}
    page = render(evaluate_tiny(weight=[1, 1, 20, 20, 20, 20]), **spans)
    assert "  82 transactions, 2 of them fraud (2.44 %)" in page
    assert "  sampled, weights: 6 transactions were scored, all frauds among them" in page
    assert "sampled" not in render(evaluate_tiny(), **spans)
