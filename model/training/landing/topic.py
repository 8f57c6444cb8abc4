"""The topic as the landing sees it: a member of a consumer group that reads committed records and notes offsets."""

import hashlib
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from model.settings import Settings
from model.training.landing.contract import LandingError

REQUEST_SECONDS = 5.0
SESSION_MS = 10_000  # after so long without a word a member is taken for dead, and others get its partitions
_FOR_GOOD = {
    KafkaError._AUTHENTICATION: (
        "the brokers refuse the login: check FRAUD_KAFKA_USER, FRAUD_KAFKA_PASSWORD_FILE (or FRAUD_KAFKA_PASSWORD) and"
        " FRAUD_KAFKA_SASL_MECHANISM"
    ),
    KafkaError._SSL: (
        "the brokers cannot be trusted: their certificate must be for their host and signed by one of those in"
        " FRAUD_KAFKA_CA_FILE"
    ),
    KafkaError._UNKNOWN_TOPIC: "there is no such topic: make it, or name another",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "there is no such topic: make it, or name another",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the login may not read or describe the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "the login may not read as this consumer group",
    KafkaError._AUTO_OFFSET_RESET: (
        "the records that come next were deleted before they landed (retention); make the topic keep more, and to go on"
        " from what is left: kafka-consumer-groups --reset-offsets --to-earliest"
    ),
}


class BrokersAwayError(Exception):
    """The brokers cannot be reached or are at odds; trying again is right."""


def group_of(topic: str, address: str) -> str:
    """Return the consumer group that lands a topic at an address: each address gets all, from the first record."""
    return f"antifraud-landing-{topic}-{hashlib.sha256(address.encode()).hexdigest()[:8]}"[-249:]


def connection(settings: Settings) -> dict[str, Any]:
    """Return what librdkafka needs to reach the brokers.

    Raises
    ------
    SettingsError
        If the password cannot be read.
    LandingError
        If no broker is named.
    """
    if not settings.kafka_bootstrap:
        raise LandingError("FRAUD_KAFKA_BOOTSTRAP or --kafka-bootstrap must name brokers, such as broker:9092")
    found: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        # As in the stream (`service/stream/brokers.py`): the default may never find back to brokers that were away.
        "metadata.recovery.strategy": "none",
        "security.protocol": settings.kafka_security,
        "ssl.ca.location": settings.kafka_ca_file and str(settings.kafka_ca_file),
        "ssl.certificate.location": settings.kafka_certificate_file and str(settings.kafka_certificate_file),
        "ssl.key.location": settings.kafka_key_file and str(settings.kafka_key_file),
    }
    login = settings.kafka_login()
    if login is not None:
        found |= {"sasl.mechanism": settings.kafka_sasl_mechanism}
        found |= dict(zip(("sasl.username", "sasl.password"), login, strict=True))
    return {name: value for name, value in found.items() if value is not None}


def checked(error: KafkaError, topic: str) -> None:
    """Raise for what went wrong with a topic: `LandingError` where waiting does not help, else `BrokersAwayError`."""
    if error.code() in _FOR_GOOD:
        raise LandingError(f"topic {topic}: {_FOR_GOOD[error.code()]}")
    raise BrokersAwayError(
        f"topic {topic}: the brokers of FRAUD_KAFKA_BOOTSTRAP do not answer as they should ({error.str()})"
    )


def topic_id(topic: str, reach: dict[str, Any], on_error: Callable[[KafkaError], None]) -> str:
    """Return the id that the brokers gave a topic when it was made; errors as of `checked`."""
    client = AdminClient(reach | {"error_cb": on_error, "log_level": 2})
    try:
        described = client.describe_topics(TopicCollection([topic]), request_timeout=REQUEST_SECONDS)
        return str(described[topic].result().topic_id)
    except KafkaException as error:
        client.poll(0)  # a refused login or certificate is told to `on_error`; here it looks like no answer
        checked(error.args[0], topic)
        raise


def consumer(group: str, reach: dict[str, Any], on_error: Callable[[KafkaError], None]) -> Consumer:
    """Return a member of a group that reads committed records only and notes no offset by itself."""
    return Consumer(
        reach
        | {
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": SESSION_MS // 10,  # by which a member hears that partitions are to move
            "queued.max.messages.kbytes": 16 * 1024,
            "error_cb": on_error,
            "log_level": 2,  # what goes wrong is said by the landing itself
        }
    )


def noted(member: Consumer, topic: str, partitions: list[int]) -> dict[int, tuple[int | None, str | None]]:
    """Return the offset and the note that the group has for each partition; None where it has none."""
    try:
        found = member.committed([TopicPartition(topic, number) for number in partitions], timeout=REQUEST_SECONDS)
    except KafkaException as error:
        checked(error.args[0], topic)
        raise
    for one in found:
        if one.error is not None:
            checked(one.error, topic)
    return {one.partition: (one.offset if one.offset >= 0 else None, one.metadata) for one in found}


def note(member: Consumer | None, topic: str, partition: int, offset: int, text: str = "") -> None:
    """Note an offset for the group, with a text; the brokers refuse it from a member that was replaced."""
    try:
        found = member and member.commit(offsets=[TopicPartition(topic, partition, offset, text)], asynchronous=False)
    except KafkaException as error:
        checked(error.args[0], topic)
        raise
    for one in found or []:
        if one.error is not None:
            checked(one.error, topic)


def answer(member: Consumer | None, topic: str) -> None:
    """Return if the brokers answer; errors as of `checked`."""
    try:
        if member is not None:
            member.list_topics(topic, timeout=REQUEST_SECONDS)
    except KafkaException as error:
        checked(error.args[0], topic)
        raise


def first_of(member: Consumer, topic: str, partition: int) -> int:
    """Return the offset of the first record that a partition has; errors as of `checked`."""
    try:
        return int(member.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_SECONDS)[0])
    except KafkaException as error:
        checked(error.args[0], topic)
        raise


def begin(member: Consumer, topic: str, offsets: dict[int, int]) -> None:
    """Begin to read more partitions, each at an offset.

    By number, since a client that has to ask for it (librdkafka 2.16) may go on with a partition that was taken away
    before it was answered.
    """
    member.incremental_assign([TopicPartition(topic, number, at) for number, at in offsets.items()])


def end_of(member: Consumer | None, topic: str, partition: int) -> int:
    """Return the offset after the last record of a partition, as far as this member knows by now."""
    found = member and member.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
    return int(found[1]) if found else 0
