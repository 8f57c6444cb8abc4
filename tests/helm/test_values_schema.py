"""The schema of the values refuses what would only fail in the cluster, or worse, would not fail."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.settings import Settings
from tests.helm.chart import CHART, render, settings, template

SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
OWN = {
    "ID_KEY",
    "ID_KEY_FILE",
    "TRACKING_URI",
    "PORT",
    "HOST",
    "WORK_FOLDER",
    "DRAIN_SECONDS",
    "LABEL_DELAY",
    "REPORTS",
    "STREAM_INPUT",
    "STREAM_OUTPUT",
    "STREAM_DEAD_LETTER",
    "STREAM_GROUP",
    "STREAM_MEMBER",
    "STREAM_PORT",
    "LANDING_REPORTS",
    "LANDING_PORT",
}

REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("a value that nobody reads", {"replicaCount": 3}),
    ("a misspelt value deep within", {"resources__memroy": "1Gi"}),
    ("a list for an object", {"registry": ["http://mlflow:5000"]}),
    ("a number for a switch", {"ingress__enabled": 1}),
    ("a word for a switch", {"autoscaling__enabled": "true"}),
    ("no pods", {"replicas": 0}),
    ("half a pod", {"replicas": 2.5}),
    ("memory in decimal units", {"resources__memory": "512M"}),
    ("memory without a unit", {"resources__memory": "536870912"}),
    ("memory as a number", {"resources__memory": 536870912}),
    ("no CPU", {"resources__cpu": "0m"}),
    ("CPU as a number", {"resources__cpu": 1}),
    ("an image with its tag in the repository and spaces", {"image__service__repository": "bank/fraud service"}),
    ("a digest cut short", {"image__service__digest": "sha256:abc"}),
    ("a tag with a slash", {"image__service__tag": "1/2"}),
    ("an unknown pull policy", {"image__pullPolicy": "Sometimes"}),
    ("pull secrets as texts", {"image__pullSecrets": ["registry"]}),
    ("a registry without a scheme", {"registry__uri": "mlflow:5000"}),
    ("a registry by another protocol", {"registry__uri": "ftp://mlflow"}),
    ("a password in the address of the registry", {"registry__uri": "https://user:secret@mlflow"}),
    ("a port as a text", {"registry__port": "5000"}),
    ("a port above all ports", {"registry__port": 65536}),
    ("a secret with capitals", {"idKey__secret": "IdKey"}),
    ("no secret for the id key", {"idKey__secret": ""}),
    ("a key of a secret with a slash", {"idKey__key": "keys/id"}),
    ("a setting in small letters", {"settings": {"log_level": "info"}}),
    ("a setting with the prefix twice", {"settings": {"FRAUD_LOG_LEVEL": "info"}}),
    ("a misspelt setting", {"settings": {"POLL_SECOND": "30"}}),
    ("a setting of the training for the service", {"settings": {"TREES": "100"}}),
    ("a setting of the service for the jobs", {"jobSettings": {"POLL_SECONDS": "30"}}),
    ("a misspelt setting of the jobs", {"jobSettings": {"GATE_ALFA": "0.05"}}),
    ("a setting of the jobs that has its own value", {"jobSettings": {"LABEL_DELAY": "2d"}}),
    ("another one of them", {"jobSettings": {"REPORTS": "/history/reports"}}),
    ("a setting as a number", {"settings": {"POLL_SECONDS": 30}}),
    ("the id key in plain sight", {"settings": {"ID_KEY": "0123456789abcdef"}}),
    ("a setting that the chart makes", {"settings": {"DRAIN_SECONDS": "9"}}),
    ("no time for proxies to learn of the end", {"shutdown__preStopSeconds": 0}),
    ("a negative time", {"shutdown__drainSeconds": -1}),
    ("a start within a second", {"probes__startSeconds": 1}),
    ("a probe every millisecond", {"probes__periodSeconds": 0.001}),
    ("an unknown controller", {"ingress__controller": "traefik"}),
    ("a body size in words", {"ingress__bodySize": "2MB"}),
    ("a host with a scheme", {"ingress__host": "https://fraud.bank.example"}),
    ("a host of a route with a scheme", {"httpRoute__hostnames": ["https://fraud.bank.example"]}),
    ("headroom of all there is", {"capacity__headroom": 1.0}),
    ("no headroom", {"capacity__headroom": 0}),
    ("a peak of nothing", {"capacity__peakTps": 0}),
    ("fewer pods at most than at the peak", {"capacity__maxFactor": 0.5}),
    ("a schedule of six fields", {"refresh__schedule": "0 2 * * * *"}),
    ("a deadline of a second", {"retrain__deadlineSeconds": 1}),
    ("a deadline after the next refresh but one", {"refresh__deadlineSeconds": 7201}),
    ("a folder from the root", {"history__folder": "/payments"}),
    ("a folder above the claim", {"history__folder": "../payments"}),
    ("reports among the payments", {"history__reports": "reports"}),
    ("a store of another kind", {"history__address": "gs://bank/history"}),
    ("a key in the address of a store", {"history__address": "s3://key:secret@bank/history"}),
    ("a store and a folder of the claim", {"history__address": "s3://bank/history", "history__folder": "payments"}),
    ("a store, and reports on the claim", {"history__address": "s3://bank/history", "history__reports": "reports"}),
    ("a label delay in words", {"history__labelDelay": "one day"}),
    ("a port of a store as a text", {"networkPolicy__storePorts": ["443"]}),
    ("a scrape interval without a unit", {"monitoring__interval": "15"}),
    ("a label that is a number", {"monitoring__labels": {"release": 1}}),
    ("options of the simulation as one text", {"mlflow__simulate": "--profile small"}),
    ("brokers without a port", {"kafka__bootstrap": "kafka"}),
    ("brokers with a scheme", {"kafka__bootstrap": "kafka://kafka:9092"}),
    ("a login in the brokers' address", {"kafka__bootstrap": "user:secret@kafka:9092"}),
    ("an unknown way to speak to brokers", {"kafka__security": "tls"}),
    ("a password among the values", {"kafka__password": "secret"}),
    ("a topic with a slash", {"kafka__topics__payments": "bank/payments"}),
    ("no time for a member to leave", {"stream__endSeconds": 10}),
    ("a way to scale that there is not", {"stream__scaling__by": "memory"}),
    ("a lag of nothing", {"stream__scaling__lag": 0}),
    ("a setting of the stream for the service", {"settings": {"STREAM_BATCH": "100"}}),
    ("a setting of the stream that the chart makes", {"stream__settings": {"STREAM_PORT": "80"}}),
    ("one member's name for all", {"stream__settings": {"STREAM_MEMBER": "one"}}),
    ("a setting of the landing for the stream", {"stream__settings": {"LANDING_EVERY": "1m"}}),
    ("a landing of nothing", {"landing__enabled": True}),
    ("a secret in an address", {"landing__decisions": "s3://key:secret@bucket/decisions"}),
    ("a web address to land at", {"landing__decisions": "https://bucket/decisions"}),
    ("a path that is on no volume", {"landing__reports": "/data/reports"}),
    ("a path above the claim", {"landing__reports": "/history/../reports"}),
    ("a landing schedule of six fields", {"landing__schedule": "0 2 * * * *"}),
    ("a value left empty", {"registry__uri": None}),
]


@pytest.mark.parametrize(("what", "values"), REFUSED, ids=[what for what, _ in REFUSED])
def test_refuses(what: str, values: dict[str, Any]) -> None:
    done = template(*settings(**values))
    assert done.returncode != 0, f"{what} was taken"
    assert "values don't meet the specifications of the schema" in done.stderr, done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"resources__cpu": "1.5", "resources__memory": "2Gi"},
        {"image__service__repository": "registry.bank.example:5000/fraud/antifraud-service"},
        {"settings": {"SHADOW_SHARE": "0.1", "MAX_STATISTICS_AGE": "6h"}},
        {"refresh__schedule": "*/30 * * * 1-5", "retrain__schedule": "0 1,13 * * *"},
        {"monitoring__labels": {"release": "kube-prometheus-stack"}},
        {"global": {"imageRegistry": "given by a parent chart"}},
    ],
)
def test_takes_what_is_right(values: dict[str, Any]) -> None:
    assert render(*settings(**values))


def test_a_route_without_a_gateway_is_refused_with_the_name_of_the_value() -> None:
    done = template(*settings(httpRoute__enabled=True))
    assert done.returncode != 0
    assert "httpRoute.gateway.name must name the Gateway" in done.stderr


def test_every_setting_of_the_product_is_of_one_part_or_made_by_the_chart() -> None:
    top = SCHEMA["properties"]
    parts = (top, top, top["stream"]["properties"], top["landing"]["properties"])
    names = ("settings", "jobSettings", "settings", "settings")
    given = [name for part, key in zip(parts, names, strict=True) for name in part[key]["propertyNames"]["enum"]]
    brokers = [name.upper() for name in Settings.model_fields if name.startswith("kafka_")]
    assert sorted([*given, *OWN, *brokers]) == sorted(name.upper() for name in Settings.model_fields)


def test_every_object_is_closed_and_requires_what_the_templates_read() -> None:
    open_ones = [path for path, node in objects(SCHEMA, "") if node.get("additionalProperties") is not False]
    assert sorted(open_ones) == [
        "/global",
        "/jobSettings",
        "/landing/settings",
        "/monitoring/labels",
        "/settings",
        "/stream/settings",
    ]
    for path, node in objects(SCHEMA, ""):
        assert set(node.get("required", [])) == set(node.get("properties", {})) - {"global"}, path


def objects(node: dict[str, Any], path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every object of a schema with its path."""
    if node.get("type") != "object":
        return []
    deeper = [found for key, value in node.get("properties", {}).items() for found in objects(value, f"{path}/{key}")]
    return [(path, node), *deeper]


def test_no_file_of_values_holds_a_secret() -> None:
    for path in sorted(Path(CHART).rglob("values*.yaml")):
        text = path.read_text(encoding="utf-8").lower()
        assert "password:" not in text
        assert "token:" not in text
