"""The client of the brokers: how it is set, what its errors mean for whoever runs this. The one door to the library."""

import logging
import socket
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from model.settings import Settings, SettingsError

ASK_SECONDS: Final = 5.0  # longest that a single question to the brokers blocks
LONGEST_MESSAGE: Final = 4 * 2**20  # bytes a producer sends at most; the topics have their own limits

_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
    }
)
_REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_UNTRUSTED = frozenset({KafkaError._SSL})
_MISSING = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_FORBIDDEN = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)

log = logging.getLogger("antifraud")


class StreamError(RuntimeError):
    """The stream cannot go on; the message says what to do."""


class BrokersAwayError(StreamError):
    """No broker could be reached in time."""


def is_away(error: KafkaError) -> bool:
    """Whether an error only says that brokers cannot be reached at the moment."""
    return error.code() in _AWAY


def is_hopeless(error: KafkaError) -> bool:
    """Whether an error stays until somebody changes a setting or grants something."""
    return error.code() in _REFUSED | _UNTRUSTED | _FORBIDDEN


def advice(error: KafkaError, settings: Settings) -> str:
    """Return what an error means here and what to do; never a secret."""
    code, brokers = error.code(), settings.kafka_bootstrap
    if code in _AWAY:
        return (
            f"Kafka at {brokers} does not answer: are the brokers up, and are FRAUD_KAFKA_BOOTSTRAP and"
            f" FRAUD_KAFKA_SECURITY ({settings.kafka_security}) right?"
        )
    if code in _REFUSED:
        return (
            f"Kafka at {brokers} refuses the login {settings.kafka_user}: check FRAUD_KAFKA_USER,"
            " FRAUD_KAFKA_PASSWORD_FILE (or FRAUD_KAFKA_PASSWORD) and FRAUD_KAFKA_SASL_MECHANISM"
        )
    if code in _UNTRUSTED:
        return (
            f"Kafka at {brokers} cannot be trusted: its certificate must be for that host and signed by one of"
            f" {settings.kafka_ca_file or 'those that the system trusts'}: set FRAUD_KAFKA_CA_FILE"
        )
    if code in _MISSING:
        names = f"{settings.stream_input}, {settings.stream_output} and {settings.stream_dead_letter}"
        return f"Kafka at {brokers} misses a topic: {names} must be there (FRAUD_STREAM_INPUT and its sisters)"
    if code in _FORBIDDEN:
        return (
            f"Kafka at {brokers} forbids it ({error.name()}): {settings.kafka_user or 'this client'} must be allowed to"
            f" read {settings.stream_input} and group {settings.stream_group}, and to write {settings.stream_output},"
            f" {settings.stream_dead_letter} and transactions {transactional_id(settings)}"
        )
    return f"Kafka at {brokers}: {error.name()}: {error.str()}"


def member_name(settings: Settings) -> str:
    """Return the name of this member: the one that is set, or the host's."""
    return settings.stream_member or socket.gethostname()


def transactional_id(settings: Settings) -> str:
    """Return the name under which this member's transactions run; a restart under it ends what was left open."""
    return f"{settings.stream_group}-{member_name(settings)}"


def common(settings: Settings) -> dict[str, Any]:
    """Return what every client of the brokers is set to.

    Raises
    ------
    SettingsError
        If no brokers are named, or a part of the login is missing.
    """
    if not settings.kafka_bootstrap:
        raise SettingsError("FRAUD_KAFKA_BOOTSTRAP: must be set to the brokers to ask first, such as broker:9092")
    given: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "client.id": f"antifraud-{member_name(settings)}",
        "security.protocol": settings.kafka_security,
        "reconnect.backoff.max.ms": 2000,
        # By default a client that has lost all brokers begins again with the bootstrap servers. With few brokers it may
        # drop each new connection for the next beginning, for ever, while its calls outlast their time limits.
        "metadata.recovery.strategy": "none",
        "log_level": 2,  # what goes wrong is said here, in words, and once
        "log.connection.close": False,
    }
    login = settings.kafka_login()
    if login is not None:
        given |= {"sasl.mechanism": settings.kafka_sasl_mechanism, "sasl.username": login[0], "sasl.password": login[1]}
    files = {
        "ssl.ca.location": settings.kafka_ca_file,
        "ssl.certificate.location": settings.kafka_certificate_file,
        "ssl.key.location": settings.kafka_key_file,
    }
    return given | {name: str(path) for name, path in files.items() if path is not None}


def make_consumer(settings: Settings, *, on_error: Callable[[KafkaError], None], on_figures: Any) -> Consumer:
    """Return a consumer that reads only what is committed, commits nothing by itself, and fetches ahead a little."""
    return _made(
        Consumer,
        common(settings)
        | {
            "group.id": settings.stream_group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",  # a payment that came before the first start is a payment
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": int(settings.stream_session_seconds * 1000),
            "heartbeat.interval.ms": int(settings.stream_session_seconds * 1000 / 4),
            "queued.max.messages.kbytes": settings.stream_queue_kb,
            "queued.min.messages": 20 * settings.stream_batch,
            "fetch.queue.backoff.ms": 20,  # by default it looks again after a second: too late for what is this fast
            "fetch.wait.max.ms": 100,
            "statistics.interval.ms": 5000,
            "error_cb": on_error,
            "stats_cb": on_figures,
        },
    )


def make_producer(settings: Settings, *, on_error: Callable[[KafkaError], None]) -> Producer:
    """Return a producer of transactions, not yet known to the brokers."""
    return _made(
        Producer,
        common(settings)
        | {
            "transactional.id": transactional_id(settings),
            "transaction.timeout.ms": int(settings.stream_transaction_seconds * 1000),
            "message.max.bytes": LONGEST_MESSAGE,
            "queue.buffering.max.kbytes": settings.stream_queue_kb,
            "linger.ms": 5,
            # When a transaction begins, the end of the one before is often still being written down. The client asks
            # again, by default after 100 ms: that would be ten transactions a second.
            "retry.backoff.ms": 10,
            "compression.type": "lz4",
            "partitioner": "murmur2_random",  # as Java's: one key lies in one partition, whoever writes it
            "error_cb": on_error,
        },
    )


def _made(kind: Any, given: dict[str, Any]) -> Any:
    try:
        return kind(given)
    except KafkaException as error:
        raise StreamError(f"FRAUD_KAFKA_*: these settings do not fit together: {error.args[0].str()}") from None


def require_topics(consumer: Consumer, settings: Settings, *, waiting: Callable[[], None]) -> None:
    """Wait for the brokers, and see that all three topics are there.

    Parameters
    ----------
    waiting
        Called between two attempts; may raise to end the wait.

    Raises
    ------
    BrokersAwayError
        If no broker could be reached within the start time.
    StreamError
        If they refuse the connection, or a topic is missing or forbidden.
    """
    deadline, said = time.monotonic() + settings.stream_start_seconds, ""
    while True:
        waiting()
        try:
            found = consumer.list_topics(timeout=ASK_SECONDS).topics
            break
        except KafkaException as error:
            text = advice(error.args[0], settings)
            if not is_away(error.args[0]):
                raise StreamError(text) from None
            if time.monotonic() >= deadline:
                raise BrokersAwayError(text) from None
            if text != said:
                said = text
                log.warning("%s; trying again for %.0f s", text, deadline - time.monotonic())
    for setting, name in _topics(settings):
        if name not in found:
            raise StreamError(f"Kafka at {settings.kafka_bootstrap} has no topic {name}: create it, or set {setting}")
        if found[name].error is not None:
            raise StreamError(f"topic {name}: {advice(found[name].error, settings)}")


def _topics(settings: Settings) -> tuple[tuple[str, str], ...]:
    return (
        ("FRAUD_STREAM_INPUT", settings.stream_input),
        ("FRAUD_STREAM_OUTPUT", settings.stream_output),
        ("FRAUD_STREAM_DEAD_LETTER", settings.stream_dead_letter),
    )
