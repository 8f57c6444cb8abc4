"""The example `k8s/examples/spark-submit.yaml` with addresses and sizes of a test."""

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.servers import S3
from tests.cluster.kube import Cluster

EXAMPLES = Path(__file__).parents[2] / "k8s" / "examples"
JOB = "antifraud-prepare"
EXECUTOR = "spark-role=executor"
EXECUTORS = 2
CORES = "250m"
SIZES = {
    "--driver-memory": "1g",
    "--executor-memory": "1g",
    "--conf=spark.executor.instances": str(EXECUTORS),
    "--conf=spark.executor.cores": "1",
    "--conf=spark.executor.memoryOverhead": "1g",
}


@dataclass(frozen=True, slots=True)
class Preparation:
    """The Job on a namespace of its own, against an S3 server of this machine."""

    cluster: Cluster
    store: S3
    image: str

    def begin(self, id_key: Path) -> None:
        """Make what the example says that it needs, and start it."""
        keys = self.store.environment()
        wanted = {
            "antifraud-id-key": {"id.key": id_key.read_text()},
            "antifraud-s3": {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
            "antifraud-spark": {"secret": secrets.token_hex(32)},
        }
        for name, texts in wanted.items():
            self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": texts})
        self.cluster.apply(*_objects("spark-access.yaml"))
        self.cluster.apply(*(self._sized(one) for one in _objects("spark-submit.yaml")))

    def _sized(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["kind"] != "Job":
            return given
        (container,) = given["spec"]["template"]["spec"]["containers"]
        container["image"] = self.image
        container["args"] = [self._argument(one) for one in container["args"]]
        container["args"].insert(1, f"--conf=spark.kubernetes.executor.request.cores={CORES}")
        (address,) = (one for one in container["env"] if one["name"] == "AWS_ENDPOINT_URL")
        address["value"] = self.store.endpoint
        container["resources"]["requests"] |= {"cpu": CORES, "memory": "2Gi"}
        container["resources"]["limits"]["memory"] = "2Gi"
        return given

    def _argument(self, given: str) -> str:
        name, _, value = given.rpartition("=")
        if name == "--conf=spark.kubernetes.container.image":
            value = self.image
        return f"{name}={SIZES.get(name, value)}" if name else given

    def executors(self, phase: str = "Running") -> set[str]:
        """Return the names of the executors in a phase."""
        found = self.cluster.get("pods", "-l", EXECUTOR)["items"]
        return {pod["metadata"]["name"] for pod in found if pod["status"]["phase"] == phase}

    def driver(self) -> str:
        """Return the name of the driver at work, or nothing."""
        found = self.cluster.get("pods", "-l", f"job-name={JOB}")["items"]
        names = [pod["metadata"]["name"] for pod in found if pod["status"]["phase"] == "Running"]
        return names[0] if names else ""

    def ended(self) -> str:
        """Return `Complete` or `Failed`, once the Job is over."""
        conditions = self.cluster.get("job", JOB)["status"].get("conditions", [])
        found = [one["type"] for one in conditions if one["status"] == "True" and one["type"] in ("Complete", "Failed")]
        return found[0] if found else ""

    def log(self) -> str:
        """Return what there is to read when it goes wrong."""
        pods = self.cluster.kubectl("get", "pods", check=False).out
        return pods + self.cluster.kubectl("logs", f"job/{JOB}", "--tail=40", check=False).out


def _objects(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


def address_towards(cluster: Cluster) -> str:
    """Return the address by which this machine speaks to the cluster's nodes, and pods so to this machine."""
    found = cluster.get("nodes")["items"][0]["status"]["addresses"]
    (node, *_) = (one["address"] for one in found if one["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 9))
        return str(probe.getsockname()[0])
