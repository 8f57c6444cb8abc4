"""The examples for Spark are what Kubernetes and the command line take; the operator's kind by rules we know."""

import os
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from antifraud.cli import _parser
from tests.helm.chart import ROOT

FOLDER = ROOT / "k8s" / "examples"
SCHEMAS = ROOT / "helm" / "schemas"
VERSION = re.search(r"^pyspark==([0-9.]+)", (ROOT / "requirements" / "spark.txt").read_text(encoding="utf-8"), re.M)
# Fields of sparkoperator.k8s.io/v1beta2 that the example may use.
APPLICATION = {
    "type", "pythonVersion", "mode", "sparkVersion", "image", "imagePullPolicy", "mainApplicationFile", "arguments",
    "sparkConf", "timeToLiveSeconds", "restartPolicy", "volumes", "driver", "executor",
}  # fmt: skip
POD = {
    "cores", "memory", "memoryOverhead", "serviceAccount", "instances", "env", "envFrom", "volumeMounts",
    "securityContext",
}  # fmt: skip


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return found


def application_arguments(arguments: list[str]) -> list[str]:
    return arguments[arguments.index("prepare") :]


def test_the_job_is_what_kubernetes_takes() -> None:
    folders = [os.environ.get("TOOLS", ""), str(ROOT / ".tools" / "bin"), os.environ["PATH"]]
    kubeconform = shutil.which("kubeconform", path=os.pathsep.join(folders))
    if kubeconform is None:
        pytest.skip("kubeconform not found: make tools")
    location = SCHEMAS / "{{.ResourceKind}}{{.KindSuffix}}.json"
    command = [kubeconform, "-strict", "-schema-location", str(location), str(FOLDER / "spark-submit.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_application_has_only_fields_that_the_operator_knows() -> None:
    found = example("spark-prepare.yaml")
    assert (found["apiVersion"], found["kind"]) == ("sparkoperator.k8s.io/v1beta2", "SparkApplication")
    assert set(found["spec"]) <= APPLICATION
    volumes = {volume["name"] for volume in found["spec"]["volumes"]}
    for role in ("driver", "executor"):
        assert set(found["spec"][role]) <= POD
        assert {mount["name"] for mount in found["spec"][role]["volumeMounts"]} <= volumes
    assert all(isinstance(value, str) for value in found["spec"]["sparkConf"].values())


@pytest.mark.parametrize("name", ["spark-prepare.yaml", "spark-submit.yaml"])
def test_the_examples_run_a_command_that_exists(name: str) -> None:
    spec = example(name)["spec"]
    given = spec["arguments"] if "arguments" in spec else spec["template"]["spec"]["containers"][0]["args"]
    options = _parser().parse_args(application_arguments(given))
    assert (options.engine, options.history, options.out) == ("spark", "s3://bank/history", "s3://bank/prepared")


def test_versions_are_the_locked_ones() -> None:
    assert VERSION is not None
    assert example("spark-prepare.yaml")["spec"]["sparkVersion"] == VERSION[1]
    assert f"apache/spark:{VERSION[1]}-" in (FOLDER / "spark.Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["spark-prepare.yaml", "spark-submit.yaml"])
def test_what_travels_and_what_is_spilled_is_encrypted(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for setting in ("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"):
        assert re.search(rf"{re.escape(setting)}(: \"|=)true", text)
