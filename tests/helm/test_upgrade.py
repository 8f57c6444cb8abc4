"""What Kubernetes does not let anybody change stays the same from one release to the next."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.helm.chart import CHART, Manifest, render, settings

LABEL_LIMIT, CRONJOB_LIMIT = 63, 52  # characters of a name: of a Service, of a CronJob (its Jobs get eleven more)
CHANGES: dict[str, dict[str, Any]] = {
    "image": {"image__service__tag": "9.9.9", "image__retrain__tag": "9.9.9"},
    "a setting": {"settings": {"LOG_LEVEL": "debug"}},
    "scaling off": {"autoscaling__enabled": False},
    "monitoring on": {"monitoring__serviceMonitor": True, "monitoring__rules": True, "monitoring__dashboard": True},
    "another registry": {"registry__uri": "https://mlflow.bank.example", "registry__port": 443},
    "resources": {"resources__cpu": "1", "resources__memory": "2Gi", "refresh__resources__memory": "9Gi"},
}


@pytest.fixture(scope="module")
def next_chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with both of its versions raised."""
    folder = tmp_path_factory.mktemp("next") / "antifraud"
    shutil.copytree(CHART, folder, ignore=shutil.ignore_patterns("__pycache__", "checks", "schemas"))
    chart = folder / "Chart.yaml"
    text = chart.read_text(encoding="utf-8")
    assert text.count("0.1.0") == 2
    chart.write_text(text.replace("0.1.0", "9.9.9"), encoding="utf-8")
    return folder


def unchangeable(manifests: list[Manifest]) -> dict[str, Any]:
    """Return what must not differ, by object."""
    found: dict[str, Any] = {}
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        name = f"{kind}/{manifest['metadata']['name']}"
        if kind == "Deployment":
            found[name] = spec["selector"]
        elif kind == "Service":
            found[name] = (spec["selector"], spec["ports"])
        elif kind == "Job":
            found[name] = (spec.get("selector"), spec["template"])
        elif kind in {"PersistentVolumeClaim", "PodDisruptionBudget"}:
            found[name] = spec
    return found


@pytest.mark.parametrize("mlflow", [False, True], ids=["own registry", "with MLflow"])
@pytest.mark.parametrize("change", CHANGES)
def test_selectors_and_claims_stay(change: str, mlflow: bool, next_chart: Path) -> None:
    before = unchangeable(render(*settings(mlflow__enabled=mlflow)))
    after = unchangeable(render("--is-upgrade", *settings(mlflow__enabled=mlflow, **CHANGES[change]), chart=next_chart))
    assert "Deployment/antifraud" in after
    # A Job may go and another come; one that stays must stay as it is.
    lost = {name for name in {*before} - {*after} if not name.startswith("Job/")}
    assert not lost
    assert {name: before[name] for name in after if name in before} == {
        name: after[name] for name in after if name in before
    }


def test_the_bootstrap_is_another_job_for_another_image_and_the_same_one_otherwise() -> None:
    def jobs(**values: Any) -> set[str]:
        return {
            one["metadata"]["name"] for one in render(*settings(mlflow__enabled=True, **values)) if one["kind"] == "Job"
        }

    assert jobs() == jobs(settings={"LOG_LEVEL": "debug"}, mlflow__storage="9Gi")
    for values in ({"image__retrain__tag": "9.9.9"}, {"mlflow__simulate": ["--profile", "bank"]}):
        assert not jobs() & jobs(**values)


def test_every_selector_meets_the_pods_of_its_own_workload_only() -> None:
    manifests = render(*settings(mlflow__enabled=True))
    pods = {
        f"{one['kind']}/{one['metadata']['name']}": pod_labels(one) for one in manifests if pod_labels(one) is not None
    }
    for manifest in manifests:
        if manifest["kind"] == "Deployment":
            wanted = manifest["spec"]["selector"]["matchLabels"]
            met = [name for name, labels in pods.items() if labels and wanted.items() <= labels.items()]
            assert met == [f"Deployment/{manifest['metadata']['name']}"]
        if manifest["kind"] == "Service":
            met = [
                name
                for name, labels in pods.items()
                if labels and manifest["spec"]["selector"].items() <= labels.items()
            ]
            assert met == [f"Deployment/{manifest['metadata']['name']}"]


def pod_labels(manifest: Manifest) -> dict[str, str] | None:
    """Return the labels of the pods that an object makes, None where it makes none."""
    spec = manifest.get("spec", {})
    if manifest["kind"] == "Pod":
        return dict(manifest["metadata"]["labels"])
    if manifest["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return dict(spec["template"]["metadata"]["labels"]) if "template" in spec else None


def test_a_changed_setting_starts_new_pods_and_a_changed_schedule_does_not() -> None:
    def pods(**values: Any) -> Any:
        found = [one for one in render(*settings(**values)) if one["kind"] == "Deployment"]
        return found[0]["spec"]["template"]

    assert pods() != pods(settings={"LOG_LEVEL": "debug"})
    assert pods() == pods(refresh__schedule="5 * * * *", capacity__peakTps=800)


@pytest.mark.parametrize(
    "release",
    ["f", "fraud", "antifraud", "my-antifraud-prod", "a-release-of-the-longest-name-that-helm-accepts-at-al"],
)
def test_names_are_short_enough_for_their_kind_and_unique(release: str) -> None:
    manifests = render(*settings(mlflow__enabled=True), release=release)
    names = [(one["kind"], one["metadata"]["name"]) for one in manifests]
    assert len(set(names)) == len(names)
    for kind, name in names:
        assert len(name) <= (CRONJOB_LIMIT if kind == "CronJob" else LABEL_LIMIT)
        assert name.endswith(tuple("abcdefghijklmnopqrstuvwxyz0123456789"))


def test_rules_meet_the_jobs_whatever_the_release_is_called() -> None:
    for release in ("fraud", "antifraud", "antifraud-prod", "eu-antifraud-2"):
        jobs = {one["metadata"]["name"] for one in render(release=release) if one["kind"] == "CronJob"}
        assert all("antifraud" in name and name.endswith(("-refresh", "-retrain")) for name in jobs)
