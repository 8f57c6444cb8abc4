"""The service as it is usually written: FastAPI, one pandas row per request, `shap.TreeExplainer`.

It looks the payment's statistics up in a dictionary by the raw id, makes the same 61 features of them in plain Python,
and gives the nine strongest features as reasons. It hashes no ids, groups no features and writes no text.
"""

# mypy: ignore-errors
# Its libraries are in an environment of its own, where mypy does not look.

import json
import math
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm as lgb
import pandas as pd
import shap
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

FOLDER = Path(os.environ["PEER_FOLDER"])
WINDOWS = ("1d", "7d", "30d")
REASONS = 9  # as many as the service gives
NAN = math.nan

warnings.filterwarnings("ignore", module="shap")  # it warns at every call, and a log full of that is no fair load

model = lgb.Booster(model_file=str(FOLDER / "model.txt"))
explainer = shap.TreeExplainer(model)
names = model.feature_name()
statistics: dict[str, dict[str, list[float]]] = json.loads((FOLDER / "statistics.json").read_text(encoding="utf-8"))


class Payment(BaseModel):
    """The same fields that the service takes."""

    transaction_id: int | str
    tx_datetime: datetime
    customer_id: int | str
    terminal_id: int | str
    tx_amount: float


class Reason(BaseModel):
    """One feature and its SHAP value."""

    feature: str
    value: float | None
    contribution: float


class Answer(BaseModel):
    """The score and the strongest features."""

    transaction_id: int | str
    score: float
    base_value: float
    reasons: list[Reason]


app = FastAPI()


@app.post("/predict", response_model=Answer)
def predict(payment: Payment) -> Answer:
    """Return the score and the reasons."""
    row = pd.DataFrame([features_of(payment)], columns=names)
    score = float(model.predict(row, num_threads=1)[0])
    contributions = explainer.shap_values(row)[0]
    strongest = sorted(range(len(names)), key=lambda i: -abs(contributions[i]))[:REASONS]
    return Answer(
        transaction_id=payment.transaction_id,
        score=score,
        base_value=float(explainer.expected_value),
        reasons=[
            Reason(feature=names[i], value=float(row.iat[0, i]), contribution=float(contributions[i]))
            for i in strongest
        ],
    )


def features_of(payment: Payment) -> dict[str, float]:
    """Return the 61 features by name."""
    moment = payment.tx_datetime.astimezone(UTC)
    features: dict[str, float] = {
        "amount": payment.tx_amount,
        "hour": moment.hour,
        "weekday": moment.weekday(),
        "is_night": moment.hour < 6,
        "is_weekend": moment.weekday() >= 5,
    }
    for entity, raw in (("customer", payment.customer_id), ("terminal", payment.terminal_id)):
        sums = statistics[entity].get(str(raw), [NAN] * 20)
        for place, window in enumerate(WINDOWS):
            features |= window_features(entity, window, payment.tx_amount, sums[4 * place : 4 * place + 4])
    return features | recent_features(sums)


def window_features(entity: str, window: str, amount: float, sums: list[float]) -> dict[str, float]:
    """Return the features of one customer or terminal over one window; sums of amounts are in hundredths."""
    count, total, squares, reports = sums
    known = count > 0
    mean = total / count / 100 if known else NAN
    variance = (count * squares - total * total) / (count * count) / 10_000 if known else NAN
    variance = 0.0 if variance < 1e-12 * mean * mean else variance
    spread = math.sqrt(variance) if count >= 2 else NAN
    values: dict[str, Any] = {
        "transactions": count,
        "amount_mean": mean,
        "amount_std": spread,
        "amount_difference": amount - mean,
        "amount_ratio": amount / mean if mean > 0 else NAN,
        "amount_zscore": (amount - mean) / spread if spread > 0 else NAN,
        "reports": reports,
        "report_rate": reports / count if known else NAN,
    }
    return {f"{entity}_{name}_{window}": value for name, value in values.items()}


def recent_features(sums: list[float]) -> dict[str, float]:
    """Return what the last days say of a terminal: payments and reports of two to five days follow the windows."""
    count = {1: sums[0], 2: sums[12], 3: sums[14], 4: sums[16], 5: sums[18], 7: sums[4]}
    reports = {1: sums[3], 2: sums[13], 3: sums[15], 4: sums[17]}
    settled = {days: count[days + 1] - count[1] for days in (1, 2, 3, 4, 6)}
    idle = next((days for days, payments in settled.items() if payments > 0), 7)
    return {
        **{f"terminal_reports_{days}d": reports[days] for days in (2, 3, 4)},
        **{f"terminal_cleared_{days}d": settled[days] - reports[days] for days in (1, 2, 3, 4)},
        "terminal_idle_days": idle if count[1] >= 0 else NAN,
    }


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PEER_PORT"]), access_log=False, log_level="warning")
