import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.figures import Report
from tests.cluster.kube import eventually
from tests.cluster.loads import RATE, lost, refused_share, under_load
from tests.cluster.release import NAME, PYTHON, ROLLOUT_S, Release, is_leaving, is_ready
from tests.cluster.traffic import Stage

pytestmark = pytest.mark.cluster

# A starting pod takes processor time from the others of a small node; who is told to come again, comes again.
REFUSED = 0.01
WATCH = Path(__file__).with_name("watch.py")


def test_a_new_image_then_a_changed_setting_then_the_way_back_lose_no_payment(release: Release, report: Report) -> None:
    revision, image = release.revision, release.images_used()
    new = ("--set-string", f"image.service.tag={release.images.next_tag}")
    steps: dict[str, Callable[[], object]] = {
        "new_image": lambda: release.upgrade(*new),
        "changed_setting": lambda: release.upgrade(*new, "--set-string", "settings.LOG_LEVEL=warning"),
        "rollback": lambda: release.rollback(revision),
    }
    seconds: dict[str, float] = {}
    with under_load(release, report, "rollout", Stage(RATE, 110)) as load:
        for name, step in steps.items():
            before, began = release.names(), time.monotonic()
            step()
            release.settle()
            seconds[name] = round(time.monotonic() - began, 1)
            assert not before & release.names(), name
            expected = image if name == "rollback" else {f"{release.images.prefix}-service:{release.images.next_tag}"}
            assert release.images_used() == expected
    report.note("rollout", rollout_s=seconds)
    assert set(lost(load).values()) == {0}, load.results
    assert refused_share(load) <= REFUSED, load.results


def test_a_deleted_pod_loses_no_payment_with_one_retry(release: Release, report: Report) -> None:
    with under_load(release, report, "deleted_pod", Stage(RATE, 40)) as load:
        gone = sorted(release.names())[0]
        release.cluster.kubectl("delete", "pod", gone, "--wait=false")
        release.settle()
        assert gone not in release.names()
    assert lost(load)["by_ingress"] == 0, load.results


def test_a_drain_takes_one_pod_at_a_time_and_loses_no_payment(release: Release, report: Report) -> None:
    """By the eviction API, which is what `kubectl drain` asks for each pod."""
    first, second = sorted(release.names())[:2]
    with under_load(release, report, "drain", Stage(RATE, 60)) as load:
        assert evict(release, first) == ""
        refusal = evict(release, second)
        assert "disruption budget" in refusal, refusal
        assert second in release.names()
        waited = eventually(
            lambda: evict(release, second) == "", "the budget to allow the second eviction", seconds=ROLLOUT_S
        )
        release.settle()
        assert not {first, second} & release.names()
    report.note("drain", refusal=refusal, second_allowed_after_s=round(waited, 1))
    assert set(lost(load).values()) == {0}, load.results


def evict(release: Release, pod: str) -> str:
    """Ask for the eviction of a pod; return the refusal, empty if there is none."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    path = f"/api/v1/namespaces/{release.cluster.namespace}/pods/{pod}/eviction"
    done = release.cluster.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(body), check=False)
    return done.err.strip() if done.code else ""


def test_a_leaving_pod_is_out_of_the_endpoints_and_not_ready_before_it_stops_listening(
    release: Release, report: Report
) -> None:
    leaving = next(pod for pod in release.pods() if is_ready(pod) and not is_leaving(pod))
    name, address = leaving["metadata"]["name"], leaving["status"]["podIP"]
    release.cluster.apply(watcher(release, f"{address}:8000", seconds=40))
    eventually(lambda: seen(release), "the watcher to see the pod", seconds=60, hint=release.state)
    release.cluster.kubectl("delete", "pod", name, "--wait=false")
    out_after = eventually(lambda: address not in endpoints(release), "the pod to leave the endpoints", seconds=20)
    assert seen(release)[-1]["predict"] == 200  # still answering whoever has not heard of it
    eventually(lambda: seen(release)[-1]["predict"] == 0, "the pod to stop listening", seconds=30)
    states = [(one["ready"], one["predict"]) for one in seen(release)]
    times = {state: one["at"] for state, one in zip(states, seen(release), strict=True)}
    report.note(
        "leaving_pod",
        states=states,
        out_of_endpoints_after_s=round(out_after, 1),
        not_ready_before_closed_s=round(times[0, 0] - times[503, 200], 1),
    )
    release.cluster.kubectl("delete", "pod", "watcher", "--wait=false")
    assert states[0] == (200, 200)
    assert states.index((503, 200)) < states.index((0, 0))
    assert (200, 0) not in states


def watcher(release: Release, address: str, *, seconds: int) -> dict[str, Any]:
    """Return a pod that may ask the service, as that of `helm test` may."""
    labels = release.cluster.get("deployment", NAME)["metadata"]["labels"]
    container = {
        "name": "watch",
        "image": f"{release.images.prefix}-service:{release.images.tag}",
        "command": [PYTHON, "-c", WATCH.read_text(encoding="utf-8"), address, str(seconds)],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "watcher",
            "labels": {
                "app.kubernetes.io/name": labels["app.kubernetes.io/name"],
                "app.kubernetes.io/instance": labels["app.kubernetes.io/instance"],
                "app.kubernetes.io/component": "test",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def seen(release: Release) -> list[dict[str, Any]]:
    """Return each change that the watcher saw."""
    log = release.cluster.kubectl("logs", "watcher", check=False).out
    return [json.loads(line) for line in log.splitlines()]


def endpoints(release: Release) -> set[str]:
    """Return the addresses that the Service sends new connections to."""
    slices = release.cluster.get("endpointslices", "-l", f"kubernetes.io/service-name={NAME}")["items"]
    return {
        address
        for one in slices
        for endpoint in one.get("endpoints") or []
        if endpoint["conditions"].get("ready")
        for address in endpoint["addresses"]
    }
