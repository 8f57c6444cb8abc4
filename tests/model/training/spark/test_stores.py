"""Both engines read and write S3 and HDFS for real, and agree."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from model.training.addresses import open_address
from model.training.addresses.snapshot import verify
from tests.model.training.spark.dirty import write_dirty

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ENGINES = ("duckdb", "spark")
KEY = "an id key for the tests only"


def upload(folder: Path, address: str) -> None:
    place = open_address(address)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            place.join(path.relative_to(folder).as_posix()).upload(path)


def prepare(engine: str, history: str, out: str, work: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command as people do; each run has a Spark of its own, since credentials are the process's."""
    (work / "id.key").write_text(KEY)
    command = [
        *(sys.executable, "-m", "antifraud", "prepare", "--engine", engine, "--as-of", "data"),
        *("--history", history, "--out", out, "--work-folder", str(work), "--id-key-file", str(work / "id.key")),
        *("--memory-limit", "1GB", "--spark", "spark.master=local[2]", "--spark", f"spark.local.dir={work}"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(address: str) -> dict[str, Any]:
    """Return what a snapshot holds: rows of each table, and the cleaning report."""
    place = open_address(address)
    manifest = place.manifest()
    assert manifest is not None
    verify(place)
    found: dict[str, Any] = {"rows": manifest.about["rows"]}
    for file in place.list_files():
        table = file.name.split("/")[0]
        if file.name.endswith(".parquet"):
            with file.open() as source:
                rows = pq.ParquetFile(source).read().to_pylist()
            found.setdefault(table, []).extend(rows)
        else:
            found[table] = file.open().read()
    return {name: sorted(map(repr, rows)) if isinstance(rows, list) else rows for name, rows in found.items()}


def needs_spark() -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: make .venv/spark-installed")


@pytest.mark.parametrize("store", ["s3", "hdfs"])
def test_both_engines_prepare_a_history_in_a_store_alike(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_spark()
    from stack import servers

    try:
        server = servers.S3(tmp_path / "server") if store == "s3" else servers.Hdfs(tmp_path / "server")
        with server:
            root = _root(server, monkeypatch)
            upload(write_dirty(tmp_path / "history", 3, rows=60), f"{root}/history")
            for engine in ENGINES:
                work = tmp_path / engine
                work.mkdir()
                done = prepare(engine, f"{root}/history", f"{root}/by-{engine}", work)
                assert done.returncode == 0, done.stderr[-3000:]
            assert answers(f"{root}/by-duckdb") == answers(f"{root}/by-spark")
    except servers.Missing as missing:
        pytest.skip(str(missing))


def _root(server: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let this process and its children find a server; return the address of a folder in it."""
    from model.training.spark.session import jars_of_object_store

    if hasattr(server, "hdfs"):
        monkeypatch.setenv("FRAUD_WEBHDFS", server.webhdfs)
        return f"{server.hdfs}/bank"
    if jars_of_object_store() is None:
        pytest.skip("the jars for s3a:// are missing: make spark-jars")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    server.make_bucket("bank")
    return "s3://bank"


def test_a_wrong_secret_is_one_clear_error_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_spark()
    from stack import servers

    try:
        with servers.S3(tmp_path / "server") as server:
            root = _root(server, monkeypatch)
            upload(write_dirty(tmp_path / "history", 3, rows=20), f"{root}/history")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
            done = prepare("spark", f"{root}/history", f"{root}/out", tmp_path)
            assert done.returncode == 1
            assert "antifraud: s3://bank/" in done.stderr
            assert "Traceback" not in done.stderr
            assert "not the secret" not in done.stderr
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
            assert not open_address(f"{root}/out").exists()
    except servers.Missing as missing:
        pytest.skip(str(missing))


def test_no_key_stands_in_sparks_settings() -> None:
    needs_spark()
    from model.training.spark.session import object_store

    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    found = object_store(os.environ | environment)
    assert not [name for name in found if "key" in name or "secret" in name]
    assert found["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:1"
