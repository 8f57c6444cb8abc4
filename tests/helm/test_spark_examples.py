"""The examples for Spark are what Kubernetes and the command line take; the operator's kind by rules we know."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from antifraud.cli import _parser
from tests.helm.chart import ROOT

FOLDER = ROOT / "k8s" / "examples"
SCHEMAS = ROOT / "helm" / "schemas"
VERSION = re.search(r"^pyspark==([0-9.]+)", (ROOT / "requirements" / "spark.txt").read_text(encoding="utf-8"), re.M)
ROLES = ("driver", "executor")


def objects(name: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a file by their kind."""
    return {one["kind"]: one for one in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))}


def example(name: str) -> dict[str, Any]:
    """Return the object of a file that runs something."""
    found = objects(name)
    return found.get("Job") or found["SparkApplication"]


def executor_template() -> dict[str, Any]:
    """Return the pod that Spark makes executors from, by `spark-submit.yaml`."""
    found: dict[str, Any] = yaml.safe_load(objects("spark-submit.yaml")["ConfigMap"]["data"]["executor.yaml"])
    return found


def application_arguments(arguments: list[str]) -> list[str]:
    return arguments[arguments.index("prepare") :]


@pytest.mark.parametrize("name", ["spark-access.yaml", "spark-submit.yaml", "executor.yaml", "spark-prepare.yaml"])
def test_the_examples_are_what_kubernetes_takes(name: str, tmp_path: Path) -> None:
    if name == "executor.yaml":
        (tmp_path / name).write_text(yaml.safe_dump(executor_template()), encoding="utf-8")
    file = tmp_path / name if name == "executor.yaml" else FOLDER / name
    folders = [os.environ.get("TOOLS", ""), str(ROOT / ".tools" / "bin"), os.environ["PATH"]]
    kubeconform = shutil.which("kubeconform", path=os.pathsep.join(folders))
    if kubeconform is None:
        pytest.skip("kubeconform not found: make tools")
    location = SCHEMAS / "{{.ResourceKind}}{{.KindSuffix}}.json"
    command = [kubeconform, "-strict", "-schema-location", str(location), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_mounted_is_there() -> None:
    application = example("spark-prepare.yaml")["spec"]
    job = example("spark-submit.yaml")["spec"]["template"]["spec"]
    pods = [(application["volumes"], application[role]) for role in ROLES]
    pods += [(pod["volumes"], pod["containers"][0]) for pod in (job, executor_template()["spec"])]
    for volumes, container in pods:
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in volumes}


@pytest.mark.parametrize("name", ["spark-prepare.yaml", "spark-submit.yaml"])
def test_the_examples_run_a_command_that_exists(name: str) -> None:
    spec = example(name)["spec"]
    given = spec["arguments"] if "arguments" in spec else spec["template"]["spec"]["containers"][0]["args"]
    options = _parser().parse_args(application_arguments(given))
    assert (options.engine, options.history, options.out) == ("spark", "s3://bank/history", "s3://bank/prepared")


def test_versions_are_the_locked_ones() -> None:
    assert VERSION is not None
    assert example("spark-prepare.yaml")["spec"]["sparkVersion"] == VERSION[1]
    assert "requirements/spark.txt" in (FOLDER / "spark.Dockerfile").read_text(encoding="utf-8")


def test_drivers_and_executors_are_restricted_pods_that_can_read_the_secrets_they_mount() -> None:
    job = example("spark-submit.yaml")["spec"]["template"]["spec"]
    application = example("spark-prepare.yaml")["spec"]
    pods = [(pod, pod["containers"][0]) for pod in (job, executor_template()["spec"])]
    found = [(pod["securityContext"], container["securityContext"]) for pod, container in pods]
    found += [(application[role]["podSecurityContext"], application[role]["securityContext"]) for role in ROLES]
    for pod_security, security in found:
        assert pod_security == {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        assert security == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip


def test_the_secret_between_drivers_and_executors_stands_in_no_pod() -> None:
    driver = example("spark-submit.yaml")["spec"]["template"]["spec"]
    application = example("spark-prepare.yaml")["spec"]
    where = "/spark-secret/secret"
    assert f"--conf=spark.authenticate.secret.file={where}" in driver["containers"][0]["args"]
    assert application["sparkConf"]["spark.authenticate.secret.file"] == where
    pods = [driver["containers"][0], executor_template()["spec"]["containers"][0], *(application[one] for one in ROLES)]
    for pod in pods:
        assert {"name": "spark-secret", "mountPath": "/spark-secret", "readOnly": True} in pod["volumeMounts"]


@pytest.mark.parametrize("name", ["spark-prepare.yaml", "spark-submit.yaml"])
def test_what_travels_and_what_is_spilled_is_encrypted(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    for setting in ("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"):
        assert re.search(rf"{re.escape(setting)}(: \"|=)true", text)


def run_as_the_image(tmp_path: Path, *words: str, **variables: str) -> list[str]:
    """Return the command that the image's entry point would run for these words."""
    (tmp_path / "tini").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    (tmp_path / "tini").chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SPARK_HOME": "/opt/spark", **variables}
    command = ["bash", str(FOLDER / "spark-entrypoint.sh"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()[2:]


def test_an_executor_is_told_all_that_stands_in_its_environment(tmp_path: Path) -> None:
    told = {
        "SPARK_DRIVER_URL": "spark://driver", "SPARK_EXECUTOR_ID": "7", "SPARK_EXECUTOR_CORES": "4",
        "SPARK_APPLICATION_ID": "spark-1", "SPARK_EXECUTOR_POD_IP": "10.0.0.7", "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_EXECUTOR_POD_NAME": "exec-7",
    }  # fmt: skip
    options = {"SPARK_JAVA_OPT_0": "-Dfirst=with a space", "SPARK_JAVA_OPT_10": "-Dtenth=1"}
    command = run_as_the_image(tmp_path, "executor", SPARK_EXECUTOR_MEMORY="12g", **told, **options)
    main = command.index("org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend")
    assert command[0] == "java"
    assert {*options.values(), "-Xms12g", "-Xmx12g"} <= set(command[:main])
    assert "/opt/spark/jars/*" in command[main - 1].split(":")
    given = dict(zip(command[main + 1 :: 2], command[main + 2 :: 2], strict=True))
    assert list(given.values()) == list(told.values())


def test_a_driver_is_submitted_and_any_other_command_runs_as_it_is(tmp_path: Path) -> None:
    address = {"SPARK_DRIVER_BIND_ADDRESS": "10.0.0.5"}
    command = run_as_the_image(tmp_path, "driver", "--properties-file", "a b", "main.py", **address)
    assert command[0] == "/opt/spark/bin/spark-submit"
    assert "spark.driver.bindAddress=10.0.0.5" in command
    assert command[-3:] == ["--properties-file", "a b", "main.py"]
    assert run_as_the_image(tmp_path, "echo", "a b") == ["echo", "a b"]
