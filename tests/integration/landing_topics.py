"""Topics with committed, aborted and broken records, and what a committed reader finds in them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

Place = tuple[int, int]  # partition and offset


def decision(number: int) -> bytes:
    """Return a decision on the transaction of this number."""
    fields: dict[str, Any] = {
        "transaction_id": number,
        "decision": "review",
        "score": 0.5,
        "reasons": [{"code": "NIGHT", "text": "It is night", "contribution": 1.0, "features": {"is_night": 1.0}}],
        "customer_known": True,
        "terminal_known": True,
        "model_version": "7",
        "statistics_as_of": "2026-11-22T13:00:00Z",
    }
    return json.dumps(fields).encode()


def produce(bootstrap: str, topic: str, batches: Iterable[tuple[Sequence[bytes], bool]], *, partitions: int) -> None:
    """Write batches of values, each in a transaction that is committed or aborted; partitions take turns."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": f"test-{topic}", "log_level": 2})
    producer.init_transactions()
    for values, is_committed in batches:
        producer.begin_transaction()
        for number, value in enumerate(values):
            producer.produce(topic, value, partition=number % partitions)
        producer.flush()  # what is aborted lies in the topic all the same
        if is_committed:
            producer.commit_transaction()
        else:
            producer.abort_transaction()


def committed(bootstrap: str, topic: str, *, partitions: int) -> dict[Place, bytes]:
    """Return the value of every committed record of a topic by its place."""
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    found: dict[Place, bytes] = {}
    ended: set[int] = set()
    while len(ended) < partitions:
        message = reader.poll(10)
        assert message is not None
        if message.error() is None:
            found[message.partition(), message.offset()] = message.value()
        else:
            assert message.error().code() == KafkaError._PARTITION_EOF
            ended.add(message.partition())
    reader.close()
    return found


def landed(folder: Path) -> list[tuple[Place, str]]:
    """Return place and transaction of every row that a reader of the folder sees now; every file must be whole."""
    rows = []
    for file in sorted(folder.glob("date=*/[!._]*.parquet")):
        table = pq.ParquetFile(file).read(columns=["partition", "offset", "transaction_id"])
        columns = (table[name].to_pylist() for name in ("partition", "offset", "transaction_id"))
        rows += [((partition, offset), transaction) for partition, offset, transaction in zip(*columns, strict=True)]
    return rows


def start_landing(
    bootstrap: str, topic: str, folder: object, *options: str, once: bool = True
) -> "subprocess.Popen[str]":
    """Start `antifraud land` as a process of its own; its output is kept, in order."""
    command = [sys.executable, "-m", "antifraud", "land", "--topic", "decisions", "--to", str(folder)]
    command += ["--once"] * once
    return subprocess.Popen(
        [*command, "--kafka-bootstrap", bootstrap, "--landing-port", "0", *options],
        env={**os.environ, "FRAUD_STREAM_OUTPUT": topic},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
