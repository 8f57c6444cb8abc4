from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from model.training.gate import PromotionDecision, compare, decide_promotion
from tests.model.training.gate.banks import RULES, Truth, draw_bank, draw_model

PAIRS = 200
ALPHA = RULES.alpha
# Of 200 honest gates at exactly alpha one in a thousand claims more often than this.
MOST_CLAIMS = int(binom.ppf(0.999, PAIRS, ALPHA))

pytestmark = pytest.mark.slow


def judge(seed: int, *, truth: Truth, gain: float = 0.0, row_by_row: bool = False) -> PromotionDecision:
    """Let the gate judge a challenger whose signal is stronger by `gain`, on a bank of its own."""
    rows, rng = draw_bank(seed, truth)
    champion = draw_model(rows, rng, truth, name="champion")
    challenger = draw_model(rows, rng, replace(truth, signal=truth.signal + gain), name="challenger")
    drawn = replace(rows, cluster=np.arange(len(rows))) if row_by_row else rows
    comparison = compare(drawn, champion, challenger, rules=replace(RULES, seed=seed))
    return decide_promotion(comparison, golden_rows_agree=True, explain_us=10, rules=RULES)


def test_of_two_hundred_pairs_of_equal_models_at_most_alpha_are_called_different() -> None:
    decisions = [judge(seed, truth=Truth()) for seed in range(PAIRS)]
    assert sum(bool(decision.claims) for decision in decisions) <= MOST_CLAIMS
    # A claim may err to either side, so that of being better is made half as often.
    better = sum(any(claim.better for claim in decision.claims) for decision in decisions)
    assert better <= binom.ppf(0.999, PAIRS, ALPHA / 2)


def test_drawing_rows_in_place_of_customers_would_call_equal_models_different_far_too_often() -> None:
    decisions = [judge(seed, truth=Truth(), row_by_row=True) for seed in range(PAIRS // 2)]
    assert sum(bool(decision.claims) for decision in decisions) > binom.ppf(0.999, PAIRS // 2, ALPHA)


def test_a_really_better_model_is_nearly_always_found_and_never_called_worse() -> None:
    decisions = [judge(seed, truth=Truth(), gain=1.5) for seed in range(60)]
    assert sum(any(claim.better for claim in decision.claims) for decision in decisions) >= 57
    assert not any(not claim.better for decision in decisions for claim in decision.claims)


def test_a_really_worse_model_is_nearly_always_kept_out() -> None:
    decisions = [judge(seed, truth=Truth(), gain=-1.0) for seed in range(60)]
    assert not any(decision.promote for decision in decisions)
    assert sum("recall" in {condition.name for condition in decision.failed} for decision in decisions) >= 57


def test_with_enough_rows_an_equal_model_is_shown_to_be_not_worse() -> None:
    truth = Truth(customers=4000, signal=5.5)
    decisions = [judge(seed, truth=truth) for seed in range(10)]
    assert sum(decision.conditions[1].passed for decision in decisions) >= 9
