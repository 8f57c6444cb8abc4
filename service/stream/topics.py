"""The contract of the topics: what comes in, what goes out, and in which headers what is said. Knows no broker."""

import logging
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from model.settings import Settings
from service.body import parse_json, too_large
from service.judge import Decision, Judge
from service.problems import RequestError, problem
from service.schemas import Transaction

SCHEMA_HEADER: Final = "schema-version"
ANSWER_VERSION: Final = b"1"  # of what goes out
LONGEST_KEY: Final = 1024  # bytes; a longer one is no name of anything
LARGEST_LETTER: Final = 512 * 1024  # bytes of a message that a dead letter repeats: every topic takes as much
REASONS: Final = ("not-json", "invalid-field", "too-large", "tombstone", "unknown-schema", "key-too-long", "internal")

log = logging.getLogger("antifraud")

Headers = list[tuple[str, bytes]]
_FIELDS = frozenset(Transaction.model_fields)
_ANSWERED = (SCHEMA_HEADER, ANSWER_VERSION)
_BY_STATUS = {400: "not-json", 413: "too-large", 422: "invalid-field"}


class Arrived(Protocol):
    """A message as the client hands it over."""

    def value(self) -> bytes | None:
        """What it says."""

    def key(self) -> bytes | None:
        """What it belongs to."""

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """What is said of it."""

    def topic(self) -> str:
        """Where it stands."""

    def partition(self) -> int:
        """In which part of the topic."""

    def offset(self) -> int:
        """At which place of the partition."""


class Outgoing(NamedTuple):
    """A message to write, and what it was made of: a decision, or the reason why there is none."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    decision: Decision | None = None
    reason: str = ""


class _DeadLetterError(Exception):
    """No decision can be made on a message."""

    def __init__(self, reason: str, refusal: RequestError) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refusal = refusal


def _version_1(found: object) -> object:
    """The body of `POST /predict` to the letter: a field that it does not know is a mistake."""
    return found


def _version_2(found: object) -> object:
    """The bank's own event of a payment: the same fields, and any others beside them, which are not looked at."""
    if not isinstance(found, dict):
        return found
    return {name: value for name, value in found.items() if name in _FIELDS}


SCHEMAS: Final[dict[bytes | None, Callable[[object], object]]] = {b"1": _version_1, b"2": _version_2}


class Clerk:
    """Turns each message that arrives into one that goes out, by the code that answers `POST /predict`.

    Parameters
    ----------
    judge
        Decides; its loaded pair may be another one from message to message.
    """

    def __init__(self, settings: Settings, judge: Judge) -> None:
        self._judge = judge
        self._output, self._dead_letter = settings.stream_output, settings.stream_dead_letter
        self._limit = settings.max_body_bytes
        self._full = settings.stream_explain == "full"
        self._input_key = settings.stream_key == "input"
        self._with_values = settings.stream_dead_letter_values

    def handle(self, message: Arrived) -> Outgoing:
        """Return the decision on a message, or its dead letter; whatever it holds, this raises nothing."""
        try:
            return self._decided(message)
        except _DeadLetterError as dead:
            return self._letter(message, dead.reason, dead.refusal)
        except RequestError as refusal:
            return self._letter(message, _BY_STATUS.get(refusal.status, "internal"), refusal)
        except Exception as error:
            # The trace names code, never the payment: pydantic and our own errors carry no values.
            log.error("unexpected %s while deciding", type(error).__name__, exc_info=error)
            unknown = RequestError(500, "The decision could not be computed. The log of the stream says why.")
            return self._letter(message, "internal", unknown)

    def _decided(self, message: Arrived) -> Outgoing:
        key, value = message.key(), message.value()
        if value is None:
            raise _DeadLetterError("tombstone", RequestError(400, "The message has no value; it must be a payment."))
        if len(value) > self._limit:
            raise too_large(self._limit)
        if key is not None and len(key) > LONGEST_KEY:
            raise _DeadLetterError("key-too-long", _rule("key", f"must not be longer than {LONGEST_KEY} bytes"))
        decision = self._judge.decide(_read_as(message, value), full=self._full)
        if key is None or not self._input_key:
            key = str(decision.transaction_id).encode()
        headers = [_ANSWERED, ("model-version", decision.model_version.encode()), *_place(message)]
        return Outgoing(self._output, key, decision.body, headers, decision)

    def _letter(self, message: Arrived, reason: str, refusal: RequestError) -> Outgoing:
        key, value = message.key(), message.value()
        body = bytes(problem(refusal.status, refusal.detail, refusal.mistakes).body)
        headers: Headers = [("reason", reason.encode()), ("problem", body), *_place(message)]
        for mistake in refusal.mistakes[:1]:
            headers += [("field", mistake["field"].encode()), ("rule", mistake["rule"].encode())]
        versions = [said for name, said in message.headers() or () if name == SCHEMA_HEADER and said is not None]
        headers += [(SCHEMA_HEADER, said[:32]) for said in versions[-1:]]
        if value is not None and (not self._with_values or len(value) > LARGEST_LETTER):
            headers.append(("value-left-out", b"%d bytes" % len(value)))
            value = None
        if key is not None and (not self._with_values or len(key) > LONGEST_KEY):
            headers.append(("key-left-out", b"%d bytes" % len(key)))
            key = None
        return Outgoing(self._dead_letter, key, value, headers, None, reason)


def _read_as(message: Arrived, value: bytes) -> object:
    """Return the body as the message's version of the schema reads it."""
    headers = message.headers()
    if not headers:
        return parse_json(value)
    version: bytes | None = b"1"
    for name, said in headers:
        if name == SCHEMA_HEADER:
            version = said
    schema = SCHEMAS.get(version)
    if schema is None:
        raise _DeadLetterError("unknown-schema", _rule(SCHEMA_HEADER, "must be 1 or 2"))
    return schema(parse_json(value))


def _rule(field: str, rule: str) -> RequestError:
    return RequestError(422, "The message breaks a rule.", [{"field": field, "rule": rule}])


def _place(message: Arrived) -> Headers:
    return [
        ("source-topic", message.topic().encode()),
        ("source-partition", b"%d" % message.partition()),
        ("source-offset", b"%d" % message.offset()),
    ]
