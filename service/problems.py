"""Errors as the client sees them: RFC 9457 problem details of at most 2 KiB that repeat no value of the request."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import ErrorDetails
from starlette.responses import Response

from service.schemas import RULES

MEDIA_TYPE = "application/problem+json"
MAX_MISTAKES = 8  # named in one answer, which so stays under 2 KiB
UNKNOWN_FIELD = "(unknown field)"
INVALID = "The request has fields that break their rules."
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z_]{0,31}")

TITLES = {
    400: "Not one JSON document",
    404: "No such page",
    405: "Method not allowed",
    411: "Length required",
    413: "Body too large",
    415: "Unsupported media type",
    422: "A field breaks its rule",
    500: "Internal error",
    503: "Not available now",
}


class RequestError(Exception):
    """A request that cannot be answered: status, a sentence, and the fields that break their rules."""

    def __init__(self, status: int, detail: str, mistakes: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.mistakes = list(mistakes)


def problem(
    status: int, detail: str, mistakes: Iterable[Mapping[str, Any]] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """Return problem details as a response."""
    title = TITLES.get(status, "Request refused")
    body: dict[str, Any] = {"type": _type(title), "title": title, "status": status, "detail": detail}
    listed = list(mistakes)
    if listed:
        body["errors"] = listed[:MAX_MISTAKES]
        if len(listed) > MAX_MISTAKES:
            body["detail"] = f"{detail} The first {MAX_MISTAKES} of {len(listed)} are listed."
    return Response(json.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def invalid_fields(errors: Iterable[ErrorDetails]) -> RequestError:
    """Return the answer to a request whose fields break their rules, as pydantic found them."""
    return RequestError(422, INVALID, mistakes_of(errors))


def mistakes_of(errors: Iterable[ErrorDetails], *, index: int | None = None) -> list[dict[str, Any]]:
    """Return each field that breaks its rule once, as pydantic found them; in a batch with its transaction's index."""
    found = (_mistake(error, index=index) for error in errors)
    return list({tuple(mistake.values()): mistake for mistake in found}.values())


def printable(field: str) -> str:
    """Return a field's name if it can be one of ours or a slip of the pen; anything else could be somebody's data."""
    return field if field in RULES or _FIELD_NAME.fullmatch(field) else UNKNOWN_FIELD


def _mistake(error: ErrorDetails, *, index: int | None) -> dict[str, Any]:
    names = error["loc"]
    if index is None and len(names) > 1 and names[0] == "transactions":
        index, names = int(names[1]), names[2:]
    field = str(names[0]) if names else "body" if index is None else "transaction"
    # A name with half of a surrogate pair is no text, and pydantic blames the object that has it.
    nameless = not names and error["type"] == "string_unicode"
    mistake = {
        "field": UNKNOWN_FIELD if nameless else printable(field),
        "rule": _rule(field, "extra_forbidden" if nameless else error["type"]),
    }
    return mistake if index is None else {"index": index} | mistake


def _rule(field: str, kind: str) -> str:
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return "is not a known field"
    return RULES.get(field, "must be a JSON object")


def _type(title: str) -> str:
    return "urn:antifraud:" + title.lower().replace(" ", "-")
