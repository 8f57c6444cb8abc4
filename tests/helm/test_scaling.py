"""The autoscaler's numbers follow the formula written above its template, whatever the capacity."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.chart import CHART, ROOT, load, one, program, render, settings

CASES: list[dict[str, Any]] = [
    {},
    {"capacity__peakTps": 50},
    {"capacity__peakTps": 4000},
    {"capacity__peakTps": 401, "capacity__tpsPerCore": 1604},  # a pod carries exactly the peak
    {"capacity__tpsPerCore": 1600, "capacity__headroom": 0.5, "capacity__peakTps": 1000},  # five pods and not one more
    {"capacity__tpsPerCore": 900, "resources__cpu": "1"},
    {"capacity__tpsPerCore": 900, "resources__cpu": "0.5"},
    {"capacity__tpsPerCore": 333.3, "resources__cpu": "100m", "capacity__maxFactor": 1.5},
    {"capacity__headroom": 0.29, "capacity__maxFactor": 1},
    {"capacity__headroom": 0.57},
    {"capacity__peakTps": 1_000_000, "capacity__tpsPerCore": 40},
]
DEFAULT: dict[str, Any] = {
    "capacity__peakTps": 400,
    "capacity__tpsPerCore": 1500,
    "capacity__headroom": 0.6,
    "capacity__maxFactor": 2,
    "resources__cpu": "250m",
}


@pytest.mark.parametrize("values", CASES, ids=lambda values: ", ".join(f"{name}={values[name]}" for name in values))
def test_pods_follow_from_the_capacity(values: dict[str, Any]) -> None:
    spec = one(render(*settings(**values)), "HorizontalPodAutoscaler")["spec"]
    given: dict[str, Any] = DEFAULT | values
    cpu = str(given["resources__cpu"])
    cores = int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
    pod = given["capacity__tpsPerCore"] * cores
    planned = 1 + ceil(given["capacity__peakTps"] / (pod * given["capacity__headroom"]))
    assert spec["minReplicas"] == max(2, ceil(given["capacity__peakTps"] / pod))
    assert spec["maxReplicas"] == ceil(planned * given["capacity__maxFactor"])
    target = spec["metrics"][0]["resource"]["target"]
    assert target == {"type": "Utilization", "averageUtilization": round(given["capacity__headroom"] * 100)}


@pytest.mark.parametrize("values", CASES[:5], ids=range(5))
def test_the_peak_is_carried_before_the_autoscaler_acts_and_without_one_pod_after_it(values: dict[str, Any]) -> None:
    spec = one(render(*settings(**values)), "HorizontalPodAutoscaler")["spec"]
    given: dict[str, Any] = DEFAULT | values
    pod = given["capacity__tpsPerCore"] * 0.25
    assert spec["minReplicas"] * pod >= given["capacity__peakTps"]
    assert (spec["maxReplicas"] - 1) * pod * given["capacity__headroom"] >= given["capacity__peakTps"]
    assert spec["maxReplicas"] > spec["minReplicas"] or given["capacity__headroom"] == 1


def test_the_capacity_of_a_core_is_no_more_than_was_measured() -> None:
    measured = ROOT / "loadtest" / "capacity.json"
    if not measured.is_file():
        pytest.skip("loadtest/capacity.json is not there: `make capacity` writes it")
    assert DEFAULT["capacity__tpsPerCore"] <= json.loads(measured.read_text(encoding="utf-8"))["rate_per_core"]


def test_defaults_are_those_of_the_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    assert {name: values[name.split("__")[0]][name.split("__")[1]] for name in DEFAULT} == DEFAULT


def test_the_sheet_of_pods_and_cores_is_the_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(program("helm")).parent), prepend=os.pathsep)
    page = load("capacity_page")
    sizing = page.sizing(4000)
    assert sizing == page.Sizing(4000, at_rest=11, planned=19, at_most=38, cores=0.25)
    assert sizing.core_hours(4000, 19) == pytest.approx(19 * 0.25 / 3600 * 250)  # 250 s for a million


def ceil(value: float) -> int:
    """Return the next whole number; a last digit of floating point is no pod."""
    return math.ceil(round(value, 9))
