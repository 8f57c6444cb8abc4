"""Rules and dashboard ask only for what exists: metrics of a running application, or of others that are listed."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from model.settings import Settings
from model.training.landing.metrics import Metrics
from service.app import create_app
from service.scorer import Loaded
from service.stream.meters import Meters
from service.upkeep import Upkeep
from tests.helm.promql import Matcher, expressions, selectors
from tests.service.wire import payment

FILES = Path(__file__).parents[2] / "helm" / "files"
# What others expose, by source.
FOREIGN = {
    "up": "Prometheus itself, one for each scraped target",
    "kube_cronjob_created": "kube-state-metrics, docs/metrics/workload/cronjob-metrics.md",
    "kube_cronjob_spec_suspend": "kube-state-metrics, docs/metrics/workload/cronjob-metrics.md",
    "kube_deployment_status_replicas_available": "kube-state-metrics, docs/metrics/workload/deployment-metrics.md",
    "kube_cronjob_status_last_successful_time": "kube-state-metrics, docs/metrics/workload/cronjob-metrics.md",
}
# Labels that Prometheus or the operator puts on every sample of a target.
OF_THE_TARGET = {"job", "pod", "namespace", "instance", "service", "endpoint", "container"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}


@cache
def _asked() -> dict[str, Any]:
    rules = yaml.safe_load((FILES / "rules.yaml").read_text(encoding="utf-8"))
    return {"rules": rules, "dashboard": json.loads((FILES / "dashboard.json").read_text(encoding="utf-8"))}


def queries() -> list[tuple[str, str]]:
    """Return every expression with the file it stands in."""
    return [(name, expression) for name, content in _asked().items() for expression in expressions(content)]


@pytest.fixture(scope="module")
def exposed(loaded: Loaded, settings: Settings) -> dict[str, Metric]:
    """Return what a service after a payment, a refused one and a probe, a stream and a landing expose, by sample."""
    whole = settings.model_copy(update={"shadow_share": 0.5, "poll_seconds": 0})
    upkeep = Upkeep(whole, busy=lambda: False)
    with TestClient(create_app(whole, lambda _: loaded, upkeep=upkeep)) as client:
        assert client.post("/predict", json=payment()).status_code == 200
        assert client.post("/predict", json={}).status_code == 422
        assert client.get("/ready").status_code == 200
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    for registry in (_stream(), Metrics("decisions").registry):
        families += text_string_to_metric_families(generate_latest(registry).decode())
    return {family.name + suffix: family for family in families for suffix in SUFFIXES[family.type]}


def _stream() -> CollectorRegistry:
    """Return the registry of a member of the stream that has one partition."""
    registry = CollectorRegistry()
    Meters(registry).lag.source = lambda: [(0, 7)]
    return registry


def test_queries_are_found_in_both_files() -> None:
    found = [name for name, _ in queries()]
    assert found.count("rules") == sum(len(group["rules"]) for group in _asked()["rules"]["groups"])
    assert found.count("dashboard") > 15


@pytest.mark.parametrize(("where", "expression"), queries())
def test_every_metric_is_exposed_by_the_service_or_is_known_of_another(
    where: str, expression: str, exposed: dict[str, Metric]
) -> None:
    found = selectors(expression)
    assert found, f"{where} asks for nothing: {expression}"
    for name, matchers in found:
        if name in FOREIGN:
            continue
        assert name in exposed, f"{where} asks for {name}, which nobody exposes"
        for matcher in matchers:
            _check_matcher(name, matcher, exposed[name])


def _check_matcher(name: str, matcher: Matcher, family: Metric) -> None:
    label, operator, value = matcher
    if label in OF_THE_TARGET:
        return
    samples = [sample for sample in family.samples if sample.name == name]
    if not samples:
        return  # a metric whose labels come with its first event
    assert all(label in sample.labels for sample in samples), f"{name} has no label {label}"
    if label in {"route", "le", "decision"} and operator == "=":
        assert value in {sample.labels[label] for sample in samples}, f"{name} never has {label}={value}"


def test_every_name_of_the_list_of_others_is_asked_for() -> None:
    asked = {name for _, expression in queries() for name, _ in selectors(expression)}
    assert set(FOREIGN) <= asked


def test_no_metric_of_the_service_is_taken_for_foreign(exposed: dict[str, Metric]) -> None:
    assert not set(FOREIGN) & set(exposed)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('absent(a{b="c"}) or sum(up{job=~".*x.*"}) == 0', ["a", "up"]),
        ("histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m]))) > 0.01", ["a_bucket"]),
        ("time() - min(a) > 60 * 24 * 3600", ["a"]),
        ("sum by (x) (rate(a[30m])) / on () group_left () sum(rate(b[30m])) > 0.5", ["a", "b"]),
        ("count(count by (model) (a_info)) > 1", ["a_info"]),
        ("topk(8, max by (x) (a)) unless on (y) b offset 5m", ["a", "b"]),
    ],
)
def test_metrics_are_found_in_promql(expression: str, names: list[str]) -> None:
    assert [name for name, _ in selectors(expression)] == names


def test_label_values_with_braces_or_words_of_promql_are_no_metrics() -> None:
    assert selectors('a{status=~"5..|by",b!="on (c)"}') == [("a", [("status", "=~", "5..|by"), ("b", "!=", "on (c)")])]


def test_every_value_a_rule_compares_the_status_with_is_a_status() -> None:
    compared = [
        value
        for _, expression in queries()
        for _, matchers in selectors(expression)
        for label, _, value in matchers
        if label == "status"
    ]
    assert compared
    assert all(re.fullmatch(r"[1-5][0-9.]{2}", value) for value in compared)
