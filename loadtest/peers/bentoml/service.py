"""The champion as a BentoML service, with and without SHAP values; rows arrive with their features ready."""

# mypy: ignore-errors
# Its libraries are in an environment of its own, where mypy does not look.

import os
from pathlib import Path

import bentoml
import lightgbm as lgb
import numpy as np

Rows = list[list[float | None]]


@bentoml.service(workers=1)
class Fraud:
    """Score rows of 61 features."""

    def __init__(self) -> None:
        self.model = lgb.Booster(model_file=str(Path(os.environ["PEER_FOLDER"]) / "model.txt"))

    @bentoml.api
    def predict(self, rows: Rows) -> list[float]:
        """Return the probability of fraud of each row."""
        return self.model.predict(np.array(rows, dtype=float), num_threads=1).tolist()

    @bentoml.api
    def explain(self, rows: Rows) -> dict[str, list[float] | list[list[float]]]:
        """Return the probability of fraud of each row and the SHAP values of its features, the base value last."""
        shares = self.model.predict(np.array(rows, dtype=float), pred_contrib=True, num_threads=1)
        return {"scores": (1 / (1 + np.exp(-shares.sum(axis=1)))).tolist(), "contributions": shares.tolist()}
