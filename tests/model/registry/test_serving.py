import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from starlette.testclient import TestClient

from model.registry import RefusedError
from model.registry.serving import versions_in_use
from service.scorer import Loaded


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    """A service that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/version"
            self.send_response(status)
            self.send_header("Location", "/version")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Keep the terminal clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_what_the_real_service_says_is_understood(client: TestClient, loaded: Loaded) -> None:
    with answering(client.get("/version").content) as address:
        used = versions_in_use(address + "/")
    assert used["model_version"] >= {loaded.model_version}
    assert used["statistics_version"] >= {loaded.statistics_version}


def test_what_a_service_could_fall_back_on_is_in_use_but_not_what_training_names() -> None:
    body = (
        b'{"model_version": "7", "statistics_version": 41, "model": {"champion_model_version": "3"},'
        b' "previous": {"model_version": "6"}, "shadow": [{"challenger_model_version": "8"}, 1],'
        b' "last_statistics_version": null}'
    )
    with answering(body) as address:
        assert versions_in_use(address) == {"model_version": {"6", "7", "8"}, "statistics_version": {"41"}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"7"),
        (200, b'{"model_version": "7"}'),
        (200, b'{"model_version": null, "statistics_version": null}'),
        (200, b" " * (2**20 + 1)),
        (204, b""),
        (302, b'{"model_version": "7", "statistics_version": "1"}'),
        (404, b'{"model_version": "7", "statistics_version": "1"}'),
        (503, b'{"model_version": "7", "statistics_version": "1"}'),
    ],
)
def test_a_service_that_does_not_say_what_it_uses_is_a_refusal(status: int, body: bytes) -> None:
    with answering(body, status) as address, pytest.raises(RefusedError, match=address):
        versions_in_use(address)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "ftp://host", "not an address", "http://[::1", "http://"])
def test_an_address_that_cannot_be_asked_is_a_refusal(address: str) -> None:
    with pytest.raises(RefusedError, match="could not be asked"):
        versions_in_use(address)


def test_a_refusal_shows_no_password() -> None:
    with pytest.raises(RefusedError) as refused:
        versions_in_use("http://ada:s3cret@127.0.0.1:1")
    assert "s3cret" not in str(refused.value)
