"""How much faster the kernel is than LightGBM's own explanation: one core, one process, one row at a time.

``python -m loadtest.explain`` prints ratios of medians, all from the same run, rows in turn so that a slow spell of the
machine meets every engine. "Python" is ``Booster.predict(row, pred_contrib=True, num_threads=1)``; "C API" is
LightGBM's fastest way for one row, ``LGBM_BoosterPredictForMatSingleRowFast``, without Python's part.
"""

import ctypes
import os
import time
from collections.abc import Callable

import lightgbm
import numpy as np
from numpy.typing import NDArray

from model._treeshap import INSTRUCTION_SETS
from model.explain import TreeExplainer

FloatArray = NDArray[np.float64]
Explain = Callable[[FloatArray], object]

SHAPES = ((100, 31), (200, 31), (500, 63))
N_FEATURES = 53
N_TRAIN = 60_000
ROUNDS = 40
REFERENCE_ROWS = 2

PREDICT_CONTRIB, FLOAT64 = 3, 1  # LightGBM's C API


def training_rows(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Return rows like a fraud model's: amounts, counts, a few missing; shape (N_TRAIN, N_FEATURES), and labels."""
    rows = rng.normal(size=(N_TRAIN, N_FEATURES))
    rows[:, 10:20] = rng.exponential(size=(N_TRAIN, 10))
    rows[:, 20:30] = rng.integers(0, 5, size=(N_TRAIN, 10))
    rows[rng.random(rows.shape) < 0.03] = np.nan
    known = np.nan_to_num(rows)
    weight = rng.normal(size=N_FEATURES) * rng.exponential(size=N_FEATURES)
    margin = 0.3 * known @ weight + known[:, 0] * known[:, 1] - known[:, 2] * known[:, 12] - 3
    return rows, (rng.random(N_TRAIN) < 1 / (1 + np.exp(-margin))).astype(np.float64)


def c_api(booster: lightgbm.Booster) -> Explain:
    """Return LightGBM's single-row call with everything prepared beforehand."""
    library = lightgbm.basic._LIB
    config = ctypes.c_void_p()
    library.LGBM_BoosterPredictForMatSingleRowFastInit(
        booster._handle, PREDICT_CONTRIB, 0, -1, FLOAT64, N_FEATURES, b"num_threads=1", ctypes.byref(config)
    )
    out, length = np.empty(N_FEATURES + 1), ctypes.c_int64()
    out_pointer = out.ctypes.data_as(ctypes.POINTER(ctypes.c_double))

    def explain(row: FloatArray) -> FloatArray:
        library.LGBM_BoosterPredictForMatSingleRowFast(
            config, ctypes.c_void_p(row.ctypes.data), ctypes.byref(length), out_pointer
        )
        return out

    return explain


def engines(booster: lightgbm.Booster) -> dict[str, Explain]:
    """Return every way to explain one row, the baselines first."""
    text = booster.model_to_string()
    out = np.empty(N_FEATURES)
    ways: dict[str, Explain] = {
        "pred_contrib, Python": lambda row: booster.predict(row.reshape(1, -1), pred_contrib=True, num_threads=1),
        "pred_contrib, C API": c_api(booster),
        "score only, Python": lambda row: booster.predict(row.reshape(1, -1), raw_score=True, num_threads=1),
        "explain(row)": TreeExplainer(text).explain,
    }
    for name in INSTRUCTION_SETS:
        ways[f"explain_into, {name}"] = into(TreeExplainer(text, instruction_set=name), out)
    return ways


def into(explainer: TreeExplainer, out: FloatArray) -> Explain:
    """Return the explainer's call for one row into a buffer prepared beforehand."""
    explain_into = explainer.explain_into
    return lambda row: explain_into(row, out)


def measure(ways: dict[str, Explain], rows: FloatArray) -> dict[str, FloatArray]:
    """Return seconds per call, shape (ROUNDS * 4,) per way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(ROUNDS):
        for name, explain in ways.items():
            for row in rows[4 * i : 4 * i + 4]:
                start = time.perf_counter()
                explain(row)
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def report(booster: lightgbm.Booster, rows: FloatArray) -> None:
    """Print speed relative to pred_contrib and the largest difference from it."""
    ways = engines(booster)
    measure(ways, rows)
    seconds = measure(ways, rows)
    text = booster.model_to_string()
    start = time.perf_counter()
    explainer = TreeExplainer(text)
    loading = time.perf_counter() - start
    reference = TreeExplainer(text, engine="numpy")
    start = time.perf_counter()
    reference.explain(rows[:REFERENCE_ROWS])
    seconds["numpy reference"] = np.array([(time.perf_counter() - start) / REFERENCE_ROWS])

    expected = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1))
    contributions, base = explainer.explain(rows)
    margins = np.asarray(booster.predict(rows, raw_score=True, num_threads=1))
    print(
        f"  loaded in {loading * 1e3:.0f} ms; largest difference from pred_contrib "
        f"{np.abs(contributions - expected[:, :-1]).max():.1e}, from the margin "
        f"{np.abs(contributions.sum(axis=1) + base - margins).max():.1e}"
    )
    python, c = np.median(seconds["pred_contrib, Python"]), np.median(seconds["pred_contrib, C API"])
    for name, values in seconds.items():
        median = np.median(values)
        print(f"  {name:24} {median * 1e6:10.1f} us {python / median:9.3g} x Python {c / median:9.3g} x C API")


def main() -> None:
    """Run the benchmark on one core."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows, label = training_rows(np.random.default_rng(0))
    for trees, leaves in SHAPES:
        params = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "verbose": -1, "seed": 1}
        booster = lightgbm.train(params, lightgbm.Dataset(rows, label), trees)
        print(f"{trees} trees x {leaves} leaves, {N_FEATURES} features")
        report(booster, np.ascontiguousarray(rows[: 4 * ROUNDS]))


if __name__ == "__main__":
    main()
