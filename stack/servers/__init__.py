"""Servers of other projects on loopback, each in a folder of its own: for `make stack` and for the tests."""

from stack.servers.hdfs import Hdfs
from stack.servers.kafka import Kafka, Secured
from stack.servers.mlflow import Mlflow
from stack.servers.postgres import Postgres
from stack.servers.programs import Missing
from stack.servers.s3 import S3
from stack.servers.server import Server, ServerError, unused_port
from stack.servers.toxiproxy import Proxy, Toxiproxy

__all__ = [
    "S3",
    "Hdfs",
    "Kafka",
    "Missing",
    "Mlflow",
    "Postgres",
    "Proxy",
    "Secured",
    "Server",
    "ServerError",
    "Toxiproxy",
    "unused_port",
]
