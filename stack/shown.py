"""What a stack shows once it runs: a payment judged over REST and over the stream, and where everything is."""

import json
import time
from datetime import datetime
from typing import Any

import httpx

from antifraud.demo import Example, examples, rendered
from stack.platform import DECISIONS, HISTORY, REPORTS, Platform, PlatformError

STREAM_SECONDS = 30


def judged(platform: Platform) -> str:
    """Return the answer for a fraud of the history, asked over REST, once the stream has decided the same.

    Raises
    ------
    PlatformError
        If it decides otherwise, or not at all.
    """
    with httpx.Client(base_url=platform.service.url, timeout=10, trust_env=False) as client:
        versions = client.get("/version").raise_for_status().json()
        example = _example(platform, as_of=datetime.fromisoformat(versions["statistics_as_of"]))
        response = client.post("/predict", json=example.payment).raise_for_status()
    text = rendered(example, response.json(), versions["cutoffs"])
    decision = _by_stream(platform, example.payment)
    sent = f"{text}\n\nSent through the topic `payments`, it came back in the topic `decisions`"
    if decision != response.content:
        raise PlatformError(f"{sent}, but with another answer:\n{decision.decode()}")
    return f"{sent}: the same bytes."


def places(platform: Platform) -> str:
    """Return where everything is."""
    rows = [
        ("service", f"{platform.service.url}/docs"),
        ("stream", f"{platform.stream.url}/metrics   topics payments -> decisions, payments-dead-letter"),
        ("MLflow", platform.mlflow.url),
        ("Kafka", platform.kafka.bootstrap),
        ("S3", f"{platform.s3.endpoint}   history {HISTORY}, decisions {DECISIONS}, reports {REPORTS}"),
        (
            "PostgreSQL",
            f"127.0.0.1:{platform.postgres.port}   user postgres, password in {platform.postgres.folder}/password",
        ),
        ("logs", f"{platform.folder}/*/log.txt"),
    ]
    return "\n".join(f"  {name:<11} {where}" for name, where in rows)


def _example(platform: Platform, *, as_of: datetime) -> Example:
    with platform.keys():
        return examples(HISTORY, as_of=as_of)[-1]


def _by_stream(platform: Platform, payment: dict[str, Any]) -> bytes:
    """Send a payment through the stream and return its decision."""
    from confluent_kafka import Consumer, Producer

    consumer = Consumer(
        {
            "bootstrap.servers": platform.kafka.bootstrap,
            "group.id": "stack-look",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "log_level": 3,
        }
    )
    try:
        _seek_to_end(consumer)
        producer = Producer({"bootstrap.servers": platform.kafka.bootstrap, "linger.ms": 0, "log_level": 3})
        producer.produce("payments", json.dumps(payment).encode(), key=str(payment["customer_id"]))
        producer.flush(10)
        deadline = time.monotonic() + STREAM_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None or message.error() or message.value() is None:
                continue
            if json.loads(message.value())["transaction_id"] == payment["transaction_id"]:
                return bytes(message.value())
    finally:
        consumer.close()
    raise PlatformError(f"no decision came from the stream within {STREAM_SECONDS} s; see {platform.stream.log}")


def _seek_to_end(consumer: Any) -> None:
    from confluent_kafka import OFFSET_END, TopicPartition

    partitions = consumer.list_topics("decisions", timeout=10).topics["decisions"].partitions
    consumer.assign([TopicPartition("decisions", number, OFFSET_END) for number in partitions])
    for number in partitions:  # the end is looked up now, before the payment is sent
        last = consumer.get_watermark_offsets(TopicPartition("decisions", number), timeout=10)[1]
        consumer.seek(TopicPartition("decisions", number, last))
