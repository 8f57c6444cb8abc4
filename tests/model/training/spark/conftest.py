"""One Spark session for all tests that need one: a start takes many seconds."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator["SparkSession"]:
    """Spark on two cores of this machine."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: make .venv/spark-installed")
    if shutil.which("java") is None:
        pytest.skip("java is not installed: apt-get install openjdk-17-jre-headless")
    from model.training.spark.session import session

    folder = tmp_path_factory.mktemp("spark")
    settings = {"spark.master": "local[2]", "spark.local.dir": str(folder)}
    with session(memory="1g", settings=settings) as started:
        yield started
