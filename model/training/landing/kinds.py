"""What a record of each topic must say, and the columns of the files it becomes.

Only columns named here are landed: whatever else a producer sends, an id of a customer for one, stays in the topic.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from model.decision import DECISIONS
from model.transaction import EARLIEST, LATEST, REPORT_COLUMN, canonical_id

Row = dict[str, Any]

_MOMENT = pa.timestamp("us", tz="UTC")
_PLACE = [
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("timestamp", pa.timestamp("ms", tz="UTC")),
]
_KEY_DIGITS = 16  # of a keyed hash, hexadecimal


class RejectedError(ValueError):
    """A record breaks a rule of its topic; the message names the field and the rule, never a value."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of topic: the columns of its files, and how a record's fields become a row."""

    name: str
    schema: pa.Schema
    row: Callable[[Mapping[str, Any]], Row]


def read_row(kind: Kind, value: bytes | None) -> Row:
    """Return the row that a record's value is, without the columns that say where it stood.

    Raises
    ------
    RejectedError
        If it is no JSON object, or a field is missing or breaks its rule.
    """
    if value is None:
        raise RejectedError("the record has no value; expected a JSON object")
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError):
        raise RejectedError("the value is not JSON; expected one JSON object in UTF-8") from None
    if not isinstance(fields, dict):
        raise RejectedError("the value is JSON but no object")
    return kind.row(fields)


def _decision_row(fields: Mapping[str, Any]) -> Row:
    return {
        "transaction_id": _transaction_id(fields),
        "decision": _one_of(fields, "decision", DECISIONS),
        "score": _probability(fields, "score"),
        "customer_known": _flag(fields, "customer_known"),
        "terminal_known": _flag(fields, "terminal_known"),
        "customer": _key(fields, "customer"),
        "terminal": _key(fields, "terminal"),
        "model_version": _version(fields, "model_version"),
        "statistics_as_of": _moment(fields, "statistics_as_of"),
        "reasons": _reasons(fields),
    }


def _report_row(fields: Mapping[str, Any]) -> Row:
    return {
        "transaction_id": _transaction_id(fields),
        REPORT_COLUMN: _moment(fields, REPORT_COLUMN),
        "tx_fraud": _label(fields),
    }


DECISION_KIND = Kind(
    "decisions",
    pa.schema(
        [
            pa.field("transaction_id", pa.string(), nullable=False),
            pa.field("decision", pa.string(), nullable=False),
            pa.field("score", pa.float64(), nullable=False),
            pa.field("customer_known", pa.bool_()),
            pa.field("terminal_known", pa.bool_()),
            pa.field("customer", pa.string()),
            pa.field("terminal", pa.string()),
            pa.field("model_version", pa.string(), nullable=False),
            pa.field("statistics_as_of", _MOMENT, nullable=False),
            pa.field("reasons", pa.string(), nullable=False),
            *_PLACE,
        ]
    ),
    _decision_row,
)
REPORT_KIND = Kind(
    "reports",
    pa.schema(
        [
            pa.field("transaction_id", pa.string(), nullable=False),
            pa.field(REPORT_COLUMN, _MOMENT, nullable=False),
            pa.field("tx_fraud", pa.int8(), nullable=False),
            *_PLACE,
        ]
    ),
    _report_row,
)
KINDS = {kind.name: kind for kind in (DECISION_KIND, REPORT_KIND)}


def _given(fields: Mapping[str, Any], name: str) -> Any:
    if fields.get(name) is None:
        raise RejectedError(f"{name} is missing")
    return fields[name]


def _transaction_id(fields: Mapping[str, Any]) -> str:
    value = _given(fields, "transaction_id")
    text = None if isinstance(value, (bool, list, dict)) else canonical_id(value)
    if text is None:
        raise RejectedError(
            "transaction_id must be an integer or a text of at most 128 characters, and not the missing id"
        )
    return _storable("transaction_id", text)


def _one_of(fields: Mapping[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    value = _given(fields, name)
    if value not in allowed:
        raise RejectedError(f"{name} must be one of {', '.join(allowed)}")
    return str(value)


def _probability(fields: Mapping[str, Any], name: str) -> float:
    value = _given(fields, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1 or math.isnan(value):
        raise RejectedError(f"{name} must be a number from 0 to 1")
    return float(value)


def _flag(fields: Mapping[str, Any], name: str) -> bool | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise RejectedError(f"{name} must be true or false")
    return value


def _key(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a keyed hash; anything else might be an id in plain text and must not pass."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) != _KEY_DIGITS or not set(value) <= set("0123456789abcdef"):
        raise RejectedError(f"{name} must be a keyed hash: {_KEY_DIGITS} hexadecimal digits in small letters")
    return value


def _version(fields: Mapping[str, Any], name: str) -> str:
    value = _given(fields, name)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise RejectedError(f"{name} must be a text")
    return _storable(name, str(value))


def _moment(fields: Mapping[str, Any], name: str) -> datetime:
    value = _given(fields, name)
    rule = f"{name} must be a date with a time, ISO 8601 such as 2026-01-31T13:45:00Z, from 1990 to 2099"
    if not isinstance(value, str) or ":" not in value:
        raise RejectedError(rule)
    try:
        moment = datetime.fromisoformat(value.strip())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise RejectedError(rule) from None
    if not EARLIEST <= moment < LATEST:
        raise RejectedError(rule)
    return moment


def _label(fields: Mapping[str, Any]) -> int:
    """Return 1 for a fraud, 0 for a report that is taken back; who says nothing more means a fraud."""
    value = fields.get("tx_fraud")
    if value is None:
        return 1
    if isinstance(value, (list, dict)) or value not in (0, 1, "0", "1"):
        raise RejectedError("tx_fraud must be 0 or 1")
    return int(value)


def _reasons(fields: Mapping[str, Any]) -> str:
    reasons = fields.get("reasons", [])
    if not isinstance(reasons, list):
        raise RejectedError("reasons must be a list")
    try:
        text = json.dumps(reasons, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        raise RejectedError("reasons must hold finite numbers only") from None
    return _storable("reasons", text)


def _storable(name: str, text: str) -> str:
    """Return the text if it is one: JSON can spell halves of characters that no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RejectedError(f"{name} holds half a character") from None
    return text
