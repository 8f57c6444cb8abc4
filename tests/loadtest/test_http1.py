import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.http1 import Answer, MalformedError, parse_answer, request_head

bodies = st.binary(max_size=300)
statuses = st.integers(200, 599).filter(lambda status: status not in (204, 304))


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@given(statuses, bodies)
def test_an_answer_is_whole_at_its_last_byte_and_not_before(status: int, body: bytes) -> None:
    data = b"HTTP/1.1 %d X\r\nContent-Length:  %d\r\nRetry-After: 1\r\n\r\n%b" % (status, len(body), body)
    assert parse_answer(data) == Answer(status, True, False, body)
    assert all(parse_answer(data[:end]) is None for end in range(len(data)))


@given(bodies, st.integers(1, 50))
def test_chunks_make_the_body_they_were_cut_from(body: bytes, size: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked(body, size)
    assert parse_answer(data) == Answer(200, False, True, body)
    assert all(parse_answer(data[:end]) is None for end in range(len(data)))


def test_a_status_without_body_needs_no_length() -> None:
    assert parse_answer(b"HTTP/1.1 204 No Content\r\n\r\n") == Answer(204, False, False, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_what_can_never_become_an_answer_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_answer(data)


def test_the_head_ends_where_the_length_goes() -> None:
    head = request_head("a:1", "POST", "/predict", [("x-one", "1")])
    assert head.startswith(b"POST /predict HTTP/1.1\r\nhost: a:1\r\n")
    assert head.endswith(b"x-one: 1\r\ncontent-length: ")


def test_a_host_among_the_headers_stands_in_place_of_the_address() -> None:
    head = request_head("a:1", "POST", "/predict", [("host", "fraud.example")])
    assert head.count(b"host: ") == 1
    assert b"host: fraud.example\r\n" in head
