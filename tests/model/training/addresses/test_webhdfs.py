"""What name nodes answer that cannot be started here: one that asks for Kerberos, and the standby of a pair."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from model.address import AddressError
from model.training.addresses import open_address

STANDBY = "Operation category READ is not supported in state standby. Visit https://s.apache.org/sbnn-error"
REMOTE = {
    "exception": "StandbyException",
    "javaClassName": "org.apache.hadoop.ipc.StandbyException",
    "message": STANDBY,
}
FOLDER = {"FileStatus": {"type": "DIRECTORY", "length": 0, "modificationTime": 0, "pathSuffix": ""}}


@contextmanager
def name_node(*answers: tuple[int, dict[str, str], bytes]) -> Iterator[tuple[str, list[str]]]:
    """Give the address of a WebHDFS, which answers these in turn and the last for ever, and what it was asked."""
    left, asked = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            status, headers, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def said(answer: Mapping[str, object], status: int) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def test_a_name_node_that_asks_for_kerberos_has_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with name_node((401, {"WWW-Authenticate": "Negotiate"}, b"<html>Authentication required</html>")) as (url, asked):
        monkeypatch.setenv("FRAUD_WEBHDFS", url)
        with pytest.raises(AddressError, match=r"hdfs://bank:8020/h: access was refused \(HTTP status 401\); check"):
            open_address("hdfs://bank:8020/h").exists()
    assert len(asked) == 1


def test_a_standby_is_asked_until_it_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    with name_node(said({"RemoteException": REMOTE}, 403), said(FOLDER, 200)) as (url, asked):
        monkeypatch.setenv("FRAUD_WEBHDFS", url)
        monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "60")
        assert open_address("hdfs://bank:8020/h").exists()
    assert len(asked) == 2


def test_one_that_stays_standby_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    with name_node(said({"RemoteException": REMOTE}, 403)) as (url, _):
        monkeypatch.setenv("FRAUD_WEBHDFS", url)
        monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "0")
        with pytest.raises(AddressError, match=r"asked again \(.*not supported in state standby.*FRAUD_WEBHDFS"):
            open_address("hdfs://bank:8020/h").exists()


def test_where_nobody_answered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUD_WEBHDFS", "http://127.0.0.1:1")
    monkeypatch.setenv("FRAUD_STORE_PATIENCE_SECONDS", "0")
    with pytest.raises(AddressError, match=r"\(ConnectionError at 127\.0\.0\.1:1\); check FRAUD_WEBHDFS"):
        open_address("hdfs://bank:8020/h").exists()
