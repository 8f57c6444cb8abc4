import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import eventually
from tests.cluster.loads import lost, refused_share, split, under_load
from tests.cluster.release import NAME, Release, is_ready
from tests.cluster.traffic import Stage

pytestmark = pytest.mark.cluster

NORMAL, PEAK = 50.0, 400.0  # requirement: payments a second on an ordinary day and at the peak
STEP_S = 80.0  # an autoscaler needs 30 to 90 s
SMALL = ("--set", "capacity.peakTps=100", "--set", "resources.cpu=100m")  # a plan that the step goes far beyond
# Five quiet minutes are right for a bank and long for a test.
SOON_DOWN = {
    "spec": {
        "behavior": {
            "scaleDown": {
                "stabilizationWindowSeconds": 15,
                "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
            }
        }
    }
}


@dataclass
class Watched:
    """When there were how many pods: seconds, wanted by the autoscaler, ready."""

    began: float = field(default_factory=time.monotonic)
    rows: list[tuple[float, int, int]] = field(default_factory=list)

    def look(self, release: Release) -> None:
        """Add a row."""
        wanted = int(release.cluster.get("hpa", NAME)["status"].get("desiredReplicas", 0))
        ready = sum(1 for pod in release.pods() if is_ready(pod))
        self.rows.append((time.monotonic() - self.began, wanted, ready))

    def first(self, *, wanted: int = 0, ready: int = 0) -> float | None:
        """Return when there were at least as many for the first time."""
        return next((round(at, 1) for at, want, are in self.rows if want >= wanted and are >= ready), None)


@contextmanager
def watched(release: Release) -> Iterator[Watched]:
    """Look each second while the block runs."""
    seen, over = Watched(), threading.Event()

    def look() -> None:
        while not over.wait(1):
            seen.look(release)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def cores_used(release: Release) -> float:
    """Return what the service's pods use together, by metrics-server."""
    lines = release.cluster.kubectl("top", "pods", "-l", "app.kubernetes.io/component=service", "--no-headers").out
    return sum(float(line.split()[1].removesuffix("m")) for line in lines.splitlines()) / 1000


def test_the_pods_at_rest_carry_the_planned_step_while_the_autoscaler_has_not_reacted(
    release: Release, report: Report
) -> None:
    pods = release.names()
    normal, peak = split(release, NORMAL), split(release, PEAK)
    stages = (Stage(normal, 5), Stage(peak, 30), Stage(normal, 5))
    with under_load(release, report, "planned_step", *stages) as load:
        time.sleep(25)
        cores = cores_used(release)
    report.note("planned_step", pods=len(pods), cores_used=cores, refused_share=round(refused_share(load), 4))
    assert set(lost(load).values()) == {0}, load.results


def test_a_step_beyond_the_plan_brings_pods_and_its_end_takes_them_away(release: Release, report: Report) -> None:
    release.upgrade(*SMALL)
    release.settle()
    release.cluster.kubectl("patch", "hpa", NAME, "--type=merge", "-p", json.dumps(SOON_DOWN))
    spec = release.cluster.get("hpa", NAME)["spec"]
    least, most = spec["minReplicas"], spec["maxReplicas"]
    normal, peak = split(release, NORMAL), split(release, PEAK)
    stages = (Stage(normal, 10), Stage(peak, STEP_S), Stage(normal, 10))
    with watched(release) as seen, under_load(release, report, "step", *stages) as load:
        time.sleep(10 + STEP_S - 5)
        cores = cores_used(release)
    end = time.monotonic() - seen.began
    highest = max(wanted for _, wanted, _ in seen.rows)
    down = eventually(
        lambda: release.cluster.get("hpa", NAME)["status"]["desiredReplicas"] == least,
        "the autoscaler to come down again",
        seconds=180,
        pause=1,
    )
    target = spec["metrics"][0]["resource"]["target"]["averageUtilization"] / 100
    wanted_first, ready_first = seen.first(wanted=least + 1), seen.first(ready=least + 1)
    report.note(
        "step",
        pods=[least, highest, least],
        most=most,
        wanted_after_s=_after(wanted_first, 10),
        ready_after_s=_after(ready_first, 10),
        highest_ready_after_s=_after(seen.first(ready=highest), 10),
        down_after_s=round(down, 1),
        load_ended_at_s=round(end, 1),
        cores_used_at_peak=cores,
        payments_per_core=round(PEAK / cores) if cores else None,
        pods_by_the_formula=math.ceil(cores / (0.1 * target)),
        refused_share=round(refused_share(load), 4),
        lost=lost(load),
    )
    assert highest > least
    assert ready_first is not None
    assert set(lost(load).values()) == {0}, load.results  # refused ones were told when to come again


def _after(at: float | None, start: float) -> float | None:
    return None if at is None else round(at - start, 1)
