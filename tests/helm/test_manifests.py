"""`k8s/` is what the chart renders with its default values, and complete."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml

from antifraud import cli
from tests.helm.chart import ROOT, Manifest, one, render, settings

FOLDER = ROOT / "k8s"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))


def kept() -> list[Manifest]:
    """Return every object of the files that the kustomization names."""
    return [
        found
        for name in KUSTOMIZATION["resources"]
        for found in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
        if found
    ]


def key(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def test_every_file_is_named_by_the_kustomization() -> None:
    present = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert sorted(KUSTOMIZATION["resources"]) == sorted(present)


def test_every_object_is_there_once_and_equal_to_the_charts() -> None:
    rendered = {
        key(found): found for found in render() if "helm.sh/hook" not in found["metadata"].get("annotations", {})
    }
    assert len(kept()) == len(rendered)
    assert {key(found): found for found in kept()} == rendered


def test_kubectl_can_build_it() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl not found")
    done = subprocess.run([kubectl, "kustomize", str(FOLDER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = [found for found in yaml.safe_load_all(done.stdout) if found]
    assert {key(found) for found in built} == {key(found) for found in kept()}


def test_every_name_that_an_object_refers_to_is_another_objects_or_the_banks() -> None:
    manifests = render()
    bring = {("Secret", "antifraud-id-key"), ("PersistentVolumeClaim", "antifraud-history")}
    known = {key(found) for found in manifests} | bring
    for found in manifests:
        for kind, name in references(found):
            assert (kind, name) in known, f"{key(found)} refers to {kind}/{name}"


def references(node: Any) -> list[tuple[str, str]]:
    """Return the kind and the name of what a manifest refers to, however deep."""
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if not isinstance(node, dict):
        return []
    fields = {
        "secretName": "Secret",
        "claimName": "PersistentVolumeClaim",
        "serviceAccountName": "ServiceAccount",
    }
    own = [(kind, node[field]) for field, kind in fields.items() if isinstance(node.get(field), str)]
    for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret"), ("scaleTargetRef", "Deployment")):
        if isinstance(node.get(field), dict):
            own.append((kind, node[field]["name"]))
    return own + [found for value in node.values() for found in references(value)]


def test_a_start_gives_up_before_the_kubelet_does() -> None:
    manifests = render()
    wait = float(one(manifests, "ConfigMap")["data"]["FRAUD_START_SECONDS"])
    probe = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert wait < probe["periodSeconds"] * probe["failureThreshold"]


def test_a_trial_of_new_versions_ends_before_its_pod_does() -> None:
    manifests = render()
    trial = int(one(manifests, "ConfigMap")["data"]["FRAUD_TRIAL_MEMORY_MB"])
    memory = one(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    assert trial < int(memory.removesuffix("Mi"))


def test_commands_of_the_jobs_are_verbs_with_options_that_exist() -> None:
    manifests = render(*settings(mlflow__enabled=True))
    pods = [found["spec"]["jobTemplate"]["spec"]["template"] for found in manifests if found["kind"] == "CronJob"]
    pods += [found["spec"]["template"] for found in manifests if found["kind"] == "Job"]
    containers = [one for pod in pods for part in ("initContainers", "containers") for one in pod["spec"].get(part, [])]
    assert sorted(one["args"][0] for one in containers) == ["refresh", "retrain", "retrain", "simulate"]
    for container in containers:
        cli._parser().parse_args(container["args"])
