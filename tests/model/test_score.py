import math
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.score import BoosterError, load_booster, probabilities, probability


@cache
def trained(**settings: Any) -> lgb.Booster:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(400, 3))
    label = (features[:, 0] > 0.5).astype(int)
    parameters = {"objective": "binary", "verbose": -1, "num_leaves": 4} | settings
    return lgb.train(parameters, lgb.Dataset(features, label), 3)


def text_of(**settings: Any) -> str:
    text: str = trained(**settings).model_to_string()
    return text


def test_a_booster_is_loaded_as_it_was_written() -> None:
    features = np.random.default_rng(2).normal(size=(50, 3))
    loaded = load_booster(text_of())
    assert np.array_equal(loaded.predict(features, raw_score=True), trained().predict(features, raw_score=True))
    assert loaded.model_to_string() == text_of()


@pytest.mark.parametrize(
    "other",
    [
        {"objective": "regression"},
        {"objective": "cross_entropy"},
        {"objective": "binary", "sigmoid": 2.0},
        {"objective": "multiclass", "num_class": 3},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
        {"linear_tree": True},
    ],
)
def test_a_model_whose_raw_score_is_no_sum_of_log_odds_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(BoosterError, match="the model"):
        load_booster(text_of(**other))


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("num_class=1\n", "num_class=2\n"),
        ("num_tree_per_iteration=1\n", "num_tree_per_iteration=2\n"),
        ("objective=binary sigmoid:1\n", "objective=binary sigmoid:1.5\n"),
        ("objective=binary sigmoid:1\n", ""),
    ],
)
def test_a_header_of_another_kind_is_refused_before_the_trees_are_parsed(line: str, changed: str) -> None:
    with pytest.raises(BoosterError, match="the model's text must say"):
        load_booster(text_of().replace(line, changed, 1))


@pytest.mark.parametrize("text", ["", "garbage", "objective=binary sigmoid:1\n"])
def test_text_that_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(BoosterError):
        load_booster(text)


def test_a_model_that_lightgbm_cannot_read_is_refused_with_its_reason() -> None:
    with pytest.raises(BoosterError, match="LightGBM cannot load the model"):
        load_booster(text_of().replace("feature_names=", "names="))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
def test_trees_cut_off_are_refused(share: float) -> None:
    text = text_of()
    first, last = text.index("Tree=0"), text.index("end of trees")
    with pytest.raises(BoosterError, match="cut off or edited"):
        load_booster(text[: first + int((last - first) * share)])


@pytest.mark.parametrize("sizes", ["1 2 3", "x y z", "-1", "999999999"])
def test_trees_that_are_not_where_the_header_says_are_refused(sizes: str) -> None:
    before, _, after = text_of().partition("\ntree_sizes=")
    _, _, after = after.partition("\n")
    with pytest.raises(BoosterError, match="cut off or edited"):
        load_booster(f"{before}\ntree_sizes={sizes}\n{after}")


def test_a_model_without_trees_is_refused() -> None:
    header = text_of().partition("\ntree_sizes=")[0]
    with pytest.raises(BoosterError, match="no trees"):
        load_booster(f"{header}\ntree_sizes=\n\nend of trees\n")


@given(st.floats(-800, 800), st.floats(-800, 800))
def test_a_higher_margin_is_never_a_lower_probability(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0 < probability(low) <= probability(high) <= 1


@given(st.floats(-30, 30))
def test_a_probability_has_its_margin_as_log_odds(margin: float) -> None:
    score = probability(margin)
    assert math.log(score) - math.log1p(-score) == pytest.approx(margin, abs=1e-2 if margin > 20 else 1e-6)
    assert probability(-margin) == pytest.approx(1 - score, abs=1e-15)


@pytest.mark.parametrize(("margin", "score"), [(0.0, 0.5), (-0.0, 0.5), (math.inf, 1.0), (math.log(3), 0.75)])
def test_known_margins_have_known_probabilities(margin: float, score: float) -> None:
    assert probability(margin) == pytest.approx(score, rel=1e-15)


def test_the_lowest_margins_keep_a_normal_positive_probability() -> None:
    assert probability(-math.inf) == probability(-1e9) == probability(-700.0) > 1e-308


def test_a_broken_margin_stays_visible() -> None:
    assert math.isnan(probability(math.nan))


@given(st.lists(st.floats(allow_nan=False), max_size=20))
def test_many_probabilities_equal_one_at_a_time(margins: list[float]) -> None:
    many = probabilities(np.array(margins))
    assert many.dtype == np.float64
    assert many.tolist() == [probability(margin) for margin in margins]
