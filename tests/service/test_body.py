import asyncio
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from service.body import parse_json, read_body
from service.problems import RequestError

LIMIT = 1000


class Client:
    """One that sends a body in parts, and knows how many were asked of it."""

    def __init__(self, parts: Iterator[bytes], *, leaves: bool = False, headers: dict[str, str] | None = None) -> None:
        self.read = 0
        self._parts = parts
        self._leaves = leaves
        raw = [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.request = Request({"type": "http", "method": "POST", "headers": raw}, self._receive)

    async def _receive(self) -> Message:
        part = next(self._parts, None)
        if part is None:
            return {"type": "http.disconnect"} if self._leaves else {"type": "http.request", "body": b""}
        self.read += len(part)
        return {"type": "http.request", "body": part, "more_body": True}

    def read_body(self) -> bytes:
        return asyncio.run(read_body(self.request, limit=LIMIT))


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 64


def test_the_parts_of_a_body_are_put_together() -> None:
    assert Client(iter([b'{"a"', b": 1", b"}"])).read_body() == b'{"a": 1}'


def test_a_body_of_exactly_the_limit_is_read() -> None:
    whole = b"x" * LIMIT
    assert Client(iter([whole]), headers={"content-length": str(LIMIT)}).read_body() == whole


def test_one_byte_more_is_refused() -> None:
    with pytest.raises(RequestError, match="must not be larger than 1000 bytes") as refused:
        Client(iter([b"x" * LIMIT, b"x"])).read_body()
    assert refused.value.status == 413


@pytest.mark.parametrize("announced", [str(LIMIT + 1), "20000000", "9" * 5000])
def test_a_body_announced_as_too_large_is_refused_before_any_of_it_is_read(announced: str) -> None:
    client = Client(endless(), headers={"content-length": announced})
    with pytest.raises(RequestError) as refused:
        client.read_body()
    assert (refused.value.status, client.read) == (413, 0)


@pytest.mark.parametrize(
    "headers", [{"transfer-encoding": "chunked"}, {"content-length": "7"}, {"content-length": "-1"}]
)
def test_a_body_that_does_not_say_its_size_is_refused_soon_after_the_limit(headers: dict[str, str]) -> None:
    client = Client(endless(), headers=headers)
    with pytest.raises(RequestError) as refused:
        client.read_body()
    assert refused.value.status == 413
    assert client.read <= LIMIT + 64


@pytest.mark.parametrize("announced", ["", "²", "1e9", "-5", "0x10", "many"])
def test_a_size_that_is_no_number_is_not_believed(announced: str) -> None:
    assert Client(iter([b"{}"]), headers={"content-length": announced}).read_body() == b"{}"


def test_a_client_that_goes_away_is_no_error_of_the_service() -> None:
    with pytest.raises(RequestError, match="closed before the body was complete") as refused:
        Client(iter([b'{"a"']), leaves=True).read_body()
    assert refused.value.status == 400


def test_a_body_of_another_kind_is_refused_unread() -> None:
    client = Client(endless(), headers={"content-type": "text/csv"})
    with pytest.raises(RequestError) as refused:
        client.read_body()
    assert (refused.value.status, client.read) == (415, 0)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
@profile(deadline=None)
def test_any_document_is_read_as_the_json_module_reads_it(document: Any) -> None:
    assert parse_json(json.dumps(document).encode()) == document
    assert parse_json(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")) == document


@pytest.mark.parametrize(
    ("text", "twice"),
    [
        ('{"customer_id": 1, "customer_id": 1}', "customer_id"),
        ('{"b": 1, "tx_amount": 1, "b": 1, "tx_amount": 1}', "b"),
        ('[{"deep": {"down": {"x": 1, "x": 2}}}]', "x"),
        ('{"a\\u0062": 1, "ab": 2}', "ab"),
        ('{"4929 1234": 1, "4929 1234": 2}', "(unknown field)"),
    ],
)
def test_a_key_that_stands_twice_is_refused_and_named(text: str, twice: str) -> None:
    with pytest.raises(RequestError, match="same key twice") as refused:
        parse_json(text.encode())
    assert (refused.value.status, refused.value.mistakes) == (400, [{"field": twice, "rule": "must not stand twice"}])


def test_the_same_key_in_two_objects_is_no_repetition() -> None:
    assert parse_json(b'[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


@pytest.mark.parametrize("digits", ["9" * 41, "-" + "9" * 41, "9" * 5000, "1" + "0" * 2_000_000])
def test_an_integer_beyond_every_rule_is_left_for_the_rules_to_refuse(digits: str) -> None:
    assert parse_json(digits.encode()) == math.inf


def test_an_integer_of_forty_characters_is_exact() -> None:
    assert parse_json(b"-" + b"9" * 39) == -int("9" * 39)


def test_nothing_of_the_body_is_in_the_error_or_behind_it() -> None:
    mark = "Zq7-never-repeated-Zq7"
    for body in (mark, f'{{"{mark}": 1, "{mark}": 2}}', f'"{mark}', f'["{mark}"] ["{mark}"]'):
        with pytest.raises(RequestError) as refused:
            parse_json(body.encode())
        error: BaseException = refused.value
        assert mark not in f"{error} {error.args} {refused.value.mistakes}"
        assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.parametrize("body", [b"", b" ", b"\r\n\t "])
def test_an_empty_body_is_called_empty(body: bytes) -> None:
    with pytest.raises(RequestError, match="The body is empty") as refused:
        parse_json(body)
    assert refused.value.status == 400
