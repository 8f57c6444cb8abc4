"""Run by Airflow's own Python: print what Airflow makes of the DAG files, as JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import BundleDagBag
from kubernetes.client import ApiClient


def facts(task: Any) -> dict[str, Any]:
    """Return what a test wants to know of a task."""
    found = {
        "kind": type(task).__name__,
        "after": sorted(task.upstream_task_ids),
        "retries": task.retries,
        "backoff": bool(task.retry_exponential_backoff),
        "seconds": task.execution_timeout.total_seconds(),
        "skip": list(task.skip_on_exit_code),
        "alerts": [alert.__name__ for alert in _listed(task.on_failure_callback)],
        "explained": bool(task.doc_md),
    }
    if hasattr(task, "build_pod_request_obj"):
        found["pod"] = ApiClient().sanitize_for_serialization(task.build_pod_request_obj())
    return found


def _listed(callbacks: Any) -> list[Any]:
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []


bag = BundleDagBag(dag_folder=sys.argv[1], bundle_path=Path(sys.argv[1]), bundle_name="dags")
dags = {
    name: {
        "catchup": dag.catchup,
        "runs": dag.max_active_runs,
        "seconds": dag.dagrun_timeout.total_seconds(),
        "alerts": [alert.__name__ for alert in _listed(dag.on_failure_callback)],
        "explained": bool(dag.doc_md),
        "tasks": {task.task_id: facts(task) for task in dag.tasks},
    }
    for name, dag in bag.dags.items()
}
ours = sorted({name.partition(".")[0] for name in sys.modules} & {"antifraud", "model", "service"})
print(json.dumps({"errors": bag.import_errors, "dags": dags, "imported": ours}))
