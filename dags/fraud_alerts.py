"""Whoever is on duty hears of a task that failed for good and of a run that took too long."""

import json
import logging
import urllib.request
from typing import Any

from airflow.sdk import Connection

CONNECTION = "antifraud_alerts"
TIMEOUT_SECONDS = 10
LONGEST_ERROR = 500

log = logging.getLogger(__name__)


def task_failed(context: dict[str, Any]) -> None:
    """Tell that a task failed and is not tried again."""
    task = context["task_instance"]
    error = str(context.get("exception") or "no reason given").strip()
    tell(
        f"{task.dag_id}: the task {task.task_id} failed after {task.try_number} tries",
        dag=task.dag_id,
        task=task.task_id,
        run=task.run_id,
        error=error.splitlines()[0][:LONGEST_ERROR] if error else "",
        log=str(getattr(task, "log_url", "") or ""),
    )


def run_failed(context: dict[str, Any]) -> None:
    """Tell that a run took too long; of one in which a task failed, the task has told already."""
    if context.get("reason") != "timed_out":
        return
    run = context["dag_run"]
    tell(f"{run.dag_id}: the run {run.run_id} took too long and was ended", dag=run.dag_id, run=run.run_id)


def tell(text: str, **facts: str) -> bool:
    """Post an alert to the address of the connection `antifraud_alerts`, and log it in any case.

    The body is a JSON object with `text`, which chat systems show, and the facts beside it. An alert that cannot be
    posted is logged as an error and never stops Airflow. The address may be a secret and is not logged.

    Returns
    -------
    bool
        Whether somebody took it.
    """
    log.error("ALERT %s %s", text, facts)
    try:
        connection = Connection.get(CONNECTION)
    except Exception as error:  # each way of keeping connections has errors of its own for one that is not there
        log.warning("alert not posted: there is no connection %s (%s)", CONNECTION, type(error).__name__)
        return False
    try:
        with urllib.request.urlopen(_request(connection, {"text": text} | facts), timeout=TIMEOUT_SECONDS):  # noqa: S310
            return True
    except (OSError, ValueError) as error:
        log.error("alert not posted to the connection %s: %s", CONNECTION, type(error).__name__)
        return False


def _request(connection: Connection, body: dict[str, str]) -> urllib.request.Request:
    """Return the call: `host` of the connection is the whole address, `password`, if any, goes as a bearer token."""
    address = connection.host or ""
    if not address.startswith(("http://", "https://")):
        raise ValueError("the host must be an address that begins with http:// or https://")
    headers = {"Content-Type": "application/json"}
    if connection.password:
        headers["Authorization"] = f"Bearer {connection.password}"
    return urllib.request.Request(address, json.dumps(body).encode(), headers, method="POST")  # noqa: S310
