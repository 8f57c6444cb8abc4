"""How one task of the DAGs runs: as a pod of the product's image, or as a command on the worker itself.

Everything a bank sets is one Airflow Variable, `antifraud`, a JSON object; `docs/airflow.md` lists its keys. Nothing of
the product is imported here: a task is a verb of its command line, and what the verb says is its exit code.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Variable

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

VARIABLE = "antifraud"
REFUSED_BY_GATE, BUSY = 10, 11
"""Exit codes that are no failures: the champion stays; another job is at work."""

KUBERNETES, LOCAL = "kubernetes", "local"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and on what the jobs run; the defaults are those of the chart for a release named `antifraud`."""

    runner: str = KUBERNETES
    """`kubernetes`: each task is a pod. `local`: each task is a command on the worker, for a laptop and for tests."""
    history: str = "/history"
    as_of: str = "now"
    refresh_schedule: str = "2 * * * *"
    retrain_schedule: str = "30 3 * * *"
    retries: int = 2
    retry_seconds: int = 180
    """Longer than the 150 seconds that the lock of a killed job outlives it."""
    pool: str = "default_pool"
    prepare_out: str = ""
    """Address that `antifraud prepare` writes to; empty: no such task."""
    prepare_engine: str = "duckdb"

    command: str = "antifraud"
    """How `antifraud` is called on the worker, with the runner `local`."""

    image: str = "localhost/antifraud-retrain:0.1.0"
    namespace: str = "fraud"
    release: str = "antifraud"
    prepare_image: str = ""
    """Image of the task `prepare` where it is another, with Spark in it for example."""
    history_claim: str = "antifraud-history"
    """Claim mounted at /history; empty where the history lies in an object store."""
    id_key_secret: str = "antifraud-id-key"
    registry_secret: str = ""
    store_secret: str = ""
    """Secret with `AWS_...` of an object store, for what reads the history."""
    pull_secret: str = ""
    kubernetes_connection: str = "kubernetes_default"
    resources: dict[str, dict[str, str]] = field(default_factory=dict)
    """For `refresh`, `train` or `registry`: `cpu`, `memory`, `scratch` that differ from the chart's defaults."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a kind of task needs of a machine, as the chart's CronJobs do.

    Attributes
    ----------
    name
        Its key in `resources`.
    component
        Label by which the chart's NetworkPolicies know the pod.
    reads_history
        Whether it sees the history and the key that ids are hashed with; what only moves aliases does not.
    keeps_state
        Whether its work folder lasts from run to run.
    """

    name: str
    component: str
    cpu: str
    memory: str
    scratch: str
    longest: timedelta
    reads_history: bool = True
    keeps_state: bool = False


REFRESH = Job("refresh", "refresh", "1", "6Gi", "20Gi", timedelta(minutes=30), keeps_state=True)
TRAIN = Job("train", "retrain", "2", "12Gi", "40Gi", timedelta(hours=4))
REGISTRY = Job("registry", "retrain", "250m", "1Gi", "1Gi", timedelta(minutes=15), reads_history=False)


def read_place() -> Place:
    """Return what the Variable `antifraud` says, or the defaults where there is none.

    Raises
    ------
    ValueError
        A key is unknown or its value is of another kind; Airflow shows this as an import error of the DAG file.
    """
    given = Variable.get(VARIABLE, default={}, deserialize_json=True)
    if not isinstance(given, Mapping):
        raise ValueError(f"the Variable {VARIABLE} must be a JSON object, such as {{'runner': 'local'}}")
    kinds = {one.name: dict if one.default is MISSING else type(one.default) for one in fields(Place)}
    unknown = sorted(given.keys() - kinds.keys())
    if unknown:
        raise ValueError(f"the Variable {VARIABLE}: there is no key {', '.join(unknown)}; known: {', '.join(kinds)}")
    for name, value in given.items():
        if type(value) is not kinds[name]:
            raise ValueError(f"the Variable {VARIABLE}: {name} must be of type {kinds[name].__name__}")
    place = Place(**given)
    if place.runner not in (KUBERNETES, LOCAL):
        raise ValueError(f"the Variable {VARIABLE}: runner must be {KUBERNETES} or {LOCAL}")
    _check_resources(place.resources)
    return place


def _check_resources(resources: Mapping[str, Any]) -> None:
    jobs, amounts = {job.name for job in (REFRESH, TRAIN, REGISTRY)}, {"cpu", "memory", "scratch"}
    for name, given in resources.items():
        fits = name in jobs and isinstance(given, Mapping) and given.keys() <= amounts
        if not fits or not all(isinstance(amount, str) for amount in given.values()):
            raise ValueError(
                f"the Variable {VARIABLE}: resources must give {', '.join(sorted(jobs))} an object of texts for"
                f" {', '.join(sorted(amounts))}, such as {{'train': {{'memory': '24Gi'}}}}"
            )


def verb(
    place: Place,
    name: str,
    arguments: Sequence[str],
    job: Job,
    *,
    skipped: Sequence[int] = (),
    image: str = "",
    doc: str,
) -> "BaseOperator":
    """Return the task that runs one verb of `antifraud`.

    Parameters
    ----------
    name
        The task's id.
    arguments
        The verb and its options.
    skipped
        Exit codes after which the task, and what hangs on it, is skipped; every other code but 0 is tried again.
    image
        Another image than that of the place.
    doc
        What it does and what its failure means, shown beside the task.
    """
    common = {
        "task_id": name,
        "skip_on_exit_code": list(skipped),
        "execution_timeout": job.longest + timedelta(minutes=5),
        "doc_md": doc,
        "do_xcom_push": False,
    }
    if place.runner == LOCAL:
        return _command(place, arguments, common)
    sized = replace(job, **place.resources.get(job.name, {}))
    return _pod(place, arguments, sized, {"image": image or place.image} | common)


def _command(place: Place, arguments: Sequence[str], common: Mapping[str, Any]) -> "BaseOperator":
    from airflow.providers.standard.operators.bash import BashOperator

    # exec: a task that is stopped tells the command itself, which then cleans up after itself.
    words = shlex.join([*shlex.split(place.command), *arguments])
    return BashOperator(bash_command=f"exec {words}", **common)


def _pod(place: Place, arguments: Sequence[str], job: Job, common: Mapping[str, Any]) -> "BaseOperator":
    # Only where it is used: the client of Kubernetes takes a second or two to import.
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

    return KubernetesPodOperator(
        kubernetes_conn_id=place.kubernetes_connection,
        namespace=place.namespace,
        name=f"{place.release}-{common['task_id']}",
        arguments=list(arguments),
        base_container_name=job.component,
        pod_template_dict=pod_template(place, job),
        # Should the worker die, the next try finds the pod and goes on waiting for it; should both die, the pod ends.
        active_deadline_seconds=int(job.longest.total_seconds()),
        startup_timeout_seconds=600,
        on_finish_action="delete_pod",  # its log is in Airflow's
        log_events_on_failure=True,
        log_pod_spec_on_failure=False,
        automount_service_account_token=False,
        **common,
    )


def pod_template(place: Place, job: Job) -> dict[str, Any]:
    """Return the pod without image and arguments, the same as in the chart's CronJobs."""
    labels = {"name": "antifraud", "instance": place.release, "component": job.component, "part-of": "antifraud"}
    volumes = _volumes(place, job)
    secrets = [place.registry_secret, place.store_secret if job.reads_history else ""]
    container = {
        "name": job.component,
        "imagePullPolicy": "IfNotPresent",
        "envFrom": [
            {"configMapRef": {"name": f"{place.release}-jobs"}},
            *({"secretRef": {"name": secret}} for secret in secrets if secret),
        ],
        "resources": {
            "requests": {"cpu": job.cpu, "memory": job.memory, "ephemeral-storage": "1Gi"},
            "limits": {"memory": job.memory, "ephemeral-storage": job.scratch},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount for mount, _ in volumes],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [volume for _, volume in volumes],
    }
    if place.pull_secret:
        spec["imagePullSecrets"] = [{"name": place.pull_secret}]
    metadata = {"labels": {f"app.kubernetes.io/{key}": value for key, value in labels.items()}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _volumes(place: Place, job: Job) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each mount with its volume."""
    state = {"persistentVolumeClaim": {"claimName": f"{place.release}-refresh-state"}}
    key = {"secret": {"secretName": place.id_key_secret, "defaultMode": 0o440}}
    history = {"persistentVolumeClaim": {"claimName": place.history_claim, "readOnly": True}}
    found = [
        _mounted("work", "/cache", state if job.keeps_state else {"emptyDir": {"sizeLimit": job.scratch}}),
        _mounted("tmp", "/tmp", {"emptyDir": {"sizeLimit": "256Mi"}}),  # noqa: S108 - of a pod
    ]
    if job.reads_history:
        found.append(_mounted("id-key", "/secrets", key, readOnly=True))
    if job.reads_history and place.history_claim:
        found.append(_mounted("history", "/history", history, readOnly=True))
    return found


def _mounted(name: str, path: str, volume: Mapping[str, Any], **how: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"name": name, "mountPath": path} | how, {"name": name, **volume}
