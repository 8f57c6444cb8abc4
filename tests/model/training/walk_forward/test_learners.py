import numpy as np
import pytest

from model.features import FEATURE_NAMES
from model.settings import load_settings
from model.training.walk_forward import learners
from model.training.walk_forward.learners import Lesson, baselines, product

AMOUNT = FEATURE_NAMES.index("amount")
REPORTS = FEATURE_NAMES.index("terminal_reports_7d")
NEVER_KNOWN = FEATURE_NAMES.index("customer_amount_zscore_1d")


def lesson(n: int = 4_000, *, seed: int = 1) -> Lesson:
    """Return rows whose frauds have reports at the terminal; a tenth of the reports is not known, one column never."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.1).astype(np.int64)
    features = rng.normal(size=(n, len(FEATURE_NAMES)))
    features[:, REPORTS] = np.where(rng.random(n) < 0.1, np.nan, 3 * label + rng.normal(size=n))
    features[:, NEVER_KNOWN] = np.nan
    features[:, AMOUNT] = rng.gamma(2, 20, n)
    return Lesson(features, label, np.ones(n))


@pytest.fixture(autouse=True)
def small_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "FOREST_TREES", 10)


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest", "product"])
def test_learner_finds_what_tells_frauds_apart_where_values_are_missing(name: str) -> None:
    settings = load_settings(trees=20, threads=1)
    learner = product(settings) if name == "product" else baselines(settings)[name]
    new = lesson(seed=2)
    margins = learner(lesson()).margins(new.features)
    assert margins.shape == (len(new.label),)
    assert np.isfinite(margins).all()
    frauds, honest = margins[new.label == 1], margins[new.label == 0]
    assert np.mean(frauds[:, None] > honest[None, :]) > 0.85


def test_amount_alone_ranks_by_the_amount_and_learns_nothing_else() -> None:
    given = lesson()
    learn = baselines(load_settings())["amount_only"]
    margins = learn(given).margins(given.features)
    assert (np.argsort(margins) == np.argsort(given.features[:, AMOUNT])).all()
    upside_down = Lesson(given.features, 1 - given.label, given.weight)
    assert (learn(upside_down).margins(given.features) == margins).all()


def test_baselines_learn_from_all_frauds_and_a_weighted_sample_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "BASELINE_ROWS", 1_000)
    given = lesson()
    sample = learners._sampled(given, rng=np.random.default_rng(1))
    assert len(sample.label) == 1_000
    assert sample.label.sum() == given.label.sum()
    assert sample.weight.sum() == pytest.approx(given.weight.sum())
    assert (sample.weight[sample.label == 1] == 1).all()
