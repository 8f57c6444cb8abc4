"""The autoscaler's numbers follow the formula written above its template, whatever the capacity."""

import math
from typing import Any

import pytest

from tests.helm.chart import one, render, settings

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


def ceil(value: float) -> int:
    """Return the next whole number; a last digit of floating point is no pod."""
    return math.ceil(round(value, 9))
