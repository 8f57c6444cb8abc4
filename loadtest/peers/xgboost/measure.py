"""Train XGBoost models of the same size on the same rows, and explain them with XGBoost's own quadrature.

Started by `python -m loadtest.explain`.
"""

# mypy: ignore-errors
# Its libraries are in an environment of its own, where mypy does not look.

import importlib.metadata
import platform
import sys
from pathlib import Path

import numpy as np
import xgboost

from loadtest.explain_clock import Way, serve


def main(folder: Path) -> None:
    """Train and explain with the rows in a folder."""
    rows, label, asked = (np.load(folder / f"{name}.npy") for name in ("rows", "label", "asked"))

    def load(shape: str) -> tuple[list[Way], dict[str, float]]:
        trees, leaves = map(int, shape.split("x"))
        booster = train(rows, label, trees=trees, leaves=leaves)
        batch = xgboost.DMatrix(rows[:1000], nthread=1)
        values = booster.predict(batch, pred_contribs=True)
        margins = booster.predict(batch, output_margin=True)
        # The matrix of a row is made beforehand: only the explanation is timed.
        matrices = [xgboost.DMatrix(row.reshape(1, -1), nthread=1) for row in asked]
        return [
            Way("one row", lambda matrix: booster.predict(matrix, pred_contribs=True), matrices),
            Way("batch", lambda matrix: booster.predict(matrix, pred_contribs=True), [batch], rows=1000),
        ], {
            "leaves": sum(dump.count("leaf=") for dump in booster.get_dump()),
            "from_margin": float(np.abs(values.sum(axis=1, dtype=np.float64) - margins).max()),
        }

    packages = {name: importlib.metadata.version(name) for name in ("xgboost-cpu", "numpy")}
    serve(load, {"versions": {"python": platform.python_version(), **packages}})


def train(rows: np.ndarray, label: np.ndarray, *, trees: int, leaves: int) -> xgboost.Booster:
    """Return a booster grown leaf by leaf, as LightGBM grows its own."""
    parameters = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_leaves": leaves,
        "max_depth": 0,
        "max_bin": 64,
        "eta": 0.05,
        # So that every tree gets all its leaves.
        "min_child_weight": 0.1,
        "reg_lambda": 0,
        "nthread": 1,
        "seed": 1,
    }
    return xgboost.train(parameters, xgboost.DMatrix(rows, label, nthread=1), trees)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
