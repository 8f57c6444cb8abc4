"""The two DAGs of the fraud scoring service, in place of the chart's CronJobs: see `docs/airflow.md`."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from fraud_alerts import run_failed, task_failed
from fraud_tasks import BUSY, REFRESH, REFUSED_BY_GATE, REGISTRY, TRAIN, Place, read_place, verb

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

START = datetime(2026, 1, 1, tzinfo=UTC)  # any day in the past: nothing is caught up with

REFRESH_DOC = """
### Fresh statistics, every hour

The service judges a payment by what the customer and the terminal did in the last 1, 7 and 30 days. This DAG adds the
payments and fraud reports that have come in since the last run. Pods of the service take the new statistics
within half a minute, without a restart.

| what you see | what it means | what to do |
|---|---|---|
| success | published, or nothing new had come in | nothing |
| `refresh` skipped | another refresh was at work (exit code 11) | nothing: the next run makes up for it |
| `refresh` failed | the statistics in use stay and grow older | read the last lines of its log |
| the run timed out | it took 55 minutes | the same; is the history being written as a whole every hour? |

**A missed hour needs nothing.** The next run catches up, so hours are never run after the event; do not backfill.
**How old the statistics really are** is what the service says (`GET /version`, the alert `FraudStatisticsOld` and its
kin): this DAG being green is no proof, as it also is when no payments come in.
"""

RETRAIN_DOC = """
### A new model, if it is good enough, every day

`prepare`, where it is switched on, cleans the history and sums it up; what cannot be read fails there. `train` makes a
challenger from what it wrote, else from the history itself, and holds it against the champion on payments that neither
has seen. `gate` says what was found. `promote` makes the challenger the champion. They hand each other nothing but what
is in the registry and what is prepared, so each can be cleared and run again by itself.

| what you see | what it means | what to do |
|---|---|---|
| all successful | the challenger is the champion | nothing; `antifraud moves` lists it |
| `gate` and `promote` skipped | it did not pass (exit code 10), **not a failure** | the log of `gate` has the reasons |
| `promote` skipped | another job moved the champion meanwhile (exit code 11) | nothing |
| `train` failed | the champion is as it was | read the last lines of its log |
| `gate`, `promote` failed | the registry cannot be reached, or a person rolled this model back | its last line says |

**To take a model back**: `antifraud rollback --why "..."`. Clearing `promote` afterwards does not undo that.
"""


def dag(name: str, *, place: Place, schedule: str, longest: timedelta, doc: str, tags: list[str]) -> DAG:
    """Return an empty DAG with what both have in common: one run at a time, none made up for, alerts."""
    return DAG(
        name,
        schedule=schedule,
        start_date=START,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=longest,
        on_failure_callback=run_failed,
        doc_md=doc,
        tags=["fraud", *tags],
        default_args=defaults(place),
    )


def defaults(place: Place) -> dict[str, Any]:
    """Return how tasks are tried again: after 3, 6, 12 minutes, at most half an hour."""
    return {
        "owner": "fraud",
        "retries": place.retries,
        "retry_delay": timedelta(seconds=place.retry_seconds),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "on_failure_callback": task_failed,
        "pool": place.pool,
    }


def refresh_dag(place: Place) -> DAG:
    """Return the DAG that refreshes the statistics every hour."""
    with dag(
        "fraud_refresh",
        place=place,
        schedule=place.refresh_schedule,
        longest=timedelta(minutes=55),
        doc=REFRESH_DOC,
        tags=["hourly"],
    ) as made:
        verb(
            place,
            "refresh",
            ["refresh", f"--history={place.history}", f"--as-of={place.as_of}"],
            REFRESH,
            skipped=[BUSY],
            doc="Adds what is new to the statistics. Skipped: another refresh is at work.",
        )
    return made


def prepare(place: Place) -> "BaseOperator":
    """Return the task that cleans the history and sums it up before hours are spent on training."""
    return verb(
        place,
        "prepare",
        [
            "prepare",
            f"--history={place.history}",
            f"--out={place.prepare_out}",
            f"--engine={place.prepare_engine}",
            f"--as-of={place.as_of}",
        ],
        TRAIN,
        image=place.prepare_image,
        doc="Writes the cleaned history, hourly tiles and statistics as Parquet, which training reads; what cannot be"
        " read fails here, by name.",
    )


def retrain_dag(place: Place) -> DAG:
    """Return the DAG that trains a challenger every day and promotes it on evidence."""
    with dag(
        "fraud_retrain",
        place=place,
        schedule=place.retrain_schedule,
        longest=timedelta(hours=9),
        doc=RETRAIN_DOC,
        tags=["daily"],
    ) as made:
        train = verb(
            place,
            "train",
            ["retrain", f"--history={place.prepare_out or place.history}", "--leave-champion"],
            TRAIN,
            doc="Trains a challenger on the history, which it cleans unless that is done, registers it, and holds it"
            " against the champion.",
        )
        gate = verb(
            place,
            "gate",
            ["gate"],
            REGISTRY,
            skipped=[REFUSED_BY_GATE],
            doc="Says what was found. Skipped: the challenger did not pass, the champion stays.",
        )
        promote = verb(
            place,
            "promote",
            ["promote"],
            REGISTRY,
            skipped=[REFUSED_BY_GATE, BUSY],
            doc="Makes the challenger the champion, if the champion is still the one it was held against.",
        )
        train >> gate >> promote
        if place.prepare_out:
            prepare(place) >> train
    return made


_PLACE = read_place()
FRAUD_REFRESH = refresh_dag(_PLACE)
FRAUD_RETRAIN = retrain_dag(_PLACE)
