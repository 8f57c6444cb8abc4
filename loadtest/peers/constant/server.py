"""What FastAPI itself can answer: a payment is validated, and a constant goes back through the response model.

It runs in the service's own environment, so that both have the same FastAPI, pydantic and uvicorn.
"""

import os
from datetime import datetime

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Payment(BaseModel):
    """The same fields that the service takes."""

    transaction_id: int | str
    tx_datetime: datetime
    customer_id: int | str
    terminal_id: int | str
    tx_amount: float


class Reason(BaseModel):
    """The same fields as a reason of the service."""

    code: str
    text: str
    contribution: float
    features: dict[str, float | None]


class Answer(BaseModel):
    """The same fields as an answer of the service."""

    transaction_id: int | str
    decision: str
    score: float
    base_value: float
    reasons: list[Reason]
    customer_known: bool
    terminal_known: bool
    model_version: str
    statistics_as_of: str


class SmallAnswer(BaseModel):
    """The least that could be called an answer."""

    decision: str
    score: float


# As many reasons, numbers and letters as a real answer has.
REASONS = [
    Reason(
        code="AMOUNT_NORMAL_FOR_CUSTOMER",
        text="Amount 127.06 is close to a 30-day mean of 107.06",
        contribution=0.8175744761936437 - place / 10,
        features={f"amount_mean_{window}d": 1.186852081711653 + window for window in (7, 30)},
    )
    for place in range(9)
]
ANSWER = Answer(
    transaction_id=1754155,
    decision="approve",
    score=0.0008175744761936437,
    base_value=-6.449817574476193,
    reasons=REASONS,
    customer_known=True,
    terminal_known=True,
    model_version="1",
    statistics_as_of="2026-04-01T00:00:00Z",
)
SMALL_ANSWER = SmallAnswer(decision="approve", score=0.0008175744761936437)

app = FastAPI()


@app.post("/predict", response_model=Answer)
async def predict(payment: Payment) -> Answer:
    """Return the constant."""
    return ANSWER


@app.post("/small", response_model=SmallAnswer)
async def small(payment: Payment) -> SmallAnswer:
    """Return the small constant."""
    return SMALL_ANSWER


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PEER_PORT"]), access_log=False, log_level="warning")
