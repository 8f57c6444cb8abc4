import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import eventually
from tests.cluster.loads import RATE, lost, refused_share, under_load
from tests.cluster.release import NAME, ROLLOUT_S, Release, is_ready
from tests.cluster.traffic import Stage

pytestmark = pytest.mark.cluster

FLOOD_RATE = 1200.0  # payments a second each way
OVERLOADED = 0.1  # share of refused payments from which on nobody doubts it
LONGEST_LIVENESS_S = 60  # six failures in a row, ten seconds apart


def waiting_reasons(release: Release) -> set[str]:
    """Return why containers of the service's pods do not run."""
    return {
        one["state"]["waiting"].get("reason", "")
        for pod in release.pods()
        for one in pod["status"].get("containerStatuses", [])
        if "waiting" in one["state"]
    }


def test_an_image_that_does_not_exist_leaves_the_old_pods_serving(release: Release, report: Report) -> None:
    pods, revision = release.names(), release.revision
    with under_load(release, report, "broken_image", Stage(RATE, 25)) as load:
        release.upgrade("--set-string", "image.service.tag=never-built")
        eventually(
            lambda: waiting_reasons(release) & {"ErrImagePull", "ImagePullBackOff"}, "a pull to fail", seconds=20
        )
        assert pods < release.names()
    release.rollback(revision)
    release.settle()
    assert release.names() == pods
    assert set(lost(load).values()) == {0}, load.results


def test_a_registry_address_that_leads_nowhere_leaves_the_old_pods_serving(release: Release, report: Report) -> None:
    pods = release.names()
    try:
        with under_load(release, report, "wrong_registry", Stage(RATE, 30)) as load:
            release.cluster.kubectl(
                "set", "env", f"deployment/{NAME}", "FRAUD_TRACKING_URI=http://nowhere.invalid:5000"
            )
            eventually(lambda: release.names() - pods, "a new pod", seconds=15)
            (new,) = release.names() - pods
            eventually(
                lambda: "trying again" in release.cluster.kubectl("logs", new, check=False).out,
                "the new pod to say what is wrong",
                seconds=25,
            )
            assert not any(is_ready(pod) for pod in release.pods() if pod["metadata"]["name"] == new)
            assert pods < release.names()
    finally:
        release.cluster.kubectl("rollout", "undo", f"deployment/{NAME}")
        release.settle()
    assert release.names() == pods
    assert set(lost(load).values()) == {0}, load.results


@contextmanager
def without_registry(release: Release) -> Iterator[None]:
    """Take the registry away while the block runs."""
    registry = f"deployment/{NAME}-mlflow"
    release.cluster.kubectl("scale", registry, "--replicas=0")
    try:
        release.cluster.kubectl("wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=mlflow", check=False)
        yield
    finally:
        release.cluster.kubectl("scale", registry, "--replicas=1")
        release.cluster.kubectl("rollout", "status", registry)


def failed_polls(release: Release, pod: str) -> float:
    """Return how often a pod asked the registry in vain."""
    lines = release.ask(pod, "/metrics").splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith('fraud_registry_polls_total{result="failed"}')
    )


def test_without_its_registry_nothing_is_lost_or_restarted_and_a_new_pod_waits_for_it(
    release: Release, report: Report
) -> None:
    pods = sorted(release.names())
    before = {name: count for name, count in release.restarts().items() if name in pods}
    with without_registry(release):
        with under_load(release, report, "registry_away", Stage(RATE, 30)) as load:
            eventually(
                lambda: all(failed_polls(release, pod) >= 2 for pod in pods), "two polls in vain", seconds=25, pause=2
            )
            assert all(is_ready(pod) for pod in release.pods())
        assert {name: count for name, count in release.restarts().items() if name in pods} == before
        release.cluster.kubectl("delete", "pod", pods[0])
        eventually(lambda: release.names() - set(pods), "a new pod", seconds=20)
        (new,) = release.names() - set(pods)
        eventually(
            lambda: "trying again" in release.cluster.kubectl("logs", new, check=False).out,
            "the new pod to wait",
            seconds=30,
        )
    began = time.monotonic()
    release.settle(seconds=ROLLOUT_S)
    report.note("registry_away", new_pod_ready_after_its_return_s=round(time.monotonic() - began, 1))
    assert release.restarts()[new] == 0
    assert set(lost(load).values()) == {0}, load.results


def test_pods_with_far_more_payments_than_they_can_answer_are_not_killed(release: Release, report: Report) -> None:
    deployment = f"deployment/{NAME}"
    # A seventh of a core and no more, and no further pods: the load is several times what they can answer.
    most = json.dumps({"spec": {"maxReplicas": release.at_rest()}})
    release.cluster.kubectl("patch", "hpa", NAME, "--type=merge", "-p", most)
    release.cluster.kubectl("set", "resources", deployment, "--limits=cpu=150m", "--requests=cpu=100m")
    try:
        release.settle()
        pods, before = release.names(), release.restarts()
        with under_load(release, report, "overload", Stage(FLOOD_RATE, LONGEST_LIVENESS_S + 10)) as load:
            pass
        after = release.restarts()
        with under_load(release, report, "after_overload", Stage(RATE / 2, 10)) as calm:
            pass
        report.note("overload", refused_share=round(refused_share(load), 3), lost=lost(load))
        assert release.names() == pods
        assert {name: after[name] for name in pods} == {name: before[name] for name in pods}
        assert refused_share(load) > OVERLOADED, load.results
        assert set(lost(calm).values()) == {0}, calm.results
    finally:
        release.cluster.kubectl("rollout", "undo", deployment)
