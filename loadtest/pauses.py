"""Pauses of the service's garbage collector, as it counts them itself in `/metrics`."""

import http.client
import re
from dataclasses import dataclass

from loadtest.service import Service

METRIC = "fraud_gc_pause_seconds"
_BUCKET = re.compile(rf'^{METRIC}_bucket\{{(?:[^}}]*,)?le="([^"]+)"[^}}]*\}} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pauses:
    """How many pauses lasted at most so many seconds; the last bound is infinite."""

    counts: dict[float, int]

    @property
    def count(self) -> int:
        """All of them."""
        return self.counts[max(self.counts)]

    def over(self, limit_ms: float) -> int:
        """Return how many lasted longer than a limit; where it lies between two bounds, than the upper one."""
        return self.count - self.counts[min(bound for bound in self.counts if bound * 1000 >= limit_ms)]

    def since(self, before: "Pauses") -> "Pauses | None":
        """Return the pauses after an earlier count; None if that was of another process."""
        counts = {bound: count - before.counts.get(bound, 0) for bound, count in self.counts.items()}
        return Pauses(counts) if min(counts.values()) >= 0 else None


def parse_pauses(metrics: str) -> Pauses | None:
    """Return what a page of metrics says; None if the service does not count its pauses."""
    counts: dict[float, int] = {}
    for bound, count in _BUCKET.findall(metrics):
        counts[float(bound)] = counts.get(float(bound), 0) + int(float(count))
    return Pauses(counts) if counts else None


def read_pauses(service: Service) -> Pauses | None:
    """Return what the service says; None if it does not count its pauses, or shows no metrics."""
    connection = http.client.HTTPConnection(service.host, service.port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        page = answer.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return parse_pauses(page) if answer.status == 200 else None


def describe(pauses: Pauses | None, limit_ms: float) -> str:
    """Return a line for a reader."""
    if pauses is None:
        return f"garbage collector: not known, the service does not count {METRIC}"
    return f"garbage collector: {pauses.count} pauses, {pauses.over(limit_ms)} of them over {limit_ms:g} ms"


def breaches(pauses: Pauses | None, limit_ms: float) -> list[str]:
    """Return a sentence if a pause was over the limit; what is not counted is no breach."""
    over = 0 if pauses is None else pauses.over(limit_ms)
    return [f"garbage collector: {over} pauses over {limit_ms:g} ms"] if over else []


def as_json(pauses: Pauses | None, limit_ms: float) -> dict[str, float] | None:
    """Return it for a JSON file; null if the service does not count its pauses."""
    if pauses is None:
        return None
    return {"pauses": pauses.count, "limit_ms": limit_ms, "over_limit": pauses.over(limit_ms)}
