"""The little of HTTP/1.1 that a load generator needs, without what a complete client costs per request."""

from collections.abc import Sequence
from typing import NamedTuple

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_WITHOUT_BODY = (204, 304)


class MalformedError(ValueError):
    """The other side does not speak HTTP/1.1, or leaves the end of its answer open."""


class Answer(NamedTuple):
    """One whole answer."""

    status: int
    retry_after: bool
    close: bool
    """Whether the connection ends with this answer."""
    body: bytes


def request_head(host: str, method: str, path: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Return all of a request that stays the same, up to the figure of its content length; headers may name a host."""
    own_host = () if any(name == "host" for name, _ in headers) else (("host", host),)
    fields = (*own_host, ("content-type", "application/json"), *headers)
    lines = (f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "content-length: ")
    return "\r\n".join(lines).encode("latin-1")


def parse_answer(data: bytes) -> Answer | None:
    """Return the answer that the received bytes are, or None while some of it is still to come.

    Raises
    ------
    MalformedError
        If no further bytes can make it an answer, or more came than one answer.
    """
    end = data.find(_END_OF_HEAD)
    if end < 0:
        return None
    head = data[:end].lower()
    if not head.startswith(b"http/1.") or not head[9:12].isdigit():
        raise MalformedError("no status line")
    status = int(head[9:12])
    body = _body(head, data[end + len(_END_OF_HEAD) :], status)
    if body is None:
        return None
    return Answer(status, b"\r\nretry-after:" in head, b"\r\nconnection: close" in head, body)


def _body(head: bytes, rest: bytes, status: int) -> bytes | None:
    at = head.find(_LENGTH)
    if at >= 0:
        figure = head[at + len(_LENGTH) :].partition(b"\r\n")[0].strip()
        if not figure.isdigit() or len(rest) > int(figure):
            raise MalformedError("the body is not as long as announced")
        return rest if len(rest) == int(figure) else None
    if b"\r\ntransfer-encoding: chunked" in head:
        return _chunked(rest)
    if status in _WITHOUT_BODY and not rest:
        return b""
    raise MalformedError("nothing says where the body ends")


def _chunked(rest: bytes) -> bytes | None:
    """Return the body that the chunks make, or None before the last of them."""
    parts: list[bytes] = []
    while True:
        line, found, rest = rest.partition(b"\r\n")
        if not found:
            return None
        size = _size(line)
        if len(rest) < size + 2:
            return None
        parts.append(rest[:size])
        rest = rest[size + 2 :]
        if size == 0:
            return b"".join(parts)


def _size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise MalformedError("a chunk has no size") from None
