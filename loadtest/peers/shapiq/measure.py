"""Explain LightGBM models with shapiq's C++ TreeExplainer; started by `python -m loadtest.explain`."""

# mypy: ignore-errors
# Its libraries are in an environment of its own, where mypy does not look.

import importlib.metadata
import platform
import sys
from pathlib import Path

import lightgbm
import numpy as np
import shapiq

from loadtest.explain_clock import Way, serve

COMPARED_FILE = "shapiq.npy"  # SHAP values of the first rows, for a comparison with LightGBM's


def main(folder: Path) -> None:
    """Explain the models in a folder."""
    rows = np.load(folder / "asked.npy")

    def load(shape: str) -> tuple[list[Way], dict[str, str]]:
        booster = lightgbm.Booster(model_file=str(folder / f"{shape}.txt"))
        # Without the empty interaction: its bookkeeping is not asked of the others either.
        explainer = shapiq.TreeExplainer(booster, mode="pathdependent", index="SV", max_order=1, min_order=1)
        values = np.array([as_row(explainer.explain(row), rows.shape[1]) for row in rows[:100]])
        np.save(folder / COMPARED_FILE, values)
        return [Way("one row", explainer.explain, list(rows))], {"compared": COMPARED_FILE}

    packages = {name: importlib.metadata.version(name) for name in ("shapiq", "lightgbm", "numpy")}
    serve(load, {"versions": {"python": platform.python_version(), **packages}})


def as_row(values: shapiq.InteractionValues, n_features: int) -> np.ndarray:
    """Return one row's SHAP values in the order of the features."""
    found = np.zeros(n_features)
    for features, value in values.interactions.items():
        if len(features) == 1:
            found[features[0]] = value
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
