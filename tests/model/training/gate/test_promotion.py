import json
import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from model.training.gate import Comparison, GateRules, MeasureComparison, PromotionDecision, decide_promotion
from model.training.gate.measured import MEASURES

RULES = GateRules()


def measure(name: str, **changes: Any) -> MeasureComparison:
    equal = MeasureComparison(
        name=name,
        higher_is_better=MEASURES[name],
        champion=0.95,
        challenger=0.95,
        difference=0.0,
        interval=(-0.004, 0.004),
        p_value=1.0,
        champion_interval=(0.94, 0.96),
        challenger_interval=(0.94, 0.96),
        differences=np.zeros(999),
    )
    return replace(equal, **changes)


def comparison(
    by_name: Mapping[str, dict[str, Any]] = MappingProxyType({}),
    *,
    frauds: int = 1700,
    by_chance: float = 0.0005,
    **changes: dict[str, Any],
) -> Comparison:
    """Return two equal models that keep every rule, but for the changes to measures by name."""
    usual: dict[str, dict[str, Any]] = {name: {} for name in MEASURES}
    usual["review_false_positive_rate"] = {"challenger": 0.049, "challenger_interval": (0.048, 0.050)}
    usual["decline_false_positive_rate"] = {"challenger": 0.0098, "challenger_interval": (0.009, 0.0105)}
    usual["expected_calibration_error"] = {"champion": 0.001, "challenger": 0.001}
    usual["expected_loss_per_month"] = {"champion": 9000.0, "challenger": 9000.0, "interval": (-50.0, 50.0)}
    return Comparison(
        champion="version 3",
        challenger="version 4",
        rows=200_000,
        frauds=frauds,
        clusters=5000,
        days=28,
        transactions=200_000.0,
        alpha=0.05,
        resamples=999,
        calibration_error_by_chance=by_chance,
        measures={
            name: measure(name, **(told | by_name.get(name, {}) | changes.get(name, {})))
            for name, told in usual.items()
        },
    )


def decide(
    compared: Comparison, *, golden: bool = True, explain_us: float = 25.0, rules: GateRules = RULES
) -> PromotionDecision:
    return decide_promotion(compared, golden_rows_agree=golden, explain_us=explain_us, rules=rules)


def failed(decision: PromotionDecision) -> list[str]:
    return [condition.name for condition in decision.failed]


BETTER_LOSS = {"challenger": 8000.0, "interval": (-1500.0, -500.0), "p_value": 0.002}
WORSE_LOSS = {"challenger": 10_000.0, "interval": (500.0, 1500.0), "p_value": 0.002}
WIDE_RECALL = {"interval": (-0.02, 0.01)}


def test_a_later_model_that_is_not_worse_replaces_the_champion_without_a_claim_to_be_better() -> None:
    decision = decide(comparison())
    assert decision.promote
    assert decision.claims == ()
    assert [condition.name for condition in decision.conditions] == [
        "enough_frauds",
        "recall",
        "money",
        "false_positive_rate",
        "calibration",
        "golden_rows",
        "explain_cost",
        "improvement",
    ]
    assert "not shown to be better" in decision.conditions[-1].sentence
    assert "version 4 replaces version 3" in decision.summary()


def test_where_an_improvement_is_required_an_equal_model_stays_out_and_a_better_one_comes_in() -> None:
    rules = GateRules(require_improvement=True)
    assert failed(decide(comparison(), rules=rules)) == ["improvement"]
    decision = decide(comparison(expected_loss_per_month=BETTER_LOSS), rules=rules)
    assert decision.promote
    assert "better in money (p = 0.006)" in decision.conditions[-1].sentence


@pytest.mark.parametrize(
    ("low", "passes"), [(-0.0049, True), (-0.005, False), (-0.0051, False), (-math.inf, False), (0.001, True)]
)
def test_the_interval_must_leave_out_a_loss_of_recall_larger_than_the_margin(low: float, passes: bool) -> None:
    decision = decide(comparison(recall_at_flagged_budget={"interval": (low, 0.02)}))
    assert failed(decision) == ([] if passes else ["recall"])


def test_recall_may_be_in_doubt_where_money_is_certainly_better() -> None:
    assert failed(decide(comparison(recall_at_flagged_budget=WIDE_RECALL))) == ["recall"]
    decision = decide(comparison(recall_at_flagged_budget=WIDE_RECALL, expected_loss_per_month=BETTER_LOSS))
    assert decision.promote
    assert "Money is certainly better: 9,000 to 8,000" in decision.conditions[1].sentence


def test_a_model_that_certainly_costs_more_is_kept_out_whatever_its_recall() -> None:
    better = {"interval": (0.01, 0.02), "p_value": 0.002}
    decision = decide(comparison(expected_loss_per_month=WORSE_LOSS, recall_at_flagged_budget=better))
    assert failed(decision) == ["money"]
    assert {(claim.measure, claim.better) for claim in decision.claims} == {
        ("expected_loss_per_month", False),
        ("recall_at_flagged_budget", True),
    }


@pytest.mark.parametrize(
    ("name", "limit"), [("review_false_positive_rate", 0.055), ("decline_false_positive_rate", 0.015)]
)
def test_the_upper_bound_of_each_false_positive_rate_must_keep_budget_and_tolerance(name: str, limit: float) -> None:
    bounds = ({"challenger_interval": (0.0, high)} for high in (limit, limit + 1e-6, math.inf))
    within, above, unknown = (decide(comparison({name: bound})) for bound in bounds)
    assert within.promote
    assert failed(above) == failed(unknown) == ["false_positive_rate"]
    assert "above" in above.failed[0].sentence


def test_calibration_fails_above_the_limit_unless_so_few_rows_show_as_much_by_chance() -> None:
    error = {"challenger": 0.003}
    assert decide(comparison(expected_calibration_error={"challenger": 0.002})).promote
    assert failed(decide(comparison(expected_calibration_error=error, by_chance=0.0029))) == ["calibration"]
    by_chance = decide(comparison(expected_calibration_error=error, by_chance=0.0031))
    assert by_chance.promote
    assert "no more than chance makes" in by_chance.conditions[4].sentence


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_what_has_no_value_never_passes(nothing: float) -> None:
    assert failed(decide(comparison(), explain_us=nothing)) == ["explain_cost"]
    assert failed(decide(comparison(expected_calibration_error={"challenger": nothing}))) == ["calibration"]


def test_golden_rows_cost_and_number_of_frauds_each_keep_a_model_out() -> None:
    assert failed(decide(comparison(), golden=False)) == ["golden_rows"]
    assert decide(comparison(), explain_us=200).promote
    assert failed(decide(comparison(), explain_us=200.1)) == ["explain_cost"]
    assert failed(decide(comparison(frauds=49))) == ["enough_frauds"]


def test_a_p_value_that_only_one_of_three_looks_would_pass_is_no_claim() -> None:
    one = {"interval": (0.001, 0.02), "p_value": 0.03}
    assert decide(comparison(recall_at_flagged_budget=one)).claims == ()
    three = decide(
        comparison(
            recall_at_flagged_budget={"interval": (0.001, 0.02), "p_value": 0.016},
            average_precision={"interval": (0.001, 0.02), "p_value": 0.02},
            expected_loss_per_month={"interval": (-20.0, -1.0), "p_value": 0.04},
        )
    )
    assert {claim.measure: claim.p_value for claim in three.claims} == pytest.approx(
        {"recall_at_flagged_budget": 0.048, "average_precision": 0.048, "expected_loss_per_month": 0.048}
    )


def test_every_condition_says_its_figures_in_one_sentence_and_a_refusal_says_which() -> None:
    decision = decide(
        comparison(frauds=3, recall_at_flagged_budget=WIDE_RECALL, expected_loss_per_month=WORSE_LOSS),
        golden=False,
        explain_us=1e4,
        rules=GateRules(require_improvement=True),
    )
    assert not decision.promote
    for condition in decision.conditions:
        assert condition.sentence.endswith(".")
        assert "\n" not in condition.sentence
        if condition.name not in ("golden_rows", "improvement"):
            assert any(letter.isdigit() for letter in condition.sentence)
    for condition in decision.failed:
        assert condition.sentence in decision.summary()
    assert "version 3 stays" in decision.summary()
    contents = json.loads(json.dumps(decision.as_dict(), allow_nan=False))
    assert contents["promote"] is False
    assert len(contents["conditions"]) == 8
