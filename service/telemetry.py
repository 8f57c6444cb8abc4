"""What Prometheus sees of the service. No id and no amount is ever a label."""

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from model.decision import DECISIONS
from model.statistics import ENTITIES
from service.freshness import Freshness
from service.pauses import GcPauses

LATENCY_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)  # seconds
COUNTED = ("decision", "customer_known", "terminal_known")  # of an answer
ROUTES = frozenset({"/predict", "/predict/batch", "/health", "/ready", "/version", "/metrics"})


class Telemetry:
    """The metrics of one application; each application has its own registry.

    Attributes
    ----------
    registry
        Where other parts register theirs.
    freshness
        Those of the loaded pair.
    pauses
        Those of the garbage collector, which somebody must switch on.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "fraud_requests", "Requests answered, by route and status.", ("route", "status"), registry=self.registry
        )
        self.latency = Histogram(
            "fraud_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.decisions = Counter("fraud_decisions", "Decisions given.", ("decision",), registry=self.registry)
        self.unknown = Counter(
            "fraud_unknown", "Transactions of an unknown customer or terminal.", ("entity",), registry=self.registry
        )
        self.abandoned = Counter(
            "fraud_abandoned", "Payments not judged because the client had gone.", registry=self.registry
        )
        self._bound: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self._decided = {decision: self.decisions.labels(decision) for decision in DECISIONS}
        self._unknown_customer, self._unknown_terminal = (self.unknown.labels(name) for name in ENTITIES)
        self.freshness = Freshness(self.registry)
        self.pauses = GcPauses()
        self.registry.register(self.pauses)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count and time one answered request."""
        bound = self._bound.get((route, status))
        if bound is None:
            bound = self._bound[route, status] = (self.requests.labels(route, status), self.latency.labels(route))
        bound[0].inc()
        bound[1].observe(seconds)

    def count_answer(self, answer: Mapping[str, Any]) -> None:
        """Count a decision, and whether customer and terminal were known; of an answer, `COUNTED` is enough."""
        self._decided[answer["decision"]].inc()
        if not answer["customer_known"]:
            self._unknown_customer.inc()
        if not answer["terminal_known"]:
            self._unknown_terminal.inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class MeasureRequests:
    """Plain ASGI middleware that counts and times requests; Starlette's own base class costs several times more."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection event, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # A path that nobody serves must not become a label of its own.
            route = scope["path"] if scope["path"] in ROUTES else "other"
            self._telemetry.observe(route, status, time.perf_counter() - started)
