"""Models of three sizes, and the ways to explain them within this process: LightGBM's own, and this product's."""

import ctypes
import importlib.metadata
import time
from collections.abc import Callable
from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray

from loadtest.explain_clock import Way
from model.explain import TreeExplainer

FloatArray = NDArray[np.float64]
Explain = Callable[[FloatArray], object]

N_FEATURES = 61
N_TRAIN = 20_000
ASKED_ROWS = 160  # explained over and over: more than a processor remembers the way through a tree for
COMPARED_ROWS = 100
BATCH = 1000
SEED = 0

PYTHON, C_API = "LightGBM `pred_contrib`, Python", "LightGBM `pred_contrib`, C API"
SCORE = "LightGBM, score only, Python"
OURS = "ours, `explain_into`"
REFERENCE = "ours, plain NumPy reference"

_PREDICT_CONTRIB, _FLOAT64 = 3, 1  # LightGBM's C API


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a model."""

    trees: int
    leaves: int

    @property
    def name(self) -> str:
        """As it is written, `200x31`."""
        return f"{self.trees}x{self.leaves}"

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Return the shape of `200x31`.

        Raises
        ------
        ValueError
            If it is written in another way.
        """
        trees, _, leaves = text.partition("x")
        shape = cls(int(trees), int(leaves))
        if shape.trees < 1 or shape.leaves < 2:
            raise ValueError(f"{text} is no size of a model")
        return shape


SHAPES = (Shape(100, 31), Shape(200, 31), Shape(500, 63))


def training_rows(rng: np.random.Generator, *, count: int = N_TRAIN) -> tuple[FloatArray, FloatArray]:
    """Return rows like a fraud model's: amounts, counts, a few missing; shape (count, N_FEATURES), and labels."""
    rows = rng.normal(size=(count, N_FEATURES))
    rows[:, 10:20] = rng.exponential(size=(count, 10))
    rows[:, 20:30] = rng.integers(0, 5, size=(count, 10))
    rows[rng.random(rows.shape) < 0.03] = np.nan
    known = np.nan_to_num(rows)
    weight = rng.normal(size=N_FEATURES) * rng.exponential(size=N_FEATURES)
    margin = 0.3 * known @ weight + known[:, 0] * known[:, 1] - known[:, 2] * known[:, 12] - 3
    return rows, (rng.random(count) < 1 / (1 + np.exp(-margin))).astype(np.float64)


def train(shape: Shape, rows: FloatArray, label: FloatArray) -> lightgbm.Booster:
    """Return a booster of exactly this size."""
    parameters = {
        "objective": "binary",
        "num_leaves": shape.leaves,
        "learning_rate": 0.05,
        "max_bin": 63,  # coarse, to train quickly; it does not change what an explanation costs
        "num_threads": 1,
        "seed": SEED + 1,
        "verbose": -1,
    }
    return lightgbm.train(parameters, lightgbm.Dataset(rows, label), shape.trees)


def c_api(booster: lightgbm.Booster) -> Explain:
    """Return LightGBM's fastest call for a single row, everything prepared beforehand."""
    library = lightgbm.basic._LIB
    config = ctypes.c_void_p()
    library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle, _PREDICT_CONTRIB, 0, -1, _FLOAT64, N_FEATURES, b"num_threads=1", ctypes.byref(config)
    )
    out, length = np.empty(N_FEATURES + 1), ctypes.c_int64()
    out_pointer = out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    def explain(row: FloatArray) -> FloatArray:
        library.LGBM_BoosterPredictForMatSingleRowFast(
            config, ctypes.c_void_p(row.ctypes.data), ctypes.byref(length), out_pointer
        )
        return out

    return explain


def ways(booster: lightgbm.Booster, rows: FloatArray) -> list[Way]:
    """Return every way to explain one row in this process, the baselines first."""
    from model._treeshap import INSTRUCTION_SETS  # not there without a C compiler

    text, out = booster.model_to_string(), np.empty(N_FEATURES)
    calls: dict[str, Explain] = {
        PYTHON: lambda row: booster.predict(row.reshape(1, -1), pred_contrib=True, num_threads=1),
        C_API: c_api(booster),
        SCORE: lambda row: booster.predict(row.reshape(1, -1), raw_score=True, num_threads=1),
        OURS: _into(TreeExplainer(text), out),
        "ours, `explain`": TreeExplainer(text).explain,
    }
    for name in INSTRUCTION_SETS[1:]:  # the first is what is taken without asking
        calls[f"{OURS}, {name}"] = _into(TreeExplainer(text, instruction_set=name), out)
    calls[REFERENCE] = TreeExplainer(text, engine="numpy").explain
    return [Way(name, call, list(rows)) for name, call in calls.items()]


def _into(explainer: TreeExplainer, out: FloatArray) -> Explain:
    """Return the call for one row into a buffer prepared beforehand, as the service makes it."""
    explain_into = explainer.explain_into
    return lambda row: explain_into(row, out)


@dataclass(frozen=True, slots=True)
class Exactness:
    """How exact our values are for a model, in log-odds, and how long it takes to load."""

    from_pred_contrib: float
    from_margin: float
    load_ms: float


def exactness(booster: lightgbm.Booster, rows: FloatArray) -> Exactness:
    """Compare our values with LightGBM's own."""
    text = booster.model_to_string()
    start = time.perf_counter()
    explainer = TreeExplainer(text)
    load_ms = (time.perf_counter() - start) * 1e3
    contributions, base = explainer.explain(rows)
    margins = np.asarray(booster.predict(rows, raw_score=True, num_threads=1))
    return Exactness(
        largest_difference(contributions, booster, rows),
        float(np.abs(contributions.sum(axis=1) + base - margins).max()),
        load_ms,
    )


def largest_difference(contributions: FloatArray, booster: lightgbm.Booster, rows: FloatArray) -> float:
    """Return the largest difference of SHAP values (n, N_FEATURES) from LightGBM's, in log-odds."""
    expected = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))
    return float(np.abs(contributions - expected[:, :-1]).max())


def versions() -> dict[str, str]:
    """Return the versions that matter within this process."""
    return {name: importlib.metadata.version(name) for name in ("antifraud", "lightgbm", "numpy")}
