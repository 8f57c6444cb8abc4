"""What can learn to tell frauds from honest payments: the product's LightGBM, and what people compare it with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import lightgbm as lgb
import numpy as np
from scipy.special import logit
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from model.features import FEATURE_NAMES
from model.settings import Settings
from model.statistics import Floats, Integers
from model.training.fit import fit_booster, raw_margins

BASELINE_ROWS = 50_000  # a baseline learns from all frauds and from a sample of the honest ones, weighted accordingly
FOREST_TREES = 100
FOREST_LEAF_ROWS = 5
FOREST_SHARE = 0.5  # of these rows, for each tree
FURTHEST_DEVIATIONS = 10.0  # beyond so many standard deviations a value says no more to logistic regression
_SMALLEST = 1e-6  # a forest may be certain; log-odds cannot


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a learner learns from: features (n, f), labels as known at the time, weights (n,)."""

    features: Floats
    label: Integers
    weight: Floats


@dataclass(frozen=True, slots=True)
class Learned:
    """What it learned: `margins` turns features (n, f) into log-odds (n,), not yet calibrated."""

    margins: Callable[[Floats], Floats]
    booster: lgb.Booster | None = None


Learner = Callable[[Lesson], Learned]


def product(settings: Settings, *, on_tree: Callable[[], object] = lambda: None) -> Learner:
    """Return the learner that `antifraud train` uses, with its settings."""

    def learn(lesson: Lesson) -> Learned:
        booster = fit_booster(lesson.features, lesson.label, settings=settings, weight=lesson.weight, on_tree=on_tree)
        return Learned(partial(raw_margins, booster, threads=settings.threads), booster)

    return learn


def baselines(settings: Settings) -> dict[str, Learner]:
    """Return the learners that a model is compared with, by name."""
    return {
        "logistic_regression": partial(_fit_logistic_regression, seed=settings.seed),
        "random_forest": partial(_fit_random_forest, seed=settings.seed, threads=settings.threads),
        "amount_only": _fit_amount_only,
    }


def _fit_logistic_regression(lesson: Lesson, *, seed: int) -> Learned:
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -FURTHEST_DEVIATIONS, "a_max": FURTHEST_DEVIATIONS}),
        LogisticRegression(solver="newton-cholesky"),
    )
    return _fitted(pipeline, lesson, seed=seed)


def _fit_random_forest(lesson: Lesson, *, seed: int, threads: int) -> Learned:
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        RandomForestClassifier(
            FOREST_TREES,
            min_samples_leaf=FOREST_LEAF_ROWS,
            max_samples=FOREST_SHARE,
            n_jobs=threads,
            random_state=seed,
        ),
    )
    return _fitted(pipeline, lesson, seed=seed)


def _fitted(pipeline: Any, lesson: Lesson, *, seed: int) -> Learned:
    sample = _sampled(lesson, rng=np.random.default_rng(seed))
    last_step = pipeline.steps[-1][0]
    pipeline.fit(sample.features, sample.label, **{f"{last_step}__sample_weight": sample.weight})
    return Learned(lambda features: _log_odds(pipeline.predict_proba(features)[:, 1]))


def _log_odds(probability: Floats) -> Floats:
    odds: Floats = logit(np.clip(probability, _SMALLEST, 1 - _SMALLEST))
    return odds


def _sampled(lesson: Lesson, *, rng: np.random.Generator) -> Lesson:
    """Keep all frauds, and of the rest as many as fit; each of these stands for those left out."""
    honest = np.flatnonzero(lesson.label == 0)
    room = max(BASELINE_ROWS - int(lesson.label.sum()), 1)
    if len(honest) <= room:
        return lesson
    chosen = np.sort(np.concatenate((rng.choice(honest, room, replace=False), np.flatnonzero(lesson.label == 1))))
    weight = np.where(lesson.label == 0, len(honest) / room, 1.0) * lesson.weight
    return Lesson(lesson.features[chosen], lesson.label[chosen], weight[chosen])


def _fit_amount_only(lesson: Lesson) -> Learned:
    """Learn nothing: the larger the amount, the more suspicious; in standard deviations, to help calibration."""
    column = FEATURE_NAMES.index("amount")
    mean, spread = float(lesson.features[:, column].mean()), float(lesson.features[:, column].std()) or 1.0
    return Learned(lambda features: (features[:, column] - mean) / spread)
