"""The pages of the service. Each is thin: body in, data plane, answer out."""

from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from pydantic_core import to_json

from model.bundle import LIBRARIES
from model.features import schema_fingerprint
from model.settings import Settings
from service.body import parse_json, read_body
from service.problems import RequestError, invalid_fields
from service.schemas import (
    RULES,
    Answer,
    Answers,
    Batch,
    Health,
    Problem,
    Ready,
    Transaction,
    Versions,
)
from service.scorer import Scorer
from service.telemetry import Telemetry

router = APIRouter()

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {"schema": Problem.model_json_schema()}}}
    for status, text in {
        400: "The body is not one JSON document.",
        413: "The body is too large.",
        415: "The body is not announced as JSON.",
        422: "A field breaks its rule.",
    }.items()
}
Explain = Annotated[str | None, Query(description="`full` adds every feature's value and SHAP value.")]


def _body_of(model: type[Transaction] | type[Batch]) -> dict[str, Any]:
    """Describe a body that the route reads by itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/predict",
    summary="Judge one transaction",
    response_model=Answer,
    responses=_PROBLEMS,
    openapi_extra=_body_of(Transaction),
)
async def predict(request: Request, explain: Explain = None) -> Response:
    """Return the decision, the score and its reasons. Safe to repeat: the same body gets the same bytes."""
    full = _is_full(explain)
    settings: Settings = request.app.state.settings
    document = parse_json(await read_body(request, limit=settings.max_body_bytes))
    try:
        transaction = Transaction.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_input=False)) from None
    answers = _score(request, [transaction], full=full)
    return _json(answers[0])


@router.post(
    "/predict/batch",
    summary="Judge up to 1000 transactions",
    response_model=Answers,
    responses=_PROBLEMS,
    openapi_extra=_body_of(Batch),
)
async def predict_batch(request: Request, explain: Explain = None) -> Response:
    """Return an answer for each transaction, in order; one that breaks a rule refuses the batch and is named."""
    full = _is_full(explain)
    settings: Settings = request.app.state.settings
    document = parse_json(await read_body(request, limit=settings.max_batch_body_bytes))
    try:
        batch = Batch.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_input=False)) from None
    return _json({"answers": _score(request, batch.transactions, full=full)})


def _is_full(explain: str | None) -> bool:
    if explain not in (None, "reasons", "full"):
        raise RequestError(422, "The request has fields that break their rules.", [_mistake_in("explain")])
    return explain == "full"


def _mistake_in(field: str) -> dict[str, str]:
    return {"field": field, "rule": RULES[field]}


def _score(request: Request, transactions: list[Transaction], *, full: bool) -> list[dict[str, Any]]:
    scorer: Scorer = request.app.state.scorer
    telemetry: Telemetry = request.app.state.telemetry
    answers = scorer.answer(transactions, full=full)
    telemetry.count_answers(answers)
    return answers


def _json(value: object) -> Response:
    return Response(to_json(value, inf_nan_mode="null"), media_type="application/json")


@router.get("/health", summary="Is the process alive?", response_model=Health)
async def health() -> Response:
    """Return 200 as long as the process answers at all; it depends on nothing else."""
    return _json({"status": "alive"})


@router.get("/ready", summary="Can this instance score correctly now?", response_model=Ready)
async def ready(request: Request) -> Response:
    """Return 200 once a verified model and statistics are loaded."""
    scorer: Scorer | None = getattr(request.app.state, "scorer", None)
    if scorer is None:
        raise RequestError(503, "No verified model and statistics are loaded.")
    loaded = scorer.loaded
    return _json({"status": "ready", "model_version": loaded.model_version, "statistics_as_of": loaded.snapshot.as_of})


@router.get("/version", summary="What exactly answers here?", response_model=Versions)
async def versions(request: Request) -> Response:
    """Return the versions of code, model, statistics and libraries, and what training said of the model."""
    loaded = request.app.state.scorer.loaded
    return _json(
        {
            "service": version("antifraud"),
            "model_version": loaded.model_version,
            "statistics_version": loaded.statistics_version,
            "statistics_as_of": loaded.snapshot.as_of,
            "cutoffs": {"review": loaded.bundle.cutoffs.review, "decline": loaded.bundle.cutoffs.decline},
            "feature_schema": schema_fingerprint(),
            "libraries": {name: version(name) for name in LIBRARIES},
            "model": loaded.bundle.facts,
        }
    )


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    telemetry: Telemetry = request.app.state.telemetry
    return Response(telemetry.render(), media_type=CONTENT_TYPE_LATEST)
