import importlib
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import cache
from itertools import combinations
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import model.explain
from model.explain import TreeExplainer, UnsupportedModelError
from model.explain_reference import Tree, explain_reference, goes_left, split_trees
from model.lightgbm_text import FlatTrees, parse_model
from tests.model.random_trees import FloatArray, WrittenTree, model_text, random_rows, train, write_tree

_treeshap = pytest.importorskip("model._treeshap", reason="built without a C compiler")

TOLERANCE = 1e-11  # of the largest contribution; the requirement is 1e-6 log-odds
ENGINES: tuple[model.explain.Engine, ...] = ("native", "numpy", "pred_contrib")
SEEDS = st.integers(0, 2**32 - 1)
SETTINGS = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=_treeshap.INSTRUCTION_SETS)
def instruction_set(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def every_instruction_set(text: str) -> Iterator[TreeExplainer]:
    for name in _treeshap.INSTRUCTION_SETS:
        yield TreeExplainer(text, engine="native", instruction_set=name)


def assert_close(actual: FloatArray, expected: FloatArray) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=TOLERANCE)


def pred_contrib(text: str, rows: FloatArray) -> FloatArray:
    return np.asarray(lightgbm.Booster(model_str=text).predict(rows, pred_contrib=True, num_threads=1))


def assert_equals_pred_contrib(text: str, rows: FloatArray) -> None:
    expected = pred_contrib(text, rows)
    margins = np.asarray(lightgbm.Booster(model_str=text).predict(rows, raw_score=True, num_threads=1))
    for explainer in every_instruction_set(text):
        contributions, base = explainer.explain(rows)
        assert_close(contributions, expected[:, :-1])
        assert_close(np.array(base), expected[0, -1])
        assert_close(contributions.sum(axis=1) + base, margins)


@SETTINGS
@given(
    seed=SEEDS,
    n_features=st.integers(1, 12),
    rounds=st.integers(1, 30),
    num_leaves=st.integers(2, 64),
    objective=st.sampled_from(["binary", "regression"]),
    boosting=st.sampled_from(["gbdt", "dart"]),
    use_missing=st.booleans(),
    zero_as_missing=st.booleans(),
    extra_trees=st.booleans(),
    max_bin=st.sampled_from([2, 15, 255]),
)
def test_trained_models_are_explained_as_by_lightgbm(seed: int, n_features: int, rounds: int, **params: Any) -> None:
    rng = np.random.default_rng(seed)
    booster = train(rng, n_features, rounds, **params)
    assert_equals_pred_contrib(booster.model_to_string(), random_rows(rng, 20, n_features))


@SETTINGS
@given(seed=SEEDS, n_features=st.integers(1, 80), n_trees=st.integers(1, 40), chain=st.sampled_from([0.0, 0.5, 0.9]))
def test_any_missing_type_direction_and_threshold_is_read_as_by_lightgbm(
    seed: int, n_features: int, n_trees: int, chain: float
) -> None:
    rng = np.random.default_rng(seed)
    trees = [write_tree(rng, n_features, int(rng.integers(0, 40)), chain=chain) for _ in range(n_trees)]
    assert_equals_pred_contrib(model_text(trees, n_features), random_rows(rng, 10, n_features))


def chain_text(distinct: int) -> str:
    rng = np.random.default_rng(distinct)
    tree = write_tree(rng, distinct, distinct, chain=1.0)
    tree.split_feature = [int(feature) for feature in rng.permutation(distinct)]
    return model_text([tree], distinct)


@pytest.mark.parametrize("distinct", [8, 9, 15, 16, 17, 31, 32, 33, 48, 64])
def test_a_path_of_many_different_features_is_exact(distinct: int) -> None:
    text = chain_text(distinct)
    row = random_rows(np.random.default_rng(1), 1, distinct)
    expected = sum((in_fifty_digits(tree, row[0]) for tree in split_trees(parse_model(text))), np.zeros(distinct))
    for explainer in every_instruction_set(text):
        np.testing.assert_allclose(explainer.explain(row)[0][0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("distinct", [17, 32, 64])
def test_a_deep_path_is_explained_as_by_lightgbm_within_its_rounding(distinct: int) -> None:
    """LightGBM divides once for every feature on the path; at 64 that leaves it nine digits."""
    text = chain_text(distinct)
    rows = random_rows(np.random.default_rng(2), 30, distinct)
    contributions, _ = TreeExplainer(text).explain(rows)
    np.testing.assert_allclose(contributions, pred_contrib(text, rows)[:, :-1], rtol=0, atol=1e-9)


def test_points_follow_the_longest_path() -> None:
    rng = np.random.default_rng(0)
    points = {}
    for distinct in (8, 9, 16, 17, 64):
        tree = write_tree(rng, distinct, distinct, chain=1.0)
        tree.split_feature = list(range(distinct))
        points[distinct] = native(parse_model(model_text([tree], distinct))).points
    assert points == {8: 4, 9: 8, 16: 8, 17: 16, 64: 32}


@SETTINGS
@given(seed=SEEDS, n_features=st.integers(1, 6), n_splits=st.integers(1, 30))
def test_the_numpy_reference_agrees_with_the_kernel(seed: int, n_features: int, n_splits: int) -> None:
    rng = np.random.default_rng(seed)
    text = model_text([write_tree(rng, n_features, n_splits, empty_leaves=True) for _ in range(3)], n_features)
    row = random_rows(rng, 1, n_features)
    expected, expected_base = explain_reference(parse_model(text), row[0])
    for explainer in every_instruction_set(text):
        contributions, base = explainer.explain(row)
        assert_close(contributions[0], expected)
        assert base == pytest.approx(expected_base, abs=1e-13)


@SETTINGS
@given(seed=SEEDS, n_features=st.integers(1, 6), n_splits=st.integers(1, 12), empty_leaves=st.booleans())
def test_contributions_are_the_shapley_values_of_their_definition(
    seed: int, n_features: int, n_splits: int, empty_leaves: bool
) -> None:
    rng = np.random.default_rng(seed)
    trees = [write_tree(rng, n_features, n_splits, empty_leaves=empty_leaves) for _ in range(2)]
    text = model_text(trees, n_features)
    row = random_rows(rng, 1, n_features)
    expected = sum((brute_force(tree, row[0]) for tree in split_trees(parse_model(text))), np.zeros(n_features))
    for explainer in every_instruction_set(text):
        assert_close(explainer.explain(row)[0][0], expected)


@SETTINGS
@given(seed=SEEDS, n_features=st.integers(1, 6))
def test_a_branch_without_cover_is_explained_as_by_lightgbm_where_that_is_a_number(seed: int, n_features: int) -> None:
    rng = np.random.default_rng(seed)
    text = model_text([write_tree(rng, n_features, 12, empty_leaves=True)], n_features)
    rows = random_rows(rng, 20, n_features)
    expected = pred_contrib(text, rows)[:, :-1]
    is_number = np.isfinite(expected)
    for explainer in every_instruction_set(text):
        contributions, _ = explainer.explain(rows)
        assert np.isfinite(contributions).all()
        assert_close(contributions[is_number], expected[is_number])


def test_a_golden_tree_by_hand() -> None:
    """Three features; y = f0 > 0 and (f1 > 0 or f2 is missing), worked out on paper."""
    tree = WrittenTree(
        split_feature=[0, 1, 2],
        threshold=[0.0, 0.0, 1.0],
        decision_type=[0, 0, 2 + 8],
        left_child=[~0, 2, ~1],
        right_child=[1, ~3, ~2],
        internal_count=[8, 4, 2],
        leaf_value=[0.0, 1.0, 0.0, 1.0],
        leaf_count=[4, 1, 1, 2],
    )
    row = np.array([5.0, -5.0, np.nan])
    # E[y | S]: none 3/8, {0} 3/4, {1} 1/4, {2} 1/2, {0,1} 1/2, {0,2} 1, {1,2} 1/2, all 1.
    expected = [5 / 12, -1 / 12, 7 / 24]
    contributions, base = TreeExplainer(model_text([tree], 3)).explain(row)
    np.testing.assert_allclose(contributions, [expected], rtol=0, atol=1e-15)
    assert base == 0.375


def test_shap_gives_the_same_values() -> None:
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(5)
    booster = train(rng, 8, 30, objective="regression", num_leaves=31)
    rows = random_rows(rng, 20, 8)
    contributions, base = TreeExplainer.from_booster(booster).explain(rows)
    theirs = shap.TreeExplainer(booster)
    assert_close(contributions, theirs.shap_values(rows))
    assert base == pytest.approx(float(np.ravel(theirs.expected_value)[-1]), abs=1e-12)


def test_single_leaf_trees_only_move_the_base_value(instruction_set: str) -> None:
    rng = np.random.default_rng(2)
    leaf = WrittenTree(leaf_value=[0.5], leaf_count=[10])
    for trees in ([leaf], [leaf, write_tree(rng, 2, 5), leaf]):
        text = model_text(trees, 2)
        rows = random_rows(rng, 4, 2)
        contributions, base = TreeExplainer(text, instruction_set=instruction_set).explain(rows)
        expected = pred_contrib(text, rows)
        assert_close(contributions, expected[:, :-1])
        assert base == pytest.approx(expected[0, -1], abs=1e-15)


def test_constant_features_contribute_exactly_nothing() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(100, 4))
    rows[:, 2] = 7.0
    data = lightgbm.Dataset(rows, rows[:, 0] + rows[:, 1])
    booster = lightgbm.train({"objective": "regression", "verbose": -1, "num_threads": 1}, data, 10)
    contributions, _ = TreeExplainer.from_booster(booster).explain(rows)
    assert np.all(contributions[:, 2] == 0.0)
    assert np.any(contributions[:, 0] != 0.0)


def test_one_row_equals_the_batch_bit_for_bit(instruction_set: str) -> None:
    rng = np.random.default_rng(4)
    booster = train(rng, 10, 50, objective="binary", num_leaves=31)
    explainer = TreeExplainer(booster.model_to_string(), instruction_set=instruction_set)
    rows = random_rows(rng, 50, 10)
    batch, base = explainer.explain(rows)
    backwards, _ = explainer.explain(rows[::-1])
    one = np.empty(10)
    for i, row in enumerate(rows):
        margin = explainer.explain_into(row, one)
        assert one.tobytes() == batch[i].tobytes() == backwards[-1 - i].tobytes()
        assert margin == pytest.approx(base + batch[i].sum(), abs=1e-12)


def test_two_thousand_trees_are_explained_as_by_lightgbm() -> None:
    rng = np.random.default_rng(6)
    booster = train(rng, 20, 2000, objective="binary", num_leaves=31, learning_rate=0.02)
    assert_equals_pred_contrib(booster.model_to_string(), random_rows(rng, 3, 20))


def test_a_tree_larger_than_a_block_is_explained_as_by_lightgbm() -> None:
    rng = np.random.default_rng(7)
    text = model_text([write_tree(rng, 30, 3000), write_tree(rng, 30, 10)], 30)
    assert_equals_pred_contrib(text, random_rows(rng, 3, 30))


def test_rows_may_be_lists_integers_or_strided(instruction_set: str) -> None:
    rng = np.random.default_rng(8)
    explainer = TreeExplainer(model_text([write_tree(rng, 3, 9)], 3), instruction_set=instruction_set)
    wide = rng.integers(-2, 3, size=(5, 6))
    expected, _ = explainer.explain(np.ascontiguousarray(wide[:, ::2], dtype=float))
    assert np.array_equal(explainer.explain(wide[:, ::2])[0], expected)
    assert np.array_equal(explainer.explain(wide[0, ::2].tolist())[0], expected[:1])
    assert explainer.explain(np.empty((0, 3)))[0].shape == (0, 3)


def test_all_engines_give_the_same_answer() -> None:
    rng = np.random.default_rng(9)
    booster = train(rng, 5, 10, objective="binary", num_leaves=15)
    rows = random_rows(rng, 4, 5)
    native_values, native_base = TreeExplainer.from_booster(booster, engine="native").explain(rows)
    for engine in ("numpy", "pred_contrib"):
        explainer = TreeExplainer.from_booster(booster, engine=engine)
        contributions, base = explainer.explain(rows)
        assert explainer.engine == engine
        assert_close(contributions, native_values)
        assert base == pytest.approx(native_base, abs=1e-12)
        one = np.empty(5)
        assert explainer.explain_into(rows[0], one) == pytest.approx(base + contributions[0].sum(), abs=1e-12)
        assert_close(one, native_values[0])


def test_without_the_extension_lightgbm_explains(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    text = model_text([write_tree(rng, 3, 9)], 3)
    rows = random_rows(rng, 4, 3)
    expected, _ = TreeExplainer(text).explain(rows)
    monkeypatch.setitem(sys.modules, "model._treeshap", None)
    monkeypatch.delattr("model._treeshap")
    try:
        reloaded = importlib.reload(model.explain)
        explainer = reloaded.TreeExplainer(text)
        assert explainer.engine == "pred_contrib"
        assert_close(explainer.explain(rows)[0], expected)
        with pytest.raises(RuntimeError, match="not built"):
            reloaded.TreeExplainer(text, engine="native")
    finally:
        monkeypatch.undo()
        importlib.reload(model.explain)


def test_an_explainer_reports_the_size_of_its_model() -> None:
    rng = np.random.default_rng(11)
    explainer = TreeExplainer(model_text([write_tree(rng, 7, 9), WrittenTree(leaf_value=[1.0], leaf_count=[3])], 7))
    assert (explainer.n_features, explainer.n_trees, explainer.n_leaves, explainer.engine) == (7, 2, 11, "native")


# ------------------------------------------------------------------------------------------------ refused models


def tiny_text() -> str:
    return model_text([write_tree(np.random.default_rng(1), 3, 6), write_tree(np.random.default_rng(2), 3, 4)], 3)


REFUSED: dict[str, tuple[str, str]] = {
    "more than one margin": ("num_tree_per_iteration=1", "num_tree_per_iteration=3"),
    "random forest": ("label_index=0", "label_index=0\naverage_output"),
    "categorical": ("num_cat=0", "num_cat=1"),
    "linear": ("is_linear=0", "is_linear=1"),
    "number of features": ("max_feature_idx=2", "max_feature_idx=two"),
    "not a whole": ("end of trees", "end of"),
    "a split feature out of range": ("max_feature_idx=2", "max_feature_idx=0"),
    "split_feature: not one value": ("split_feature=", "split_feature=1 "),
    "leaf_count: not one value": ("leaf_count=", "leaf_counts="),
    "threshold: not a number": ("threshold=", "threshold=x"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_model_that_cannot_be_explained_is_refused_for_its_reason(reason: str) -> None:
    before, after = REFUSED[reason]
    assert before in tiny_text()
    with pytest.raises(UnsupportedModelError, match=reason):
        TreeExplainer(tiny_text().replace(before, after))


def written() -> WrittenTree:
    return WrittenTree(
        split_feature=[0, 1],
        threshold=[0.0, 1.0],
        decision_type=[0, 0],
        left_child=[1, ~0],
        right_child=[~1, ~2],
        internal_count=[30, 20],
        leaf_value=[1.0, 2.0, 3.0],
        leaf_count=[10, 10, 10],
    )


DAMAGED: list[tuple[str, dict[str, list[Any]]]] = [
    ("a child out of range", {"left_child": [2, ~0]}),
    ("a child out of range", {"left_child": [1, ~3]}),
    ("a child out of range", {"left_child": [0, ~0]}),
    ("a node or leaf with two parents", {"right_child": [~0, ~2]}),
    ("categorical splits", {"decision_type": [0, 1]}),
    ("a decision type LightGBM does not know", {"decision_type": [0, 12]}),
    ("a split feature out of range", {"split_feature": [0, 2]}),
    ("a threshold that is NaN", {"threshold": [0.0, math.nan]}),
    ("a leaf value that is not finite", {"leaf_value": [1.0, math.inf, 2.0]}),
    ("a node without cover", {"internal_count": [10, 0], "leaf_count": [0, 10, 0]}),
    ("a negative cover", {"internal_count": [30, 20], "leaf_count": [-10, 10, 30]}),
    ("covers of two children that do not add up", {"internal_count": [30, 19]}),
]


@pytest.mark.parametrize(("reason", "columns"), DAMAGED)
def test_a_damaged_tree_is_refused_before_any_engine_sees_it(reason: str, columns: dict[str, list[Any]]) -> None:
    parse_model(model_text([written()], 2))
    with pytest.raises(UnsupportedModelError, match=reason):
        parse_model(model_text([replace(written(), **columns)], 2))


def test_a_tree_without_leaves_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="not one value"):
        parse_model(model_text([WrittenTree()], 2))


TRAINED_AND_REFUSED: dict[str, dict[str, Any]] = {
    "multiclass": {"objective": "multiclass", "num_class": 3},
    "random forest": {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    "linear": {"objective": "regression", "linear_tree": True},
    "categorical": {"objective": "regression", "categorical_feature": [0]},
}


@pytest.mark.parametrize("reason", TRAINED_AND_REFUSED)
def test_what_lightgbm_can_train_beyond_it_is_refused(reason: str) -> None:
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.integers(0, 6, size=(300, 1)), rng.normal(size=(300, 2))], axis=1)
    label = rows[:, 0] % 3
    params = {"verbose": -1, "num_threads": 1, "min_data_per_group": 1, **TRAINED_AND_REFUSED[reason]}
    data = lightgbm.Dataset(rows, label, categorical_feature=params.pop("categorical_feature", "auto"))
    booster = lightgbm.train(params, data, 3)
    with pytest.raises(UnsupportedModelError, match=reason):
        TreeExplainer.from_booster(booster)


@SETTINGS
@given(data=st.data())
def test_no_damaged_text_crashes(data: st.DataObject) -> None:
    text = tiny_text()
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:place] + data.draw(st.sampled_from("0123456789-. =\nxe")) + text[place + 1 :]
    if data.draw(st.booleans()):
        damaged = text[:place]
    try:
        contributions, _ = TreeExplainer(damaged, engine="native").explain(
            np.zeros((2, parse_model(damaged).n_features))
        )
    except UnsupportedModelError:
        return
    assert np.isfinite(contributions).all()


# ------------------------------------------------------------------------------------------ the kernel by itself


def native(trees: FlatTrees, **changes: Any) -> Any:
    return _treeshap.Explainer(**(arrays(trees) | changes))


def arrays(trees: FlatTrees) -> dict[str, Any]:
    return {name: getattr(trees, name) for name in FlatTrees.__slots__}


@cache
def tiny_trees() -> FlatTrees:
    return parse_model(tiny_text())


def changed(name: str, index: int, value: float) -> dict[str, Any]:
    array = getattr(tiny_trees(), name).copy()
    array[index] = value
    return {name: array}


def one_tree(**columns: list[int]) -> dict[str, Any]:
    """Two splits on feature 0, three leaves of ten rows each, with some columns replaced."""
    tree = {
        "num_leaves": [3],
        "split_feature": [0, 0],
        "decision_type": [0, 0],
        "left_child": [1, ~0],
        "right_child": [~1, ~2],
        **columns,
    }
    doubles = {"threshold": [0.0, 1.0], "leaf_value": [1.0, 2.0, 3.0], "leaf_count": [10] * 3}
    numbers = {"internal_count": [30, 20], **doubles}
    return {name: np.array(values, np.int32) for name, values in tree.items()} | {
        name: np.array(values, np.float64) for name, values in numbers.items()
    }


def single_leaf(value: float) -> dict[str, Any]:
    empty = {name: getattr(tiny_trees(), name)[:0] for name in FlatTrees.__slots__ if name != "n_features"}
    return {**empty, "num_leaves": np.array([1], np.int32), "leaf_value": np.array([value]), "leaf_count": np.ones(1)}


def unreachable_node() -> dict[str, Any]:
    return one_tree(left_child=[~0, 1], right_child=[~1, ~2]) | {"internal_count": np.array([20.0, 20.0])}


MALFORMED: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("a node is out of range or has two parents", lambda: changed("left_child", 0, 6)),
    ("a node is out of range or has two parents", lambda: changed("left_child", 0, 2**31 - 1)),
    ("a node is out of range or has two parents", lambda: changed("left_child", 1, 0)),
    ("a node is out of range or has two parents", lambda: one_tree(right_child=[1, ~2])),
    ("a leaf is out of range or has two parents", lambda: changed("right_child", -1, -6)),
    ("a leaf is out of range or has two parents", lambda: changed("right_child", -1, -(2**31))),
    ("a leaf is out of range or has two parents", lambda: one_tree(right_child=[~0, ~2])),
    ("a node cannot be reached", unreachable_node),
    ("a split feature is out of range", lambda: changed("split_feature", 2, -1)),
    ("a split feature is out of range", lambda: changed("split_feature", 2, 3)),
    ("a decision type is not numerical", lambda: changed("decision_type", 2, 1)),
    ("a decision type is not numerical", lambda: changed("decision_type", 2, 12)),
    ("a decision type is not numerical", lambda: changed("decision_type", 2, -2)),
    ("a threshold is NaN", lambda: changed("threshold", 1, np.nan)),
    ("a leaf value is not finite", lambda: changed("leaf_value", 1, np.nan)),
    ("a leaf value is not finite", lambda: changed("leaf_value", 1, np.inf)),
    ("a leaf value is not finite", lambda: single_leaf(np.nan)),
    ("a node has no cover", lambda: changed("internal_count", 0, 0)),
    ("a node has no cover", lambda: changed("internal_count", 0, np.nan)),
    ("covers of two children do not add up", lambda: changed("leaf_count", 1, 12345)),
    ("a leaf has no valid cover", lambda: changed("leaf_count", 1, -1)),
    ("tree 0: no leaves", lambda: changed("num_leaves", 0, 0)),
    ("tree 0: no leaves", lambda: changed("num_leaves", 0, -5)),
    ("no trees, or more than this kernel allows", lambda: changed("num_leaves", 0, 2**31 - 1)),
    ("no trees", lambda: {"num_leaves": np.empty(0, np.int32)}),
    ("split_feature has 10 values, expected 11", lambda: changed("num_leaves", 0, 8)),
    ("threshold has 9 values, expected 10", lambda: {"threshold": tiny_trees().threshold[:-1]}),
    ("n_features is out of range", lambda: {"n_features": 0}),
    ("n_features is out of range", lambda: {"n_features": 2**30}),
    ("no instruction set 'sparc'", lambda: {"instruction_set": "sparc"}),
]


@pytest.mark.parametrize(("message", "changes"), MALFORMED)
def test_malformed_arrays_raise(message: str, changes: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=message):
        native(tiny_trees(), **changes())


def test_the_arrays_that_malformed_ones_are_made_of_are_sound() -> None:
    for sound in ({}, one_tree(), single_leaf(1.0)):
        native(tiny_trees(), **sound)


def test_a_tree_too_deep_for_the_kernel_raises() -> None:
    tree = write_tree(np.random.default_rng(0), 3, 600, chain=1.0)
    with pytest.raises(UnsupportedModelError, match="deeper"):
        TreeExplainer(model_text([tree], 3), engine="native")


def test_a_path_with_too_many_features_raises() -> None:
    tree = write_tree(np.random.default_rng(0), 200, 200, chain=1.0)
    tree.split_feature = list(range(200))
    with pytest.raises(UnsupportedModelError, match="larger"):
        TreeExplainer(model_text([tree], 200), engine="native")


@SETTINGS
@given(data=st.data())
def test_arrays_of_any_content_raise_or_work(data: st.DataObject) -> None:
    """Under the address sanitizer this also shows that nothing is read or written out of bounds."""
    integers = st.one_of(st.integers(-9, 9), st.integers(-(2**31), 2**31 - 1))
    floats = st.one_of(st.floats(width=64), st.integers(0, 500).map(float))
    content = {name: a.copy() if isinstance(a, np.ndarray) else a for name, a in arrays(tiny_trees()).items()}
    for _ in range(data.draw(st.integers(1, 4))):
        array = content[data.draw(st.sampled_from([name for name in content if name != "n_features"]))]
        value = data.draw(integers if array.dtype == np.int32 else floats)
        array[data.draw(st.integers(0, len(array) - 1))] = value
    try:
        explainer = _treeshap.Explainer(**content)
    except ValueError:
        return
    out = np.empty((4, 3))
    explainer.explain_rows_into(random_rows(np.random.default_rng(0), 4, 3), out)
    assert not np.isnan(out).any()


@pytest.mark.parametrize("name", [name for name in FlatTrees.__slots__ if name != "n_features"])
def test_arrays_of_another_type_raise(name: str) -> None:
    wrong = getattr(tiny_trees(), name).astype(np.int64)
    with pytest.raises(TypeError, match=name):
        native(tiny_trees(), **{name: wrong})
    strided = np.repeat(getattr(tiny_trees(), name), 2)[::2]
    with pytest.raises((TypeError, ValueError, BufferError)):
        native(tiny_trees(), **{name: strided})
    with pytest.raises(TypeError):
        native(tiny_trees(), **{name: None})


def test_buffers_that_do_not_fit_raise() -> None:
    explainer = native(tiny_trees())
    row, out = np.zeros(3), np.zeros(3)
    read_only = np.zeros(3)
    read_only.setflags(write=False)
    explainer.explain_into(row, out)
    for wrong in (np.zeros(2), np.zeros(4), np.zeros(0), np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"row"):
            explainer.explain_into(wrong, wrong.copy())
    with pytest.raises(ValueError, match="values a row"):
        explainer.explain_into(row, np.zeros(6))
    with pytest.raises(ValueError, match="overwrite"):
        explainer.explain_into(row, row)
    with pytest.raises(TypeError):
        explainer.explain_into(row.astype(np.float32), out)
    with pytest.raises((TypeError, ValueError, BufferError)):
        explainer.explain_into(row, read_only)
    with pytest.raises(TypeError):
        explainer.explain_into(row)


def test_rows_of_another_width_raise() -> None:
    explainer = TreeExplainer(tiny_text())
    for shape in ((4,), (2, 4), (2, 3, 1), ()):
        with pytest.raises(ValueError, match="3 features expected"):
            explainer.explain(np.zeros(shape))


# ------------------------------------------------------------------------------------- a model of some columns


@SETTINGS
@given(seed=SEEDS, n_features=st.integers(1, 6), row_length=st.integers(6, 9), engine=st.sampled_from(ENGINES))
def test_a_model_of_some_columns_explains_whole_rows(
    seed: int, n_features: int, row_length: int, engine: model.explain.Engine
) -> None:
    rng = np.random.default_rng(seed)
    text = model_text([write_tree(rng, n_features, 9) for _ in range(3)], n_features)
    places = rng.permutation(row_length)[:n_features]
    rows = random_rows(rng, 5, row_length)
    explainer = TreeExplainer(text, engine=engine, places=places.tolist(), row_length=row_length)
    contributions, base = explainer.explain(rows)
    expected, expected_base = TreeExplainer(text, engine=engine).explain(rows[:, places])
    assert explainer.n_features == row_length
    assert_close(contributions[:, places], expected)
    assert base == expected_base
    assert not np.delete(contributions, places, axis=1).any()
    shares = np.full(row_length, np.nan)
    margin = explainer.explain_into(rows[2].copy(), shares)
    assert_close(shares, contributions[2])
    assert margin == pytest.approx(float(contributions[2].sum()) + base)


@pytest.mark.parametrize(
    ("places", "row_length"),
    [
        ([0, 1], 5),
        ([0, 1, 1], 5),
        ([0, 1, 5], 5),
        ([-1, 0, 1], 5),
        ([0, 1, 2], None),
        ([0, 1, 2, 3], 5),
        (None, 2),
    ],
)
def test_places_that_are_no_columns_of_a_row_raise(places: list[int] | None, row_length: int | None) -> None:
    with pytest.raises(ValueError, match="places must be"):
        TreeExplainer(tiny_text(), places=places, row_length=row_length)


# --------------------------------------------------------------------------------------- Shapley by definition


def brute_force(tree: Tree, row: FloatArray) -> FloatArray:
    """Return Shapley values by summing over every coalition of the tree's features, shape (n_features,)."""
    features = sorted({int(feature) for feature in tree.split_feature})
    values = np.zeros(len(row))
    for feature in features:
        others = [other for other in features if other != feature]
        for size in range(len(others) + 1):
            weight = 1 / (len(features) * math.comb(len(others), size))
            for coalition in combinations(others, size):
                known = frozenset(coalition)
                gain = expectation(tree, row, known | {feature}) - expectation(tree, row, known)
                values[feature] += weight * gain
    return values


def expectation(tree: Tree, row: FloatArray, known: frozenset[int], node: int = 0) -> float:
    """Return the tree's value when only the known features are: at others, the mean over the covers."""
    if node < 0:
        return float(tree.leaf_value[~node])
    left, right = int(tree.left_child[node]), int(tree.right_child[node])
    feature = int(tree.split_feature[node])
    if feature in known:
        taken = goes_left(float(row[feature]), float(tree.threshold[node]), int(tree.decision_type[node]))
        return expectation(tree, row, known, left if taken else right)
    share = tree.cover(left) / tree.cover(node)
    return share * expectation(tree, row, known, left) + (1 - share) * expectation(tree, row, known, right)


# ------------------------------------------------------------------------------------- many features, many digits


def in_fifty_digits(tree: Tree, row: FloatArray) -> FloatArray:
    """Return contributions by integrating each leaf's polynomial term by term; features must not repeat on a path."""
    with localcontext(prec=50):
        values = [Decimal(0)] * len(row)
        for leaf, path in paths(tree, row):
            for feature, (agrees, share) in path.items():
                polynomial = [Decimal(1)]
                for other, factor in path.items():
                    if other != feature:
                        polynomial = times(polynomial, factor)
                integral = sum((c / (power + 1) for power, c in enumerate(polynomial)), Decimal(0))
                values[feature] += Decimal(float(tree.leaf_value[leaf])) * (agrees - share) * integral
        return np.array([float(value) for value in values])


def times(polynomial: list[Decimal], factor: tuple[int, Decimal]) -> list[Decimal]:
    """Multiply by z + (o - z) y; the lowest power comes first."""
    agrees, share = factor
    longer = [share * c for c in polynomial] + [Decimal(0)]
    for power, c in enumerate(polynomial):
        longer[power + 1] += (agrees - share) * c
    return longer


def paths(tree: Tree, row: FloatArray) -> Iterator[tuple[int, dict[int, tuple[int, Decimal]]]]:
    """Yield every leaf with the agreement and the cover ratio of each feature on its path."""
    waiting: list[tuple[int, dict[int, tuple[int, Decimal]]]] = [(0, {})]
    while waiting:
        node, path = waiting.pop()
        if node < 0:
            yield ~node, path
            continue
        feature = int(tree.split_feature[node])
        left = goes_left(float(row[feature]), float(tree.threshold[node]), int(tree.decision_type[node]))
        for child, taken in ((int(tree.left_child[node]), left), (int(tree.right_child[node]), not left)):
            share = Decimal(tree.cover(child)) / Decimal(tree.cover(node))
            waiting.append((child, {**path, feature: (int(taken), share)}))
