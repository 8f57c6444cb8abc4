"""`make chart` finds what it is for, and leaves nothing out in silence."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, Manifest, load, one, program, render, settings

WAIVER = {"check": "container-resources", "objects": "Pod/.*", "finding": "CPU limit", "reason": "throttling"}


check = load("checks/check")
schemas = load("checks/schemas")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that runs `main` with one check, of programs and problems as given."""
    monkeypatch.setattr(check, "WORK", tmp_path / "chart")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.delenv("CI", raising=False)

    def run(*, programs: tuple[str, ...] = (), problems: tuple[str, ...] = ()) -> int:
        monkeypatch.setattr(check, "CHECKED", (check.Check("a check", programs, lambda: iter(problems)),))
        return int(check.main())

    return run


def test_a_program_that_is_missing_is_named_and_only_left_out_on_a_laptop(
    only: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only(programs=("no-such-program",)) == 0
    said = capsys.readouterr().out
    assert "LEFT OUT a check: no-such-program not found; `make tools` installs it" in said
    assert "in order" not in said
    monkeypatch.setenv("CI", "true")
    assert only(programs=("no-such-program",)) == 1
    assert "nothing may be left out in CI" in capsys.readouterr().out


def test_a_problem_is_said_and_fails(only: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert only(problems=("the chart is upside down",)) == 1
    assert "chart: a check: the chart is upside down" in capsys.readouterr().out
    assert only() == 0


def finding(**changes: str) -> Any:
    """Return what kube-score might say."""
    given = {"values": "default", "check": "container-resources", "object": "Pod/a", "text": "CPU limit is not set"}
    return check.Finding(**(given | changes))


def test_a_finding_needs_a_waiver_that_fits_in_all_points() -> None:
    assert list(check.unwaived([finding()], [WAIVER])) == []
    for other in (finding(check="pod-probes"), finding(object="Job/a"), finding(text="Memory limit is not set")):
        said = list(check.unwaived([finding(), other], [WAIVER]))
        assert said == [f"default: {other.object}: {other.check}: {other.text}"]


def test_a_waiver_can_be_of_one_set_of_values() -> None:
    waiver = WAIVER | {"sets": ["static"]}
    assert len(list(check.unwaived([finding(), finding(values="static")], [waiver]))) == 1


def test_a_waiver_that_meets_nothing_is_a_problem_as_is_one_without_a_reason() -> None:
    assert "meets nothing any more" in next(check.unwaived([], [WAIVER]))
    assert len(list(check.unwaived([finding()], [WAIVER | {"reason": ""}]))) == 2


def test_every_waiver_says_why() -> None:
    waivers = yaml.safe_load((CHART / "checks" / "waivers.yaml").read_text(encoding="utf-8"))
    for waiver in waivers:
        assert set(waiver) - {"sets"} == set(WAIVER)
        assert all(waiver.values())


# What the schemas must refuse: kind, path to a field, value; a path that is not there is a new field.
WRONG: list[tuple[str, tuple[str | int, ...], Any]] = [
    ("Deployment", ("spec", "template", "spec", "containers", 0, "readynessProbe"), {}),
    ("Deployment", ("spec", "strategy", "rollingUpdate", "maxUnavailable"), {"pods": 0}),
    ("Deployment", ("spec", "template", "spec", "terminationGracePeriodSeconds"), "20"),
    ("Deployment", ("spec", "template", "spec", "containers", 0, "lifecycle", "preStop"), {"sleep": {"secs": 5}}),
    ("Deployment", ("apiVersion",), "apps/v1beta1"),
    ("HorizontalPodAutoscaler", ("spec", "minReplicas"), "2"),
    ("HorizontalPodAutoscaler", ("spec", "behavior", "scaleUp", "window"), 0),
    ("CronJob", ("spec", "timezone"), "Etc/UTC"),
    ("CronJob", ("spec", "jobTemplate", "spec", "podFailurePolicy", "rules", 1, "onPodConditions"), [{"type": "A"}]),
    ("NetworkPolicy", ("spec", "policyType"), ["Ingress"]),
    ("PodDisruptionBudget", ("spec", "maxUnavailible"), 1),
    ("Ingress", ("spec", "rules", 0, "http", "paths", 0, "backend"), {"serviceName": "a", "servicePort": 80}),
    ("Service", ("spec", "ports", 0, "port"), None),
    ("ServiceMonitor", ("spec", "endpoints", 0, "intervall"), "15s"),
    ("ServiceMonitor", ("spec", "endpoints", 0, "interval"), "15"),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "severity"), "critical"),
    ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "for"), 5),
    ("HTTPRoute", ("spec", "rules", 0, "retry"), {"attempts": 2}),
    ("HTTPRoute", ("spec", "rules", 0, "timeouts", "request"), "5 seconds"),
    ("PodMonitor", ("spec", "endpoints"), [{"port": "metrics"}]),
    ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "interval"), "15"),
    ("ScaledObject", ("spec", "minReplicas"), 2),
    ("ScaledObject", ("spec", "triggers", 0, "metadata", "lagThreshold"), 2000),
    ("ScaledObject", ("spec", "triggers", 0, "metadata", "group"), "antifraud"),
    ("ScaledObject", ("spec", "triggers", 0, "metadata", "sasl"), "SCRAM-SHA-512"),
    ("TriggerAuthentication", ("spec", "secretTargetRef", 0, "parameter"), "user"),
]


@pytest.fixture(scope="module")
def everything() -> list[Manifest]:
    """Objects of every kind that the chart has."""
    on = {"mlflow__enabled": True, "httpRoute__enabled": True, "httpRoute__gateway__name": "edge"}
    monitoring = {f"monitoring__{name}": True for name in ("serviceMonitor", "rules", "dashboard")}
    topics = {"stream__enabled": True, "stream__scaling__by": "lag", "kafka__secret": "kafka", "landing__enabled": True}
    return render(*settings(**on, **monitoring, **topics, landing__reports="s3://bank/reports"))


def kubeconform(manifest: Manifest, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Hold one object against the schemas that are kept."""
    file = folder / "object.yaml"
    file.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    location = CHART / "schemas" / "{{.ResourceKind}}{{.KindSuffix}}.json"
    command = [program("kubeconform"), "-strict", "-schema-location", str(location), str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("kind", "path", "value"), WRONG, ids=[f"{kind} {path[-1]}" for kind, path, _ in WRONG])
def test_schemas_refuse_what_an_api_server_would_drop_or_refuse(
    kind: str, path: tuple[str | int, ...], value: Any, everything: list[Manifest], tmp_path: Path
) -> None:
    first = next(found for found in everything if found["kind"] == kind)
    good = kubeconform(first, tmp_path)
    assert good.returncode == 0, good.stdout
    bad = yaml.safe_load(yaml.safe_dump(first))
    node = bad
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    done = kubeconform(bad, tmp_path)
    assert done.returncode != 0
    assert "is invalid" in done.stdout or "could not find schema" in done.stdout, done.stdout


def test_a_kind_without_a_schema_is_no_pass(everything: list[Manifest], tmp_path: Path) -> None:
    unknown = one(everything, "Service") | {"kind": "Servise"}
    assert kubeconform(unknown, tmp_path).returncode != 0


def test_every_kind_of_the_chart_has_a_schema(everything: list[Manifest]) -> None:
    for manifest in everything:
        assert (CHART / "schemas" / schemas.file_name(manifest["kind"], manifest["apiVersion"])).is_file()


def test_schemas_are_closed_and_keep_no_text_and_nothing_of_the_server() -> None:
    def nodes(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            yield node
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from nodes(value)

    served = {
        "a.B": {
            "type": "object",
            "description": "What it is.",
            "x-kubernetes-group-version-kind": [{"group": "a", "version": "v1", "kind": "B"}],
            "properties": {
                "spec": {"$ref": "#/definitions/a.C"},
                "status": {"$ref": "#/definitions/a.D"},
                "size": {"$ref": "#/definitions/x.resource.Quantity"},
            },
        },
    }
    wanted: list[str] = []
    closed = schemas.closed(served["a.B"], wanted)
    assert wanted == ["a.C"]
    assert closed["additionalProperties"] is False
    assert set(closed["properties"]) == {"spec", "size"}
    assert not any("description" in node for node in nodes(closed))
