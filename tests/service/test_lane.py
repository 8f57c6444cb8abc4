"""The short way through real sockets: a server in a thread, requests written byte by byte."""

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from model.settings import Settings
from service.scorer import Loaded
from service.server import listen, make_server
from tests.service.shelf import wait_until

PAYMENT = {
    "transaction_id": 1,
    "tx_datetime": "2026-02-10T10:00:00Z",
    "customer_id": 7,
    "terminal_id": "9",
    "tx_amount": 12.5,
}
BODY = json.dumps(PAYMENT).encode()
PATIENCE = 60  # seconds; only what hangs takes as long
# On a machine that does other work too, a payment may wait longer than by default.
PATIENT = {"longest_wait_ms": 10_000.0, "read_seconds": 60.0}


@dataclass(frozen=True)
class Running:
    """A server under test; `stop` tells it to end, as SIGTERM does."""

    port: int
    log: Path
    stop: Callable[[], None]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


@contextmanager
def running(settings: Settings, loaded: Loaded, log: Path, **changed: object) -> Iterator[Running]:
    settings = settings.model_copy(update={"port": 0, "decision_log": str(log), **PATIENT, **changed})
    listener = listen(settings)
    server = make_server(settings, loaded)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield Running(listener.getsockname()[1], log, lambda: server.handle_exit(15, None))
    finally:
        server.force_exit = server.should_exit = True
        thread.join(timeout=PATIENCE)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def server(settings: Settings, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("log") / "decisions"
    with running(settings, loaded, log) as started:
        yield started


@pytest.fixture(scope="module")
def hasty(settings: Settings, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that soon ends a request that does not arrive."""
    with running(settings, loaded, tmp_path_factory.mktemp("log") / "decisions", read_seconds=1.0) as started:
        yield started


def request(
    body: bytes = BODY, *, path: str = "/predict", headers: str = "content-type: application/json\r\n"
) -> bytes:
    return f"POST {path} HTTP/1.1\r\nhost: a\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body


def read(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = HTTPResponse(connection)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def listens(server: Running) -> bool:
    try:
        server.connect().close()
    except ConnectionError:
        return False
    return True


def ask(server: Running, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    with server.connect() as connection:
        connection.sendall(raw)
        return read(connection)


@pytest.mark.parametrize(
    "raw",
    [
        request(),
        request(path="/predict?explain=full"),
        request(path="/predict?explain=reasons"),
        request(headers=""),
        request(b'{"transaction_id": 1}'),
        request(b"{"),
        request(b""),
        request(path="/predict?explain=nonsense"),
        request(headers="content-type: text/plain\r\n"),
        request(b" " * 20_000 + BODY),
    ],
    ids=["plain", "full", "reasons", "no type", "missing", "broken", "empty", "nonsense", "text", "large"],
)
def test_the_short_way_answers_as_the_application_does(server: Running, client: TestClient, raw: bytes) -> None:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    path, headers = lines[0].split()[1], dict(line.split(": ", 1) for line in lines[1:])
    expected = client.post(path, content=body, headers=headers)
    status, got_headers, got = ask(server, raw)
    assert (status, got) == (expected.status_code, expected.content)
    assert got_headers["content-type"] == expected.headers["content-type"]


def test_a_body_in_chunks_gets_the_same_bytes_the_ordinary_way(server: Running) -> None:
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:])) + b"0\r\n\r\n"
    assert ask(server, head + chunks)[2] == ask(server, request())[2]


def test_a_request_cut_into_single_bytes_is_answered(server: Running) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request():
            connection.sendall(bytes([byte]))
        assert read(connection)[0] == 200


def test_one_connection_serves_many_requests(server: Running) -> None:
    with server.connect() as connection:
        for number in range(50):
            connection.sendall(request(json.dumps(PAYMENT | {"transaction_id": number}).encode()))
            assert json.loads(read(connection)[2])["transaction_id"] == number


def test_requests_sent_without_waiting_are_answered_in_order(server: Running) -> None:
    health = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
    first, second = (request(json.dumps(PAYMENT | {"transaction_id": number}).encode()) for number in (1, 2))
    with server.connect() as connection:
        connection.sendall(first + second + health + second + first)
        with connection.makefile("rb") as stream:
            bodies = [_read_from(stream) for _ in range(5)]
    assert [body.get("transaction_id", "health") for body in bodies] == [1, 2, "health", 2, 1]


def _read_from(stream: object) -> dict[str, object]:
    length = 0
    while (line := stream.readline()) != b"\r\n":  # type: ignore[attr-defined]
        assert line
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    body: dict[str, object] = json.loads(stream.read(length))  # type: ignore[attr-defined]
    return body


def test_a_client_that_asks_for_it_has_its_connection_closed(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(request(headers="connection: close\r\n"))
        status, headers, _ = read(connection)
        assert (status, headers["connection"]) == (200, "close")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("part", [1, 30, len(request()) - 1], ids=["method", "headers", "body"])
def test_a_request_that_never_ends_is_told_so_and_closed(hasty: Running, part: int) -> None:
    with hasty.connect() as connection:
        connection.sendall(request()[:part])
        status, headers, body = read(connection)
        assert (status, headers["connection"]) == (408, "close")
        assert json.loads(body)["status"] == 408
        assert connection.recv(1) == b""


def test_a_client_that_goes_away_half_way_harms_nobody(server: Running) -> None:
    for part in (5, 60, len(request()) - 3):
        with server.connect() as connection:
            connection.sendall(request()[:part])
    assert ask(server, request())[0] == 200


def test_an_idle_connection_is_closed_after_the_keep_alive_time(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    with running(settings, loaded, tmp_path / "log", keep_alive_seconds=1) as server, server.connect() as connection:
        connection.sendall(request())
        assert read(connection)[0] == 200
        assert connection.recv(1) == b""


def test_what_would_wait_too_long_is_refused_and_everything_is_accounted_for(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    given: Counter[int] = Counter()
    with running(settings, loaded, log, longest_wait_ms=0.01) as server:
        connections = [server.connect() for _ in range(60)]
        for round_ in range(5):
            for number, connection in enumerate(connections):
                body = json.dumps(PAYMENT | {"transaction_id": 100 * round_ + number}).encode()
                connection.sendall(request(body))
            answers = [read(connection) for connection in connections]
            given.update(status for status, _, _ in answers)
            assert all(headers["retry-after"] == "1" for status, headers, _ in answers if status == 503)
        assert ask(server, b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")[0] == 200
        metrics = ask(server, b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")[2].decode()
        for connection in connections:
            connection.close()
    counted = {
        status: int(float(line.split()[-1]))
        for line in metrics.splitlines()
        for status in (200, 503)
        if line.startswith(f'fraud_requests_total{{route="/predict",status="{status}"}}')
    }
    assert counted == given
    assert given.total() == 300
    assert given[503] > 0
    assert len(log.read_text().splitlines()) == given[200]  # none at all where other work delays every answer


def test_a_server_told_to_end_is_not_ready_but_answers_and_closes_connections(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    ready = b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n"
    with running(settings, loaded, tmp_path / "log", drain_seconds=30) as server, server.connect() as kept:
        kept.sendall(request())
        assert read(kept)[0] == 200
        assert ask(server, ready)[0] == 200
        server.stop()
        status, headers, body = ask(server, ready)
        assert (status, headers["connection"]) == (503, "close")
        assert "about to end" in json.loads(body)["detail"]
        kept.sendall(request())
        status, headers, _ = read(kept)
        assert (status, headers["connection"]) == (200, "close")
        assert kept.recv(1) == b""
        assert ask(server, request())[0] == 200


def test_a_payment_that_is_still_arriving_when_the_server_ends_is_answered(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    with running(settings, loaded, tmp_path / "log") as server, server.connect() as slow:
        slow.sendall(request()[:-5])
        assert ask(server, b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")[0] == 200
        server.stop()
        wait_until(lambda: not listens(server))  # any more; in the same turn it has asked its connections to end
        slow.sendall(request()[-5:])
        status, headers, _ = read(slow)
        assert (status, headers["connection"]) == (200, "close")
