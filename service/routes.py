"""The pages of the service. Each is thin: body in, data plane, answer out."""

from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import WithJsonSchema
from pydantic_core import to_json

from model.bundle import LIBRARIES
from model.features import schema_fingerprint
from model.settings import Settings
from service.body import read_body
from service.judge import NOT_LOADED, Judge
from service.openapi import ANSWER, ANSWERS, BATCH, PAYMENT, answered_with, body_of, problem_described
from service.problems import RequestError
from service.schemas import (
    RULES,
    Answer,
    Answers,
    Batch,
    Health,
    Ready,
    Transaction,
    Versions,
)

router = APIRouter(generate_unique_id_function=lambda route: route.name)
Explain = Annotated[
    str | None,
    Query(description="`full` adds every feature's value and SHAP value."),
    WithJsonSchema({"type": "string", "enum": ["reasons", "full"], "default": "reasons"}),
]


@router.post(
    "/predict",
    tags=["Scoring"],
    summary="Judge one transaction",
    response_model=Answer,
    response_description="The decision and its reasons",
    responses=answered_with(ANSWER),
    openapi_extra=body_of(Transaction, PAYMENT),
)
async def predict(request: Request, explain: Explain = None) -> Response:
    """Return the decision, the score and its reasons. Safe to repeat: the same body gets the same bytes."""
    full = _is_full(explain)
    settings: Settings = request.app.state.settings
    body = await read_body(request, limit=settings.max_body_bytes)
    return _json(_judge(request).predict(body, full=full))


@router.post(
    "/predict/batch",
    tags=["Scoring"],
    summary="Judge up to 1000 transactions",
    response_model=Answers,
    response_description="An answer for each transaction, in order",
    responses=answered_with(ANSWERS),
    openapi_extra=body_of(Batch, BATCH),
)
async def predict_batch(request: Request, explain: Explain = None) -> Response:
    """Return an answer for each transaction, in order; one that breaks a rule refuses the batch and is named."""
    full = _is_full(explain)
    settings: Settings = request.app.state.settings
    body = await read_body(request, limit=settings.max_batch_body_bytes)
    return _json(await _judge(request).predict_batch(body, full=full))


def _judge(request: Request) -> Judge:
    judge: Judge = request.app.state.judge
    return judge


def _is_full(explain: str | None) -> bool:
    if explain not in (None, "reasons", "full"):
        raise RequestError(422, "The request has fields that break their rules.", [_mistake_in("explain")])
    return explain == "full"


def _mistake_in(field: str) -> dict[str, str]:
    return {"field": field, "rule": RULES[field]}


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


@router.get("/health", tags=["Operation"], summary="Is the process alive?", response_model=Health)
async def health() -> Response:
    """Return 200 as long as the process answers at all; it depends on nothing else."""
    return _json(b'{"status":"alive"}')


@router.get(
    "/ready",
    tags=["Operation"],
    summary="Can this instance score correctly now?",
    response_model=Ready,
    responses=problem_described(503, NOT_LOADED),
)
async def ready(request: Request) -> Response:
    """Return 200 once a verified model and statistics are loaded, until the process is told to end.

    Where a greatest age of the statistics is set, 503 as well while they are older; payments are answered all the same.
    """
    judge = _judge(request)
    if judge.draining:
        raise RequestError(503, "This instance is about to end.")
    loaded = judge.loaded
    settings: Settings = request.app.state.settings
    limit = settings.max_statistics_age.total_seconds()
    if limit and judge.telemetry.freshness.statistics_age > limit:
        raise RequestError(503, "The statistics are older than FRAUD_MAX_STATISTICS_AGE.")
    return _json(
        to_json({"status": "ready", "model_version": loaded.model_version, "statistics_as_of": loaded.snapshot.as_of})
    )


@router.get("/version", tags=["Operation"], summary="What exactly answers here?", response_model=Versions)
async def versions(request: Request) -> Response:
    """Return the versions of code, model, statistics and libraries, and what training said of the model."""
    judge = _judge(request)
    loaded, challenger = judge.loaded, judge.challenger
    return _json(
        to_json(
            {
                "service": version("antifraud"),
                "model_version": loaded.model_version,
                "statistics_version": loaded.statistics_version,
                "statistics_as_of": loaded.snapshot.as_of,
                "cutoffs": {"review": loaded.bundle.cutoffs.review, "decline": loaded.bundle.cutoffs.decline},
                "feature_schema": schema_fingerprint(),
                "source": "last verified copy" if loaded.from_disk else "registry",
                "kept": [
                    {"model_version": one.model_version, "statistics_version": one.statistics_version}
                    for one in judge.kept
                ],
                "challenger": None if challenger is None else {"model_version": challenger},
                "libraries": {name: version(name) for name in LIBRARIES},
                "explainer": loaded.bundle.explainer.engine,
                "model": loaded.bundle.facts,
            }
        )
    )


@router.get(
    "/metrics",
    tags=["Operation"],
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    return Response(_judge(request).telemetry.render(), media_type=CONTENT_TYPE_LATEST)
