"""Request bodies: read up to a limit, then parsed as exactly one JSON document."""

import json
import math
from collections import Counter
from typing import Any

from starlette.requests import ClientDisconnect, Request

from service.problems import UNKNOWN_FIELD, RequestError, printable

MOST_FIELDS = 64  # of one JSON object: more than any has here, and few enough to be named one by one
_LONGEST_INTEGER = 40  # characters; beyond every field's range, and far below where Python refuses to read on


async def read_body(request: Request, *, limit: int) -> bytes:
    """Return the body, at most `limit` bytes; what is longer is refused as soon as that is known.

    Raises
    ------
    RequestError
        413 for a body over the limit, 415 for one that says it is not JSON, 400 for a client that went away.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise RequestError(415, "Send the body as application/json.")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise too_large(limit)
            parts.append(part)
    except ClientDisconnect:
        raise RequestError(400, "The connection closed before the body was complete.") from None
    return b"".join(parts)


def too_large(limit: int) -> RequestError:
    """Return the refusal of a body of more than that many bytes."""
    return RequestError(413, f"The body must not be larger than {limit} bytes.")


def parse_json(body: bytes) -> object:
    """Parse exactly one JSON document, UTF-8, with no key twice in an object.

    NaN, infinities and endless integers are read as what they are, so that the rule of the field they stand in refuses
    them by its name.

    Raises
    ------
    RequestError
        400 with the rule that is broken; nothing of the body is repeated.
    """
    if not body.strip():
        raise RequestError(400, "The body is empty; it must be one JSON document.")
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_int=_integer)
    except UnicodeDecodeError:
        raise RequestError(400, "The body is not valid UTF-8.") from None
    except (ValueError, RecursionError):
        raise RequestError(400, "The body is not one valid JSON document.") from None


def require_few_values(body: bytes, *, most: int, rule: str) -> None:
    """Refuse a body with more values than a batch can have, before any time is spent on it.

    Each value of a list or an object but the first follows a comma, so commas are counted, wherever they stand.

    Raises
    ------
    RequestError
        422, naming the rule of a batch's length.
    """
    if body.count(b",") > most:
        detail = f"The body has more than {most} values, which no batch of the allowed length has."
        raise RequestError(422, detail, [{"field": "transactions", "rule": rule}])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) > MOST_FIELDS:
        mistake = {"field": UNKNOWN_FIELD, "rule": "is not a known field"}
        raise RequestError(422, f"A JSON object in the body has more than {MOST_FIELDS} fields.", [mistake])
    if len(found) != len(pairs):
        repeated = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        mistake = {"field": printable(repeated), "rule": "must not stand twice"}
        raise RequestError(400, "A JSON object in the body has the same key twice.", [mistake])
    return found


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else math.inf
