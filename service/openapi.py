"""What the page of all calls is told beyond what the routes declare: bodies read by hand, problems, real examples."""

import json
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.problems import MEDIA_TYPE, problem
from service.schemas import RULES, Batch, Problem, Transaction

_SCHEMAS = "#/components/schemas/"

PAYMENT: dict[str, Any] = {
    "transaction_id": 1754155,
    "tx_datetime": "2026-04-01T13:27:05Z",
    "customer_id": 7,
    "terminal_id": "1042",
    "tx_amount": 412.0,
}
BATCH: dict[str, Any] = {"transactions": [PAYMENT, PAYMENT | {"transaction_id": 1754156, "tx_amount": 12.5}]}

# A whole answer has nine reasons; these three show what they look like, and add up all the same.
ANSWER: dict[str, Any] = {
    "transaction_id": 1754155,
    "decision": "review",
    "score": 0.8175744761936437,
    "base_value": -4.25,
    "reasons": [
        {
            "code": "AMOUNT_ABOVE_CUSTOMER_NORMAL",
            "text": "Amount 412.00 is 4.2 times this customer's 30-day mean of 98.10 (87 payments)",
            "contribution": 4.5,
            "features": {
                "customer_amount_ratio_30d": 4.2,
                "customer_amount_mean_30d": 98.1,
                "customer_amount_zscore_30d": 6.4,
            },
        },
        {
            "code": "PAYMENT_AMOUNT",
            "text": "Amount 412.00 by itself, whoever pays and wherever",
            "contribution": 1.5,
            "features": {"amount": 412.0},
        },
        {
            "code": "WEEKDAY_PAYMENT",
            "text": "Payment on a Wednesday (UTC)",
            "contribution": -0.25,
            "features": {"weekday": 2.0},
        },
    ],
    "customer_known": True,
    "terminal_known": True,
    "model_version": "7",
    "statistics_as_of": "2026-04-01T13:00:00Z",
}
ANSWERS: dict[str, Any] = {"answers": [ANSWER]}


def body_of(model: type[BaseModel], example: dict[str, Any]) -> dict[str, Any]:
    """Describe the body of a route that reads it by itself."""
    content = {"schema": {"$ref": _SCHEMAS + model.__name__}, "example": example}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def answered_with(example: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Describe what a route that takes a body may answer."""
    wrong_amount = {"field": "tx_amount", "rule": RULES["tx_amount"]}
    return {
        200: {"content": {"application/json": {"example": example}}},
        **problem_described(400, "The body is not one valid JSON document."),
        **problem_described(413, "The body must not be larger than 16384 bytes."),
        **problem_described(415, "Send the body as application/json."),
        **problem_described(422, "The request has fields that break their rules.", wrong_amount),
    }


def problem_described(status: int, detail: str, *mistakes: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    """Describe a problem that a route may answer with."""
    example = json.loads(bytes(problem(status, detail, mistakes).body))
    content = {"schema": {"$ref": _SCHEMAS + Problem.__name__}, "example": example}
    return {status: {"description": example["title"], "content": {MEDIA_TYPE: content}}}


def describe(app: FastAPI) -> None:
    """Add the models that no route declares to the OpenAPI document, where the routes refer to them."""
    made_by_framework = app.openapi

    def openapi() -> dict[str, Any]:
        document = made_by_framework()
        _, definitions = models_json_schema(
            [(model, "validation") for model in (Transaction, Batch, Problem)], ref_template=_SCHEMAS + "{model}"
        )
        document["components"]["schemas"].update(definitions["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
