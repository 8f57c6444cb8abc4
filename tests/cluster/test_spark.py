"""`prepare --engine spark` as the example runs it: the driver asks Kubernetes for executors, and one is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stack.servers import S3
from tests.cluster.figures import Report
from tests.cluster.kube import Cluster, eventually
from tests.cluster.spark import EXECUTORS, Preparation, address_towards
from tests.integration.started import started
from tests.model.training.spark.test_equal import assert_equal

pytestmark = pytest.mark.cluster

IMAGE = os.environ.get("CLUSTER_SPARK_IMAGE", "")
ANTIFRAUD = Path(sys.executable).with_name("antifraud")
START_S = 300.0
GONE_S = 120.0
RUN_S = 900.0


@pytest.fixture
def store(cluster: Cluster, tmp_path: Path) -> Iterator[S3]:
    if not IMAGE:
        pytest.skip("no image with Spark: k8s/examples/spark.Dockerfile says how it is built; then SPARK_IMAGE=...")
    with started(S3(tmp_path / "s3", host=address_towards(cluster))) as server:
        server.make_bucket("bank")
        yield server


@pytest.fixture
def preparation(cluster: Cluster, store: S3) -> Iterator[Preparation]:
    apart = replace(cluster, namespace=f"{cluster.namespace}-spark")
    apart.make_namespace()
    yield Preparation(apart, store, IMAGE)
    apart.delete_namespace(wait=False)


def run(store: S3, *arguments: str) -> None:
    """Run a verb on this machine, with the store's addresses and keys."""
    subprocess.run([ANTIFRAUD, *arguments], env={**os.environ, **store.environment()}, check=True, capture_output=True)


def test_a_killed_driver_takes_its_executors_along_and_the_next_prepares_what_duckdb_does(
    preparation: Preparation, store: S3, tmp_path: Path, report: Report
) -> None:
    id_key = tmp_path / "id.key"
    id_key.write_text("a key that only this test knows")
    run(store, "simulate", "--out", "s3://bank/history", "--days", "20", "--dirt", "0.002")
    asked = ["--history", "s3://bank/history", "--as-of", "data", "--id-key-file", str(id_key)]
    run(store, "prepare", "--out", "s3://bank/by-duckdb", "--work-folder", str(tmp_path / "work"), *asked)

    preparation.begin(id_key)
    said = preparation.log
    eventually(lambda: len(preparation.executors()) == EXECUTORS, "executors to run", seconds=START_S, hint=said)
    first, orphans = preparation.driver(), preparation.executors()
    preparation.cluster.kubectl("delete", "pod", first, "--grace-period=0", "--force")
    gone_s = eventually(lambda: not orphans & preparation.executors(), "executors to go", seconds=GONE_S, hint=said)
    took_s = eventually(preparation.ended, "the Job to end", seconds=RUN_S, pause=2, hint=said)

    assert preparation.ended() == "Complete", said()
    assert preparation.driver() != first
    assert "forbidden" not in preparation.cluster.kubectl("logs", "job/antifraud-prepare", "--tail=-1").out
    eventually(lambda: not preparation.executors(), "executors of a run that has ended to go", seconds=GONE_S)
    assert_equal([store.folder / "root" / "bank" / name for name in ("by-duckdb", "prepared")])
    report.note("spark", executors_gone_after_kill_s=round(gone_s, 1), second_run_s=round(took_s, 1))
