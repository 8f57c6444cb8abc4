import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from model.decision import CutOffs
from model.training.evaluate import evaluate, recall_at_fpr
from model.training.gate import Comparison, GateRows, ScoredModel, compare
from model.training.measures import Clusters, expected_calibration_error, expected_loss
from tests.model.training.gate.banks import RULES, Truth, draw_bank, draw_model

MEASURES = (
    "recall_at_flagged_budget",
    "recall_at_declined_budget",
    "roc_auc",
    "average_precision",
    "review_recall",
    "review_false_positive_rate",
    "review_precision",
    "review_f1",
    "decline_recall",
    "decline_false_positive_rate",
    "decline_precision",
    "decline_f1",
    "expected_loss_per_month",
    "money_passed_per_month",
    "expected_calibration_error",
)


@pytest.fixture(scope="module")
def pair() -> tuple[GateRows, ScoredModel, ScoredModel]:
    rows, rng = draw_bank(1)
    return rows, draw_model(rows, rng, name="old"), draw_model(rows, rng, Truth(signal=2.5), name="new")


@pytest.fixture(scope="module")
def compared(pair: tuple[GateRows, ScoredModel, ScoredModel]) -> Comparison:
    return compare(*pair, rules=RULES)


def test_the_values_of_both_models_are_those_of_an_evaluation(
    pair: tuple[GateRows, ScoredModel, ScoredModel], compared: Comparison
) -> None:
    rows, *models = pair
    assert tuple(compared.measures) == MEASURES
    for model, side in zip(models, ("champion", "challenger"), strict=True):
        expected = evaluate(
            label=rows.label,
            score=model.scores,
            amount=rows.amount,
            tx_seconds=rows.tx_seconds,
            cutoffs=model.cutoffs,
        ).metrics()
        loss = expected_loss(rows.label, model.scores, rows.amount, cutoffs=model.cutoffs, costs=RULES.costs)
        expected |= {
            "recall_at_flagged_budget": recall_at_fpr(rows.label, model.scores, 0.05),
            "recall_at_declined_budget": recall_at_fpr(rows.label, model.scores, 0.01),
            "expected_calibration_error": expected_calibration_error(rows.label, model.scores),
            "expected_loss_per_month": loss * len(rows) / rows.days * 30,
        }
        for name in MEASURES:
            assert getattr(compared[name], side) == pytest.approx(expected[name]), name


def test_a_difference_is_challenger_minus_champion_inside_its_interval(compared: Comparison) -> None:
    for measure in compared.measures.values():
        assert measure.difference == pytest.approx(measure.challenger - measure.champion)
        assert measure.interval[0] <= measure.difference <= measure.interval[1]
        assert measure.differences.shape == (RULES.resamples,)
        assert (measure.better or measure.worse) == (measure.p_value <= RULES.alpha)


def test_the_resamples_are_those_of_whole_customers_one_by_one(
    pair: tuple[GateRows, ScoredModel, ScoredModel], compared: Comparison
) -> None:
    rows, old, new = pair
    clusters, rng = Clusters(rows.cluster), np.random.default_rng(RULES.seed)
    draws = clusters.draw(rng, RULES.resamples)
    for place in range(5):
        times = draws[place][clusters.place].astype(int)
        label, one, other = (np.repeat(column, times) for column in (rows.label, old.scores, new.scores))
        auc = roc_auc_score(label, other) - roc_auc_score(label, one)
        precision = average_precision_score(label, other) - average_precision_score(label, one)
        recall = (other[label == 1] >= new.cutoffs.review).mean() - (one[label == 1] >= old.cutoffs.review).mean()
        for name, expected in (("roc_auc", auc), ("average_precision", precision), ("review_recall", recall)):
            assert compared[name].differences[place] == pytest.approx(expected)


def test_a_model_against_itself_differs_in_nothing(pair: tuple[GateRows, ScoredModel, ScoredModel]) -> None:
    rows, old, _ = pair
    for measure in compare(rows, old, old, rules=RULES).measures.values():
        assert (measure.difference, measure.interval, measure.p_value) == (0, (0, 0), 1)
        assert (measure.better, measure.worse) == (False, False)


def test_exchanging_the_models_turns_every_difference_round(
    pair: tuple[GateRows, ScoredModel, ScoredModel], compared: Comparison
) -> None:
    rows, old, new = pair
    for name, measure in compare(rows, new, old, rules=RULES).measures.items():
        low, high = compared[name].interval
        assert measure.interval == pytest.approx((-high, -low))
        assert (measure.p_value, measure.better) == (compared[name].p_value, compared[name].worse)


def test_the_same_seed_gives_the_same_comparison_and_another_seed_another(
    pair: tuple[GateRows, ScoredModel, ScoredModel], compared: Comparison
) -> None:
    assert compare(*pair, rules=RULES) == compared
    other = compare(*pair, rules=replace(RULES, seed=8))
    assert other["roc_auc"].interval != compared["roc_auc"].interval
    assert other["roc_auc"].difference == compared["roc_auc"].difference


def test_a_sampled_row_of_weight_two_counts_as_two_rows_of_its_customer(
    pair: tuple[GateRows, ScoredModel, ScoredModel],
) -> None:
    rows, old, new = pair
    times = np.where(rows.label == 1, 1, 1 + rows.cluster % 3)
    sampled = replace(rows, weight=times.astype(np.float64))
    whole = GateRows(
        label=np.repeat(rows.label, times),
        amount=np.repeat(rows.amount, times),
        tx_seconds=np.repeat(rows.tx_seconds, times),
        cluster=np.repeat(rows.cluster, times),
    )
    many = [replace(model, scores=np.repeat(model.scores, times)) for model in (old, new)]
    one, other = compare(sampled, old, new, rules=RULES), compare(whole, *many, rules=RULES)
    assert one.transactions == other.transactions == len(whole)
    for name in MEASURES:
        assert one[name].champion == pytest.approx(other[name].champion)
        assert one[name].differences == pytest.approx(other[name].differences)


def test_runs_of_frauds_are_less_evidence_than_as_many_single_ones(
    pair: tuple[GateRows, ScoredModel, ScoredModel], compared: Comparison
) -> None:
    rows, old, new = pair
    one_by_one = compare(replace(rows, cluster=np.arange(len(rows))), old, new, rules=RULES)
    assert (compared.clusters, one_by_one.clusters) == (300, 1500)
    for name in ("recall_at_flagged_budget", "average_precision", "expected_loss_per_month"):
        wide, narrow = (np.ptp(one[name].interval) for one in (compared, one_by_one))
        assert wide > 1.3 * narrow


def test_chance_explains_the_calibration_error_of_a_calibrated_model_and_not_of_another(
    pair: tuple[GateRows, ScoredModel, ScoredModel],
) -> None:
    rows, old, _ = pair
    overconfident = ScoredModel("overconfident", np.sqrt(old.scores), CutOffs(0.3, 0.6))
    calibrated, other = (compare(rows, old, model, rules=RULES) for model in (old, overconfident))
    error = calibrated["expected_calibration_error"].challenger
    assert error < calibrated.calibration_error_by_chance < 3 * error
    assert other["expected_calibration_error"].challenger > 2 * other.calibration_error_by_chance


def test_rows_without_a_fraud_leave_the_measures_of_frauds_unknown_and_json_valid() -> None:
    rows, rng = draw_bank(2)
    honest = replace(rows, label=np.zeros(len(rows), dtype=np.int64))
    models = [draw_model(honest, rng, name=name) for name in ("old", "new")]
    comparison = compare(honest, *models, rules=RULES)
    recall = comparison["recall_at_flagged_budget"]
    assert math.isnan(recall.challenger)
    assert (recall.interval, recall.p_value) == ((-math.inf, math.inf), 1)
    contents: dict[str, Any] = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    assert contents["measures"]["roc_auc"]["interval"] == [None, None]
    assert contents["measures"]["review_false_positive_rate"]["champion"] == pytest.approx(0.05, abs=0.03)


def test_progress_is_told_of_every_resample(pair: tuple[GateRows, ScoredModel, ScoredModel]) -> None:
    told: list[None] = []
    compare(*pair, rules=RULES, progress=lambda: told.append(None))
    assert len(told) == RULES.resamples


def test_scores_of_other_rows_are_refused(pair: tuple[GateRows, ScoredModel, ScoredModel]) -> None:
    rows, old, new = pair
    with pytest.raises(ValueError, match="new has 10 scores for 1500 rows"):
        compare(rows, old, replace(new, scores=new.scores[:10]), rules=RULES)
