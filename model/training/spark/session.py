"""The Spark session: what cleaning needs of it, wherever it runs."""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyspark
from pyspark.sql import SparkSession

JARS = Path(".tools/spark-jars")  # where `make spark-jars` puts what s3a:// needs
JARS_VARIABLE = "FRAUD_SPARK_JARS"
LOCAL = "local[*]"
# What results rest on: these are set whatever the cluster's defaults are.
MEANING = {
    "spark.sql.ansi.enabled": "true",  # a number that does not fit is an error, not another number
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "false",  # a moment without a zone is UTC
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.adaptive.skewJoin.enabled": "true",
    # Most keys have few rows in a task: a small table before the large one only costs.
    "spark.sql.codegen.aggregate.map.twolevel.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    # A task that writes rows of a few days keeps a file of each open instead of sorting them.
    "spark.sql.maxConcurrentOutputFileWriters": "64",
    "spark.sql.parquet.compression.codec": "zstd",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
# What belongs to the process: only a session that starts here takes these.
_LOCAL_PROCESS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "4g",
    "spark.sql.warehouse.dir": f"file://{tempfile.gettempdir()}/antifraud-warehouse",  # stays empty
}
# The usual chain of AWS: environment, files, and what a machine or a service account is given.
_CREDENTIALS = "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider"
_COMMITS = "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs"


@contextmanager
def session(*, memory: str = "", settings: Mapping[str, str] | None = None) -> Iterator[SparkSession]:
    """Open a session for one run: the one that `spark-submit` describes, or one of this process on all its cores.

    Parameters
    ----------
    memory
        Heap of the Java process, such as `4g`; on a cluster that of the driver. Nothing: 4 GB, or what was submitted.
    settings
        Settings of Spark above all others, by their names (`spark.executor.memory`).
    """
    builder = SparkSession.builder.appName("antifraud prepare")
    for name, value in _configuration(memory, settings or {}).items():
        builder = builder.config(name, value)
    # Nothing here goes through pandas.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        yield spark
    finally:
        spark.stop()


def _configuration(memory: str, settings: Mapping[str, str]) -> dict[str, str]:
    found = {**MEANING, _COMMITS: "false", **object_store(os.environ)}
    if not is_submitted() and settings.get("spark.master", LOCAL).startswith("local"):
        found |= {"spark.master": LOCAL, **_LOCAL_PROCESS}
        if jars := jars_of_object_store():
            found["spark.driver.extraClassPath"] = f"{jars}/*"
    if memory:
        found["spark.driver.memory"] = memory
    return found | dict(settings)


def is_submitted() -> bool:
    """Say whether `spark-submit` started this process, and so has said where to run."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def jars_of_object_store() -> Path | None:
    """Return the folder of jars for s3a:// that this machine has: `FRAUD_SPARK_JARS`, or that of `make spark-jars`."""
    folder = Path(os.environ.get(JARS_VARIABLE, JARS)).absolute()
    return folder if any(folder.glob("hadoop-aws-*.jar")) else None


def object_store(environment: Mapping[str, str]) -> dict[str, str]:
    """Return Spark's settings for s3a:// addresses, from the variables that every client of S3 reads.

    Keys themselves are not among them: Spark's own provider takes them from the environment, or from the machine's or
    the service account's identity, so that they stand in no configuration that Spark shows or logs.
    """
    found = {"spark.hadoop.fs.s3a.aws.credentials.provider": _CREDENTIALS}
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if endpoint:
        found |= {
            "spark.hadoop.fs.s3a.endpoint": endpoint,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": str(endpoint.startswith("https")).lower(),
        }
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if region or endpoint:
        found["spark.hadoop.fs.s3a.endpoint.region"] = region or "us-east-1"
    return found


def version() -> str:
    """Return the version of Spark."""
    return str(pyspark.__version__)
