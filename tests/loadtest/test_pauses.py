import math
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from loadtest import pauses
from loadtest.pauses import Pauses, as_json, breaches, describe, parse_pauses, read_pauses
from loadtest.report import MISSED, PASSED, UNRELIABLE, Verdict
from loadtest.service import find_service
from tests.loadtest.conftest import TinyServer, unused_port

Observe = Callable[[float], None]


@pytest.fixture
def metrics() -> tuple[CollectorRegistry, Observe]:
    registry = CollectorRegistry()
    histogram = Histogram(
        pauses.METRIC, "Pauses.", ("generation",), buckets=(0.001, 0.005, 0.01), registry=registry
    )  # fmt: skip
    return registry, lambda seconds: histogram.labels(str(int(seconds * 1000) % 3)).observe(seconds)


def test_pauses_are_read_as_prometheus_writes_them(metrics: tuple[CollectorRegistry, Observe]) -> None:
    registry, observe = metrics
    for seconds in (0.0005, 0.005, 0.006, 0.02):
        observe(seconds)
    found = parse_pauses(generate_latest(registry).decode())
    assert found == Pauses({0.001: 1, 0.005: 2, 0.01: 3, math.inf: 4})
    assert found.count == 4
    assert [found.over(limit) for limit in (1, 5, 10, 20)] == [3, 2, 1, 0]


def test_only_pauses_since_the_start_of_a_load_count(metrics: tuple[CollectorRegistry, Observe]) -> None:
    registry, observe = metrics
    observe(0.2)
    before = parse_pauses(generate_latest(registry).decode())
    observe(0.002)
    after = parse_pauses(generate_latest(registry).decode())
    assert before is not None
    assert after is not None
    during = after.since(before)
    assert during is not None
    assert (during.count, during.over(5)) == (1, 0)
    assert breaches(during, 5) == []
    assert describe(during, 5) == "garbage collector: 1 pauses, 0 of them over 5 ms"
    assert before.since(after) is None  # another process, which counts from nothing


def test_a_pause_over_the_limit_is_a_missed_limit_whatever_else_held() -> None:
    slow = Pauses({0.005: 7, math.inf: 9})
    assert breaches(slow, 5) == ["garbage collector: 2 pauses over 5 ms"]
    assert as_json(slow, 5) == {"pauses": 9, "limit_ms": 5, "over_limit": 2}
    for code in (PASSED, UNRELIABLE):
        verdict = Verdict(code, ()).with_breaches(breaches(slow, 5))
        assert verdict == Verdict(MISSED, ("garbage collector: 2 pauses over 5 ms",))
        assert Verdict(code, ("x",)).with_breaches([]) == Verdict(code, ("x",))


def test_a_service_that_does_not_count_pauses_is_said_so_and_no_breach(server: TinyServer) -> None:
    assert read_pauses(find_service(server.address)) is None  # a page without the metric
    assert read_pauses(find_service(f"http://127.0.0.1:{unused_port()}")) is None
    assert breaches(None, 5) == []
    assert as_json(None, 5) is None
    assert "not known" in describe(None, 5)
