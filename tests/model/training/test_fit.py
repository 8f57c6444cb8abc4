from collections.abc import Callable
from functools import cache

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from model.decision import choose_cutoffs
from model.explain import TreeExplainer
from model.features import FEATURE_NAMES
from model.score import probabilities
from model.settings import Settings, load_settings
from model.statistics import Floats, Integers
from model.training.fit import (
    FEW_FRAUDS,
    MIN_FRAUDS,
    TrainingError,
    fit_booster,
    fit_calibration,
    fold_calibration,
    raw_margins,
    with_covers,
)

ROWS = 3000


def tiny_settings(**given: object) -> Settings:
    return load_settings(id_key="a key of these tests only", **{"trees": 12, "leaves": 7} | given)


@cache
def table() -> tuple[Floats, Integers]:
    """Rows of features with gaps, and labels that the first two features explain in part."""
    rng = np.random.default_rng(3)
    features = rng.normal(size=(ROWS, len(FEATURE_NAMES)))
    label = (rng.random(ROWS) < expit(3 * features[:, 0] + 2 * features[:, 1] - 3)).astype(np.int64)
    features[rng.random(features.shape) < 0.1] = np.nan
    return features, label


@cache
def booster_of(trees: int) -> lgb.Booster:
    return fit_booster(*table(), settings=tiny_settings(trees=trees))


@cache
def stump() -> lgb.Booster:
    """Return a booster that found nothing to split on: one tree of one leaf."""
    booster = fit_booster(table()[0][:60], np.arange(60) % 3 // 2, settings=tiny_settings(trees=3))
    assert [tree["num_leaves"] for tree in booster.dump_model()["tree_info"]] == [1]
    return booster


def trees_of(booster: lgb.Booster) -> str:
    text: str = booster.model_to_string()
    return text.partition("parameters:")[0]


def reloaded(booster: lgb.Booster) -> lgb.Booster:
    return lgb.Booster(model_str=booster.model_to_string())


slopes = st.floats(0.01, 20)
intercepts = st.floats(-20, 20)


@given(slopes, intercepts)
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("shape", ["one leaf", "one tree", "many trees"])
def test_folding_turns_every_margin_into_slope_times_margin_plus_intercept(
    shape: str, slope: float, intercept: float
) -> None:
    booster = stump() if shape == "one leaf" else booster_of(1 if shape == "one tree" else 12)
    features = table()[0][:200]
    folded = fold_calibration(booster, slope, intercept)
    expected = slope * raw_margins(booster, features) + intercept
    # A sum of a dozen trees, each rounded: a few units in the last place of the largest number in it.
    tolerance = 1e-12 * max(1.0, slope, abs(intercept))
    assert raw_margins(folded, features) == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.parametrize("make", [stump, lambda: booster_of(1), lambda: booster_of(12)])
def test_shap_values_of_a_folded_model_add_up_to_its_calibrated_margins(make: Callable[[], lgb.Booster]) -> None:
    folded = fold_calibration(make(), 0.7, -1.3)
    features = table()[0][:300]
    shares = np.asarray(folded.predict(features, pred_contrib=True, num_threads=1))
    assert shares.sum(axis=1) == pytest.approx(raw_margins(folded, features), rel=0, abs=1e-12)


def test_folding_leaves_the_given_model_as_it_was() -> None:
    before = booster_of(12).model_to_string()
    fold_calibration(booster_of(12), 2.0, 1.0)
    assert booster_of(12).model_to_string() == before


@pytest.mark.parametrize("make", [stump, lambda: booster_of(12)])
def test_a_folded_model_survives_its_text_to_the_last_bit(make: Callable[[], lgb.Booster]) -> None:
    folded = fold_calibration(make(), 1 / 3, np.pi)
    features = table()[0]
    again = reloaded(folded)
    assert np.array_equal(raw_margins(again, features), raw_margins(folded, features))
    assert trees_of(again) == trees_of(folded)


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    features, label = table()
    first, second = (fit_booster(features, label, settings=tiny_settings()).model_to_string() for _ in range(2))
    assert first == second
    assert trees_of(fit_booster(features, label, settings=tiny_settings(seed=2))) != first.partition("parameters:")[0]


def test_the_number_of_threads_does_not_change_the_model() -> None:
    features, label = table()
    one, two = (fit_booster(features, label, settings=tiny_settings(threads=threads)) for threads in (1, 2))
    assert trees_of(one) == trees_of(two)
    assert np.array_equal(raw_margins(one, features, threads=2), raw_margins(one, features, threads=1))


def test_training_learns_what_there_is_to_learn_and_keeps_the_names_of_features() -> None:
    features, label = table()
    booster = booster_of(12)
    margins = raw_margins(booster, features)
    assert margins[label == 1].mean() > margins[label == 0].mean() + 0.5
    assert booster.feature_name() == list(FEATURE_NAMES)


def test_each_tree_is_told_of() -> None:
    grown = []
    fit_booster(*table(), settings=tiny_settings(trees=5), on_tree=lambda: grown.append(1))
    assert len(grown) == 5


@pytest.mark.parametrize(
    ("frauds", "words"), [(0, "0 are known as fraud"), (MIN_FRAUDS - 1, "9 are known"), (ROWS, "3,000 are known")]
)
def test_too_few_frauds_to_learn_from_are_refused_with_their_number(frauds: int, words: str) -> None:
    label = (np.arange(ROWS) < frauds).astype(np.int64)
    with pytest.raises(TrainingError, match=f"at least 10 known frauds.* of its 3,000 transactions {words}"):
        fit_booster(table()[0], label, settings=tiny_settings())


@pytest.mark.parametrize("frauds", [0, ROWS])
def test_calibration_on_one_class_alone_is_refused(frauds: int) -> None:
    label = (np.arange(ROWS) < frauds).astype(np.int64)
    with pytest.raises(TrainingError, match="calibration needs frauds and honest transactions"):
        fit_calibration(np.zeros(ROWS), label)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.6, -0.5), (1.8, 2.0), (1.0, -3.0)])
def test_calibration_recovers_the_truth_behind_distorted_margins(slope: float, intercept: float) -> None:
    rng = np.random.default_rng(5)
    margins = rng.normal(-2, 2, 100_000)
    label = (rng.random(margins.size) < expit(slope * margins + intercept)).astype(np.int64)
    found_slope, found_intercept = fit_calibration(margins, label)
    assert found_slope == pytest.approx(slope, rel=0.05)
    assert found_intercept == pytest.approx(intercept, abs=0.1)
    calibrated = expit(found_slope * margins + found_intercept)
    assert calibrated.mean() == pytest.approx(label.mean(), rel=0.001)


def test_margins_that_separate_perfectly_are_not_stretched_without_end() -> None:
    rng = np.random.default_rng(5)
    label = (np.arange(1000) < 40).astype(np.int64)
    margins = np.where(label == 1, 5.0, -5.0) + rng.normal(size=1000)
    slope, intercept = fit_calibration(margins, label)
    assert 0 < slope < 2
    highest = float(expit(slope * margins.max() + intercept))
    assert highest < 1 - 1e-5


@pytest.mark.parametrize("frauds", [1, FEW_FRAUDS - 1])
def test_with_few_frauds_only_the_level_of_the_margins_moves(frauds: int) -> None:
    margins = np.linspace(-9, 3, ROWS)
    label = (np.arange(ROWS) >= ROWS - frauds).astype(np.int64)
    slope, intercept = fit_calibration(margins, label)
    assert slope == 1.0
    assert expit(margins + intercept).mean() == pytest.approx(frauds / ROWS, rel=1e-9)


def test_margins_that_order_frauds_backwards_are_never_turned_round() -> None:
    margins = np.linspace(-9, 3, ROWS)
    label = (np.arange(ROWS) < 100).astype(np.int64)
    slope, intercept = fit_calibration(margins, label)
    assert slope == 1.0
    assert expit(margins + intercept).mean() == pytest.approx(100 / ROWS, rel=1e-9)


@pytest.mark.parametrize("level", [-700.0, 0.0, 700.0])
def test_constant_margins_are_calibrated_to_the_share_of_frauds(level: float) -> None:
    label = (np.arange(ROWS) < 15).astype(np.int64)
    slope, intercept = fit_calibration(np.full(ROWS, level), label)
    assert expit(slope * level + intercept) == pytest.approx(15 / ROWS, rel=1e-9)


@pytest.mark.parametrize(("flagged", "declined"), [(0.05, 0.01), (0.2, 0.05), (0.001, 0.001)])
def test_cut_offs_of_a_calibrated_model_hold_their_budgets_where_they_were_chosen(
    flagged: float, declined: float
) -> None:
    features, label = table()
    folded = fold_calibration(booster_of(12), 0.8, -0.4)
    scores = probabilities(raw_margins(folded, features[label == 0]))
    cutoffs = choose_cutoffs(scores, flagged_budget=flagged, declined_budget=declined)
    for cutoff, budget in ((cutoffs.review, flagged), (cutoffs.decline, declined)):
        stopped = (scores >= cutoff).sum()
        ties = (scores == scores[scores < cutoff].max()).sum()
        assert stopped / scores.size <= budget
        assert (stopped + ties) / scores.size > budget  # the next lower score would break it


# --- a sample of the honest transactions ------------------------------------------------------------------------------


@cache
def sampled(seed: int = 8, share: float = 0.1) -> tuple[Floats, Integers, Floats, Floats, Integers]:
    """Return a sample with all frauds as features, label and weight; and features and label of the whole."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60_000, len(FEATURE_NAMES)))
    label = (rng.random(len(features)) < expit(2 * features[:, 0] + features[:, 1] - 5)).astype(np.int64)
    kept = (label == 1) | (rng.random(len(label)) < share)
    weight = np.where(label == 1, 1.0, 1 / share)
    return features[kept], label[kept], weight[kept], features, label


@cache
def weighted_booster() -> lgb.Booster:
    features, label, weight, *_ = sampled()
    return fit_booster(features, label, weight=weight, settings=tiny_settings(trees=40, learning_rate=0.1))


def test_a_weighted_sample_gives_the_probabilities_of_the_whole() -> None:
    """Calibrated in the mean and in every part of the scores; without weights it is several times too suspicious."""
    features, label, weight, whole, truth = sampled(seed=9)
    slope, intercept = fit_calibration(raw_margins(weighted_booster(), features), label, weight=weight)
    margins = raw_margins(fold_calibration(weighted_booster(), slope, intercept), whole)
    stated = expit(margins)
    assert stated.mean() == pytest.approx(truth.mean(), rel=0.05)
    for part in np.array_split(np.argsort(margins)[len(margins) // 2 :], 4):
        assert stated[part].mean() == pytest.approx(truth[part].mean(), rel=0.25, abs=0.006)
    blind = fit_booster(*sampled()[:2], settings=tiny_settings(trees=40, learning_rate=0.1))
    assert expit(raw_margins(blind, whole)).mean() > 4 * truth.mean()


def test_weights_of_one_train_the_same_model_to_the_last_bit() -> None:
    features, label = table()
    plain, ones = (
        fit_booster(features, label, weight=weight, settings=tiny_settings()) for weight in (None, np.ones(ROWS))
    )
    assert trees_of(plain) == trees_of(ones)
    margins = raw_margins(plain, features)
    assert fit_calibration(margins, label) == fit_calibration(margins, label, weight=np.ones(ROWS))


@pytest.mark.parametrize("frauds", [5, 200])
def test_calibration_weighs_rows_as_if_each_stood_there_so_often(frauds: int) -> None:
    rng = np.random.default_rng(5)
    label = (np.arange(2000) < frauds).astype(np.int64)
    margins = rng.normal(-2, 1, 2000) + 2 * label
    weight = np.where(label == 1, 1, 7)
    slope, intercept = fit_calibration(margins, label, weight=weight.astype(np.float64))
    assert np.average(expit(slope * margins + intercept), weights=weight) == pytest.approx(
        frauds / weight.sum(), rel=0.05
    )


def test_covers_count_the_transactions_that_rows_stand_for() -> None:
    """So the base value is the mean margin of the bank, not of a sample with ten times its share of frauds."""
    features, _, weight, whole, _ = sampled()
    booster = weighted_booster()
    base = TreeExplainer(booster.model_to_string()).base
    mean = float(np.average(raw_margins(booster, features), weights=weight))
    assert base == pytest.approx(mean, abs=0.02)
    assert base == pytest.approx(float(raw_margins(booster, whole).mean()), abs=0.05)
    assert abs(float(raw_margins(booster, features).mean()) - mean) > 0.3  # what it would be without
    root = booster.dump_model()["tree_info"][0]["tree_structure"]
    assert root["internal_count"] == pytest.approx(weight.sum(), abs=20)


@pytest.mark.parametrize("make", [stump, lambda: booster_of(1), lambda: booster_of(12)])
def test_covers_change_no_score_and_shap_values_still_add_up(make: Callable[[], lgb.Booster]) -> None:
    features = table()[0]
    weight = np.random.default_rng(1).integers(1, 30, len(features)).astype(np.float64)
    covered = with_covers(make(), features, weight)
    assert np.array_equal(raw_margins(covered, features), raw_margins(make(), features))
    text = fold_calibration(covered, 0.7, -1.3).model_to_string()
    shares = np.asarray(lgb.Booster(model_str=text).predict(features[:200], pred_contrib=True, num_threads=1))
    contributions, base = TreeExplainer(text).explain(features[:200])
    assert contributions == pytest.approx(shares[:, :-1], abs=1e-9)
    assert base == pytest.approx(shares[0, -1], abs=1e-9)


def test_covers_of_weight_one_count_every_row_and_not_only_the_part_each_tree_was_grown_from() -> None:
    features, label = table()
    booster = fit_booster(features, label, settings=tiny_settings())
    for covered, grown in zip(
        *(each.dump_model()["tree_info"] for each in (with_covers(booster, features, np.ones(ROWS)), booster)),
        strict=True,
    ):
        assert covered["tree_structure"]["internal_count"] == ROWS
        assert grown["tree_structure"]["internal_count"] < 0.9 * ROWS
