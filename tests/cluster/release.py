"""The release under test: the chart with its own registry and bank, as a newcomer installs it."""

import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.kube import Cluster, Done, eventually
from tests.cluster.traffic import Door, Stage, Traffic

CHART = Path(__file__).parents[2] / "helm"
NAME = "antifraud"  # of the release, and so of its objects
SERVICE = "app.kubernetes.io/component=service"
PYTHON = "/opt/antifraud/bin/python"
HOST = "fraud.test"
START_S = 300.0  # longest time for a first champion
ROLLOUT_S = 120.0
SETTINGS = {
    "settings.POLL_SECONDS": "5",  # so that a new version need not be waited for
    "refresh.schedule": "0 0 29 2 *",  # jobs run when a test says so, and not between
    "retrain.schedule": "0 0 29 2 *",
}
FETCH = "import sys, urllib.request as u; print(u.urlopen('http://127.0.0.1:8000' + sys.argv[1]).read().decode())"


@dataclass(frozen=True, slots=True)
class Images:
    """The images that the cluster has been given."""

    prefix: str
    tag: str
    next_tag: str

    @property
    def values(self) -> list[str]:
        """The values of the chart that name them."""
        pairs = [
            f"image.{target}.{part}={value}"
            for target in ("service", "retrain")
            for part, value in (("repository", f"{self.prefix}-{target}"), ("tag", self.tag))
        ]
        return [word for pair in pairs for word in ("--set-string", pair)]


@dataclass
class Release:
    """One installed release."""

    cluster: Cluster
    images: Images
    ingress: str = ""
    """Address and port of the ingress controller; default: what the Ingress itself says."""
    figures: dict[str, float] = field(default_factory=dict)
    """How long the installation took."""

    def is_installed(self) -> bool:
        """Whether an earlier run has left it here."""
        return self.cluster.helm("status", NAME, check=False).code == 0

    def install(self) -> None:
        """Install on the empty cluster, and wait until the chart's own test passes."""
        began = time.monotonic()
        self.cluster.helm(*self._command("install"))
        eventually(self._has_champion, "the first champion", seconds=START_S, pause=1, hint=self.state)
        self.figures["first_champion_s"] = round(time.monotonic() - began, 1)
        self.settle()
        self.figures["all_pods_ready_s"] = round(time.monotonic() - began, 1)
        assert self.is_tested_well()
        self.figures["helm_test_passed_s"] = round(time.monotonic() - began, 1)

    def is_tested_well(self) -> bool:
        """Run the chart's own test."""
        return "Phase:          Succeeded" in self.cluster.helm("test", NAME, seconds=START_S).out

    def _command(self, verb: str, *more: str) -> list[str]:
        settings = [word for name, value in SETTINGS.items() for word in ("--set-string", f"{name}={value}")]
        values = ["-f", str(CHART / "values-demo.yaml"), "--set", f"ingress.host={HOST}"]
        return [verb, NAME, str(CHART), *values, *settings, *self.images.values, *more]

    def upgrade(self, *more: str) -> Done:
        """Upgrade to the values of the installation and some more."""
        return self.cluster.helm(*self._command("upgrade", *more))

    @property
    def revision(self) -> str:
        """The number of the release as it is now."""
        return str(json.loads(self.cluster.helm("status", NAME, "-o", "json").out)["version"])

    def rollback(self, revision: str) -> Done:
        """Go back to an earlier revision."""
        return self.cluster.helm("rollback", NAME, revision)

    def _has_champion(self) -> bool:
        jobs = self.cluster.get("jobs", "-l", "app.kubernetes.io/component=bootstrap")["items"]
        return any(job["status"].get("succeeded") for job in jobs)

    def settle(self, *, seconds: float = ROLLOUT_S) -> None:
        """Wait until the rollout is over, all pods are ready and none is on its way out."""
        self.cluster.kubectl(
            "rollout", "status", f"deployment/{NAME}", f"--timeout={seconds:.0f}s", seconds=seconds + 10
        )
        eventually(self._is_settled, "pods to settle", seconds=seconds, hint=self.state)

    def _is_settled(self) -> bool:
        pods = self.pods()
        return len(pods) >= self.at_rest() and all(is_ready(pod) and not is_leaving(pod) for pod in pods)

    def at_rest(self) -> int:
        """Return how many pods the autoscaler keeps at least."""
        return int(self.cluster.get("hpa", NAME)["spec"]["minReplicas"])

    def state(self) -> str:
        """Return what a person would look at first."""
        pods = self.cluster.kubectl("get", "pods", "-o", "wide", check=False).out
        logs = self.cluster.kubectl("logs", "-l", SERVICE, "--tail=3", check=False).out
        return f"\n{pods}\n{logs}"

    # --- pods ---------------------------------------------------------------------------------------------------------

    def pods(self) -> list[dict[str, Any]]:
        """Return the pods of the service, also those that leave."""
        return list(self.cluster.get("pods", "-l", SERVICE)["items"])

    def names(self) -> set[str]:
        """Return the names of the service's pods that do not leave."""
        return {pod["metadata"]["name"] for pod in self.pods() if not is_leaving(pod)}

    def images_used(self) -> set[str]:
        """Return the images of the service's pods that do not leave."""
        return {pod["spec"]["containers"][0]["image"] for pod in self.pods() if not is_leaving(pod)}

    def restarts(self) -> dict[str, int]:
        """Return by pod of the release, registry included, how often its container was started again."""
        found = self.cluster.get("pods", "-l", f"app.kubernetes.io/instance={NAME}")["items"]
        return {
            pod["metadata"]["name"]: sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))
            for pod in found
        }

    def ask(self, pod: str, path: str) -> str:
        """Return what a pod answers to a GET from within."""
        return self.cluster.kubectl("exec", pod, "-c", "service", "--", PYTHON, "-c", FETCH, path).out

    def versions(self) -> set[tuple[str, ...]]:
        """Return the pairs of model and statistics that the pods serve."""
        found = [json.loads(self.ask(pod, "/version")) for pod in sorted(self.names())]
        return {(one["model_version"], one["statistics_version"]) for one in found}

    # --- payments -----------------------------------------------------------------------------------------------------

    def ingress_door(self) -> Door:
        """Return the way in that the outside has."""
        if self.ingress:
            address, _, port = self.ingress.rpartition(":")
            return Door(address, int(port), HOST)
        eventually(self._addresses, "an ingress controller to take the Ingress (or give ADDRESS=host:port)", seconds=60)
        return Door(self._addresses()[0], 80, HOST)

    def _addresses(self) -> list[str]:
        found = self.cluster.get("ingress", NAME)["status"].get("loadBalancer", {}).get("ingress", [])
        return [one.get("ip") or one["hostname"] for one in found]

    def open_side_door(self) -> None:
        """Let this machine, which is neither ingress controller nor Prometheus, ask the pods past the ingress."""
        selector = self.cluster.get("service", NAME)["spec"]["selector"]
        policy = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "side-door-of-the-tests"},
            "spec": {"podSelector": {"matchLabels": selector}, "ingress": [{"ports": [{"port": 8000}]}]},
        }
        self.cluster.apply(policy)
        with suppress(AssertionError):
            eventually(self.service_door, "the Service to answer", seconds=10)

    def service_door(self) -> Door | None:
        """Return the Service's own address, past any proxy, if it can be reached from here; see `open_side_door`."""
        spec = self.cluster.get("service", NAME)["spec"]
        door = Door(spec["clusterIP"], spec["ports"][0]["port"])
        with socket.socket() as probe:
            probe.settimeout(3)
            return door if probe.connect_ex((door.address, door.port)) == 0 else None

    def traffic(self, door: Door, *stages: Stage, run: str, retry_once: bool = False) -> Traffic:
        """Begin a load."""
        return Traffic(door, *stages, run=run, retry_once=retry_once)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def run_job(self, name: str, *, of: str, arguments: list[str] | None = None, seconds: float = 300) -> str:
        """Run what a CronJob would run, now, or the same pod with other arguments; return its log."""
        made = self.cluster.kubectl(
            "create", "job", name, f"--from=cronjob/{NAME}-{of}", "--dry-run=client", "-o", "json"
        )
        job = json.loads(made.out)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        if arguments is not None:
            container["args"] = arguments
            for mount in container["volumeMounts"]:  # other arguments may write a history
                mount["readOnly"] = mount["name"] == "id-key"
            for volume in job["spec"]["template"]["spec"]["volumes"]:
                volume.get("persistentVolumeClaim", {}).pop("readOnly", None)
        job["metadata"].pop("ownerReferences", None)
        self.cluster.kubectl("delete", "job", name, "--ignore-not-found")
        self.cluster.apply(job)
        ended: list[str] = []

        def is_over() -> bool:
            conditions = self.cluster.get("job", name)["status"].get("conditions", [])
            ended[:] = [one["type"] for one in conditions if one["status"] == "True"]
            return "Complete" in ended or "Failed" in ended

        eventually(is_over, f"job {name} to end", seconds=seconds, hint=self.state)
        log = self.cluster.kubectl("logs", f"job/{name}", "--tail=-1").out
        assert "Complete" in ended, log
        return log


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod says that it is ready."""
    conditions = pod["status"].get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def is_leaving(pod: dict[str, Any]) -> bool:
    """Whether a pod was told to end."""
    return "deletionTimestamp" in pod["metadata"]
