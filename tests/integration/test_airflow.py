"""A real Airflow parses the DAGs and runs them end to end, on a simulated bank against a real registry."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from model.registry import CHALLENGER, CHAMPION, CURRENT, MODEL_NAME, STATISTICS_NAME, open_publisher
from tests.integration.mlflow_server import mlflow_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
AIRFLOW = ROOT / ".venv-airflow"
ANTIFRAUD = Path(sys.executable).with_name("antifraud")
ID_KEY = "a key that only these tests know"
TOKEN = "token-of-the-duty-desk"  # noqa: S105
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "users": [{"name": "none", "user": {}}],
}


@dataclass(frozen=True)
class Airflow:
    """An Airflow with a database of its own; `place` is what the Variable `antifraud` says."""

    home: Path
    environment: Mapping[str, str]
    readings: dict[str, dict[str, Any]] = field(default_factory=dict)

    def run(
        self,
        *words: str,
        place: Mapping[str, object] | None = None,
        code: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        given = {} if place is None else {"AIRFLOW_VAR_ANTIFRAUD": json.dumps(place)}
        command = [str(AIRFLOW / "bin" / words[0]), *words[1:]]
        everything = {**self.environment, **given, **(environment or {})}
        done = subprocess.run(
            command, env=everything, cwd=self.home, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == code, (done.stdout + done.stderr)[-4000:]
        return done

    def parsed(self, place: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return what Airflow makes of the DAG files; the same is asked once only."""
        known = json.dumps(place)
        if known not in self.readings:
            script = Path(__file__).with_name("airflow_dags.py")
            done = self.run("python", str(script), str(DAGS), place=place)
            self.readings[known] = json.loads(done.stdout.splitlines()[-1])
        return self.readings[known]

    def test(
        self, dag: str, place: Mapping[str, object], environment: Mapping[str, str] | None = None, *, code: int = 0
    ) -> str:
        """Run a DAG from beginning to end and return what was logged."""
        done = self.run("airflow", "dags", "test", dag, place=place, code=code, environment=environment)
        return done.stdout + done.stderr

    def last(self, dag: str) -> tuple[str, dict[str, tuple[str, int]]]:
        """Return how the last run of a DAG ended, and of each task the state and the number of tries."""
        with sqlite3.connect(self.home / "airflow.db") as database:
            ((run, state),) = database.execute(
                "SELECT run_id, state FROM dag_run WHERE dag_id = ? ORDER BY id DESC LIMIT 1", (dag,)
            ).fetchall()
            tasks = database.execute(
                "SELECT task_id, state, try_number FROM task_instance WHERE dag_id = ? AND run_id = ?", (dag, run)
            ).fetchall()
        database.close()
        return state, {task: (found, tries) for task, found, tries in tasks}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    if not (AIRFLOW / "installed").exists():
        pytest.skip("Airflow is not installed: make .venv-airflow/installed")
    home = tmp_path_factory.mktemp("airflow")
    (home / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FRAUD_", "AIRFLOW", "PYTHON"))}
    environment = kept | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "KUBECONFIG": str(home / "kubeconfig"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    made = Airflow(home, environment)
    made.run("airflow", "db", "migrate")
    return made


# --- what Airflow reads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("runner", ["kubernetes", "local"])
def test_both_dags_are_read_without_an_error(airflow: Airflow, runner: str) -> None:
    found = airflow.parsed(None if runner == "kubernetes" else {"runner": runner})  # pods are the default
    assert found["errors"] == {}
    assert found["imported"] == []
    assert sorted(found["dags"]) == ["fraud_refresh", "fraud_retrain"]
    for dag in found["dags"].values():
        assert (dag["catchup"], dag["runs"], dag["alerts"], dag["explained"]) == (False, 1, ["run_failed"], True)
        for task in dag["tasks"].values():
            assert task["kind"] == {"kubernetes": "KubernetesPodOperator", "local": "BashOperator"}[runner]
            assert (task["retries"], task["backoff"], task["alerts"]) == (2, True, ["task_failed"])
            assert task["explained"]
            assert 0 < task["seconds"] < dag["seconds"]
    chain = found["dags"]["fraud_retrain"]["tasks"]
    assert {name: task["after"] for name, task in chain.items()} == {
        "train": [],
        "gate": ["train"],
        "promote": ["gate"],
    }
    assert {name: task["skip"] for name, task in chain.items()} == {"train": [], "gate": [10], "promote": [10, 11]}
    assert found["dags"]["fraud_refresh"]["tasks"]["refresh"]["skip"] == [11]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ({"imgae": "x"}, "there is no key imgae; known: runner, history"),
        ({"runner": "docker"}, "runner must be kubernetes or local"),
        ({"retries": "2"}, "retries must be of type int"),
        ([1], "must be a JSON object"),
        ({"resources": {"train": {"memory": 24}}}, "resources must give refresh, registry, train an object of texts"),
    ],
)
def test_a_mistake_in_the_variable_is_an_import_error_that_names_it(airflow: Airflow, place: Any, said: str) -> None:
    found = airflow.parsed(place)
    assert found["dags"] == {}
    assert said in "".join(found["errors"].values())


# --- pods -------------------------------------------------------------------------------------------------------------


def cronjob(name: str) -> dict[str, Any]:
    """Return the pod of a CronJob, as the chart renders it with its default values."""
    documents = yaml.safe_load_all((ROOT / "k8s" / "jobs.yaml").read_text(encoding="utf-8"))
    job = next(one for one in documents if one["kind"] == "CronJob" and one["metadata"]["name"] == name)
    return dict(job["spec"]["jobTemplate"]["spec"]["template"])


def essence(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return what matters of a pod in a form that can be compared: lists by name, text for numbers."""
    spec = pod["spec"]
    (container,) = spec["containers"]
    kept = {name: spec[name] for name in ("restartPolicy", "automountServiceAccountToken", "enableServiceLinks")}
    kept |= {name: container[name] for name in ("name", "image", "imagePullPolicy", "envFrom", "securityContext")}
    resources = {
        kind: {name: str(value) for name, value in amounts.items()} for kind, amounts in container["resources"].items()
    }
    labels = {
        name: value
        for name, value in pod["metadata"]["labels"].items()
        if name.removeprefix("app.kubernetes.io/") in ("name", "instance", "component")
    }
    return kept | {
        "pod_security": spec["securityContext"],
        "resources": resources,
        "labels": labels,
        "mounts": {one["name"]: one for one in container["volumeMounts"]},
        "volumes": {one["name"]: one for one in spec["volumes"]},
    }


@pytest.mark.parametrize(
    ("dag", "task", "name", "arguments"),
    [
        ("fraud_refresh", "refresh", "antifraud-refresh", ["refresh", "--history=/history", "--as-of=now"]),
        ("fraud_retrain", "train", "antifraud-retrain", ["retrain", "--history=/history", "--leave-champion"]),
    ],
)
def test_a_pod_is_the_same_as_that_of_the_charts_cronjob(
    airflow: Airflow, dag: str, task: str, name: str, arguments: list[str]
) -> None:
    pod = airflow.parsed()["dags"][dag]["tasks"][task]["pod"]
    assert essence(pod) == essence(cronjob(name))
    assert pod["spec"]["containers"][0]["args"] == arguments
    assert not pod["spec"]["containers"][0].get("command")  # the image's own entry point
    assert pod["spec"]["activeDeadlineSeconds"] > 0
    assert pod["metadata"]["namespace"] == "fraud"


def test_a_preparation_comes_first_where_it_is_asked_for(airflow: Airflow) -> None:
    place = {
        "history": "s3://bank/history",
        "history_claim": "",
        "store_secret": "bank-store",
        "prepare_out": "s3://bank/prepared",
        "prepare_engine": "spark",
        "prepare_image": "registry.bank.example/spark:1",
        "resources": {"train": {"memory": "24Gi"}},
    }
    tasks = airflow.parsed(place)["dags"]["fraud_retrain"]["tasks"]
    assert (tasks["prepare"]["after"], tasks["train"]["after"]) == ([], ["prepare"])
    spec = tasks["prepare"]["pod"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == "registry.bank.example/spark:1"
    assert container["args"][:4] == [
        "prepare",
        "--history=s3://bank/history",
        "--out=s3://bank/prepared",
        "--engine=spark",
    ]
    assert container["resources"]["limits"] == {"memory": "24Gi", "ephemeral-storage": "40Gi"}
    assert {"secretRef": {"name": "bank-store"}} in container["envFrom"]
    assert {volume["name"] for volume in spec["volumes"]} == {"work", "tmp", "id-key"}
    (container,) = tasks["train"]["pod"]["spec"]["containers"]
    assert container["image"] == "localhost/antifraud-retrain:0.1.0"
    assert container["args"] == ["retrain", "--history=s3://bank/prepared", "--leave-champion"]
    assert {"secretRef": {"name": "bank-store"}} in container["envFrom"]


def test_what_only_moves_aliases_sees_neither_history_nor_key(airflow: Airflow) -> None:
    place = {
        "image": "registry.bank.example/retrain:1",
        "registry_secret": "mlflow-token",
        "store_secret": "bank-store",
        "pull_secret": "registry",
    }
    tasks = airflow.parsed(place)["dags"]["fraud_retrain"]["tasks"]
    for name in ("gate", "promote"):
        spec = tasks[name]["pod"]["spec"]
        assert {volume["name"] for volume in spec["volumes"]} == {"work", "tmp"}
        (container,) = spec["containers"]
        assert container["args"] == [name]
        assert container["image"] == "registry.bank.example/retrain:1"
        assert [source["secretRef"]["name"] for source in container["envFrom"][1:]] == ["mlflow-token"]
        assert spec["imagePullSecrets"] == [{"name": "registry"}]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert tasks[name]["pod"]["metadata"]["labels"]["app.kubernetes.io/component"] == "retrain"


# --- from beginning to end --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Desk:
    """Who is on duty: an address that alerts are posted to, and what came."""

    address: str
    posts: list[tuple[str, dict[str, str]]]

    @property
    def connection(self) -> str:
        return json.dumps({"conn_type": "http", "host": self.address, "password": TOKEN})


@pytest.fixture
def desk() -> Iterator[Desk]:
    posts: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posts.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Desk(f"http://127.0.0.1:{server.server_port}/alerts", posts)
        finally:
            server.shutdown()
            thread.join()


def test_both_dags_run_end_to_end_and_a_refused_challenger_is_no_failure(
    airflow: Airflow, history: Path, desk: Desk, tmp_path: Path
) -> None:
    days = sorted(history.glob("*.parquet"))
    (tmp_path / "history").mkdir()
    for day in days[:-1]:
        shutil.copy(day, tmp_path / "history")
    place = {
        "runner": "local",
        "history": str(tmp_path / "history"),
        "as_of": "data",
        "command": str(ANTIFRAUD),
        "retry_seconds": 1,
        "prepare_out": str(tmp_path / "prepared"),
    }
    (tmp_path / "server").mkdir()
    with mlflow_server(tmp_path / "server") as uri:
        publisher = open_publisher(uri)
        product = {
            "FRAUD_TRACKING_URI": uri,
            "FRAUD_ID_KEY": ID_KEY,
            "FRAUD_WORK_FOLDER": str(tmp_path / "work"),
            "FRAUD_TREES": "40",
            "FRAUD_GATE_RESAMPLES": "200",
            "AIRFLOW_CONN_ANTIFRAUD_ALERTS": desk.connection,
        }

        def aliases() -> tuple[str | None, ...]:
            named = (MODEL_NAME, CHAMPION), (MODEL_NAME, CHALLENGER), (STATISTICS_NAME, CURRENT)
            found = [publisher.find_alias(*one) for one in named]
            return tuple(version.version if version else None for version in found)

        logged = airflow.test("fraud_retrain", place, product)
        assert "PROMOTED: fraud-model version 1 is the champion now" in logged
        assert airflow.last("fraud_retrain") == (
            "success",
            dict.fromkeys(("prepare", "train", "gate", "promote"), ("success", 1)),
        )
        assert (tmp_path / "prepared" / "_manifest.json").is_file()
        assert aliases() == ("1", "1", "1")
        before = publisher.find_alias(STATISTICS_NAME, CURRENT)

        shutil.copy(days[-1], tmp_path / "history")
        logged = airflow.test("fraud_refresh", place, product)
        assert "PUBLISHED: fraud-statistics version 2 is current" in logged
        assert airflow.last("fraud_refresh") == ("success", {"refresh": ("success", 1)})
        after = publisher.find_alias(STATISTICS_NAME, CURRENT)
        assert before is not None
        assert after is not None
        assert after.tags["as_of"] > before.tags["as_of"]

        poor = product | {"FRAUD_TREES": "1", "FRAUD_LEAVES": "2"}
        logged = airflow.test("fraud_retrain", place, poor)
        assert "NOT PASSED: fraud-model version 2, held against champion version 1" in logged
        state, tasks = airflow.last("fraud_retrain")
        assert state == "success"
        assert tasks["prepare"] == tasks["train"] == ("success", 1)  # what was prepared before is replaced
        assert tasks["gate"] == ("skipped", 1)
        assert tasks["promote"][0] == "skipped"
        assert aliases()[:2] == ("1", "2")
    assert desk.posts == []


def test_a_task_that_fails_is_tried_again_and_then_somebody_is_told(
    airflow: Airflow, desk: Desk, tmp_path: Path
) -> None:
    place = {
        "runner": "local",
        "history": str(tmp_path / "nowhere"),
        "command": str(ANTIFRAUD),
        "retries": 1,
        "retry_seconds": 1,
    }
    product = {
        "FRAUD_ID_KEY": ID_KEY,
        "FRAUD_WORK_FOLDER": str(tmp_path / "work"),
        "AIRFLOW_CONN_ANTIFRAUD_ALERTS": desk.connection,
    }
    logged = airflow.test("fraud_refresh", place, product, code=1)
    assert logged.count("there is no such file or folder") == 2
    assert airflow.last("fraud_refresh") == ("failed", {"refresh": ("failed", 2)})
    ((token, body),) = desk.posts
    assert token == f"Bearer {TOKEN}"
    assert body["text"] == "fraud_refresh: the task refresh failed after 2 tries"
    assert (body["dag"], body["task"]) == ("fraud_refresh", "refresh")
    assert "exit code 1" in body["error"]
    assert desk.address not in logged
    assert TOKEN not in logged


ALERT = """
import fraud_alerts
from types import SimpleNamespace as Run
run = Run(dag_id="fraud_refresh", run_id="of three")
fraud_alerts.run_failed({"reason": "task_failure", "dag_run": run})
fraud_alerts.run_failed({"reason": "timed_out", "dag_run": run})
"""


def told(airflow: Airflow, connection: Mapping[str, str] | None) -> str:
    """Let a run take too long, and return what is logged of it."""
    given = {} if connection is None else {"AIRFLOW_CONN_ANTIFRAUD_ALERTS": json.dumps(connection)}
    done = airflow.run("python", "-c", ALERT, environment={"PYTHONPATH": str(DAGS)} | given)
    return done.stdout + done.stderr


def test_a_run_that_took_too_long_is_told_once_and_one_with_a_failed_task_is_not(airflow: Airflow, desk: Desk) -> None:
    told(airflow, json.loads(desk.connection))
    ((_, body),) = desk.posts
    assert body["text"] == "fraud_refresh: the run of three took too long and was ended"


@pytest.mark.parametrize(
    ("connection", "said"),
    [
        (None, "alert not posted: there is no connection antifraud_alerts"),
        ({"conn_type": "http", "host": "http://127.0.0.1:1/closed"}, "alert not posted to the connection"),
        ({"conn_type": "http", "host": "desk.bank.example"}, "alert not posted to the connection"),
    ],
    ids=["none", "closed", "no address"],
)
def test_an_alert_that_cannot_be_posted_stops_nothing_and_is_in_the_log(
    airflow: Airflow, connection: dict[str, str] | None, said: str
) -> None:
    logged = told(airflow, connection)
    assert "ALERT fraud_refresh: the run of three took too long" in logged
    assert said in logged
    assert "closed" not in logged


def test_a_refresh_that_finds_another_at_work_is_skipped_and_not_tried_again(airflow: Airflow, desk: Desk) -> None:
    place = {"runner": "local", "command": "bash -c 'exit 11'", "retry_seconds": 1}
    airflow.test("fraud_refresh", place, {"AIRFLOW_CONN_ANTIFRAUD_ALERTS": desk.connection})
    assert airflow.last("fraud_refresh") == ("success", {"refresh": ("skipped", 1)})
    assert desk.posts == []


def test_a_training_that_finds_another_at_work_is_tried_again(airflow: Airflow, desk: Desk) -> None:
    """The lock of a killed training outlives it; a day's model is not to be lost for that."""
    place = {"runner": "local", "command": "bash -c 'exit 11'", "retries": 1, "retry_seconds": 1}
    airflow.test("fraud_retrain", place, {"AIRFLOW_CONN_ANTIFRAUD_ALERTS": desk.connection}, code=1)
    state, tasks = airflow.last("fraud_retrain")
    assert (state, tasks["train"]) == ("failed", ("failed", 2))
    assert tasks["gate"][0] == tasks["promote"][0] == "upstream_failed"
    assert [body["task"] for _, body in desk.posts] == ["train"]
