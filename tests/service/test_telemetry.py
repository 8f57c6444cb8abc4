import asyncio
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.types import Message, Receive, Scope, Send

from service.scorer import Loaded
from service.telemetry import ROUTES, MeasureRequests, Telemetry


def samples(telemetry: Telemetry, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of one metric by the values of its labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(telemetry.render().decode())
        for sample in family.samples
        if sample.name == name
    }


async def _nothing() -> Message:
    return {"type": "http.request"}


async def _nowhere(_: Message) -> None: ...


def measured(telemetry: Telemetry, path: str, *, status: int | None = 200, kind: str = "http") -> None:
    """Send one request through the middleware to an application that answers with a status, or breaks."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if status is None:
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    asyncio.run(MeasureRequests(app, telemetry)({"type": kind, "path": path}, _nothing, _nowhere))


def test_each_request_is_counted_by_route_and_status() -> None:
    telemetry = Telemetry()
    for path, status in (("/predict", 200), ("/predict", 200), ("/predict", 422), ("/health", 200)):
        measured(telemetry, path, status=status)
    found = samples(telemetry, "fraud_requests_total")
    assert found == {("/predict", "200"): 2, ("/predict", "422"): 1, ("/health", "200"): 1}
    assert samples(telemetry, "fraud_request_seconds_count") == {("/predict",): 3, ("/health",): 1}


@pytest.mark.parametrize("path", ["/", "/predict/", "/customer/4929123456789012", "/docs", "/PREDICT", "/predict\n"])
def test_a_path_that_is_no_route_never_becomes_a_label(path: str) -> None:
    telemetry = Telemetry()
    measured(telemetry, path, status=404)
    assert samples(telemetry, "fraud_requests_total") == {("other", "404"): 1}
    assert samples(telemetry, "fraud_request_seconds_count") == {("other",): 1}


def test_an_application_that_breaks_counts_as_500_and_still_raises() -> None:
    telemetry = Telemetry()
    with pytest.raises(ZeroDivisionError):
        measured(telemetry, "/predict", status=None)
    assert samples(telemetry, "fraud_requests_total") == {("/predict", "500"): 1}


def test_the_start_of_the_application_is_no_request() -> None:
    telemetry = Telemetry()
    measured(telemetry, "/predict", kind="lifespan")
    assert samples(telemetry, "fraud_requests_total") == {}


def test_decisions_and_unknowns_are_counted_per_transaction() -> None:
    telemetry = Telemetry()
    answer: dict[str, Any] = {"decision": "approve", "customer_known": True, "terminal_known": False}
    telemetry.count_answer(answer)
    telemetry.count_answer(answer | {"decision": "decline", "customer_known": False})
    assert samples(telemetry, "fraud_decisions_total") == {("approve",): 1, ("review",): 0, ("decline",): 1}
    assert samples(telemetry, "fraud_unknown_total") == {("customer",): 1, ("terminal",): 2}


def test_the_loaded_pair_is_shown_and_only_the_last_one(loaded: Loaded) -> None:
    telemetry = Telemetry()
    telemetry.freshness.show_loaded(Loaded(loaded.bundle, loaded.snapshot, "old", "older"))
    telemetry.freshness.show_loaded(loaded)
    assert samples(telemetry, "fraud_loaded_info") == {(loaded.model_version, loaded.statistics_version): 1}
    assert samples(telemetry, "fraud_explainer_info") == {(loaded.bundle.explainer.engine,): 1}
    as_of = loaded.snapshot.as_of_hour * 3600
    assert samples(telemetry, "fraud_statistics_as_of_timestamp_seconds") == {(): as_of}


def test_two_applications_count_apart() -> None:
    one, other = Telemetry(), Telemetry()
    measured(one, "/predict")
    assert samples(other, "fraud_requests_total") == {}


def test_every_page_of_the_service_has_its_own_label() -> None:
    from service.routes import router

    assert {route.path for route in router.routes if hasattr(route, "path")} == ROUTES
