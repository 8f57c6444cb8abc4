"""The process as Kubernetes sees it: a real port, real signals, exit codes and what it says on the way out."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from antifraud.cli import main
from model.registry import open_publisher
from model.settings import Settings
from service.scorer import Loaded
from service.server import ListenError, listen
from tests.conftest import ID_KEY
from tests.service.wire import JSON, payment, post, refused

PATIENCE = 240  # seconds; only a process that hangs takes as long
WAIT = {"longest_wait_ms": "10000"}  # on a machine that does other work too, a payment may wait longer than by default
LISTENING = re.compile(r"serving model 1 with statistics as of \S+ on http://127\.0\.0\.1:(\d+)")


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with these `FRAUD_*` variables and no others."""
    rest = {name: value for name, value in os.environ.items() if not name.upper().startswith("FRAUD_")}
    return rest | {f"FRAUD_{name.upper()}": value for name, value in settings.items()}


def serve(folder: Path, **settings: str) -> "subprocess.Popen[str]":
    """Start `antifraud serve` in a folder, away from any `.env`."""
    return subprocess.Popen(
        [sys.executable, "-m", "antifraud", "serve"],
        cwd=folder,
        env=environment(**WAIT, **settings) | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(settings: Settings, folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Run the service on a free port until the block ends."""
    process = serve(folder, id_key=ID_KEY, work_folder=str(settings.work_folder), port="0")
    assert process.stderr is not None
    try:
        first = process.stderr.readline()
        listening = LISTENING.search(first)
        assert listening, first + process.stderr.read()
        yield process, int(listening[1])
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def port(settings: Settings, loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a running service."""
    assert loaded.model_version == "1"
    with serving(settings, tmp_path_factory.mktemp("elsewhere")) as (_, port):
        yield port


def test_a_payment_is_answered_as_in_process_over_one_kept_connection(port: int, client: TestClient) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as remote:
        connections = set()
        for amount in (1, 20.5, 900):
            response = post(remote, payment(tx_amount=amount))
            connections.add(id(response.extensions["network_stream"].get_extra_info("socket")))
            assert response.content == post(client, payment(tx_amount=amount)).content
        assert len(connections) == 1
        assert remote.get("/ready").status_code == 200


def test_the_connection_survives_a_refusal(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as remote:
        first = post(remote, b"{").extensions["network_stream"].get_extra_info("socket")
        again = post(remote, payment())
        assert again.status_code == 200
        assert again.extensions["network_stream"].get_extra_info("socket") is first


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("content-length: 20000000", b'{"customer_id": "'),
        ("transfer-encoding: chunked", b"5000\r\n" + b"x" * 0x5000 + b"\r\n"),
    ],
)
def test_twenty_megabytes_are_refused_before_they_are_sent(port: int, header: str, body: bytes) -> None:
    head = f"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{header}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(head.encode() + body)  # and no more: an answer must not wait for the rest
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_twenty_megabytes_sent_all_the_same_do_no_harm(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        head = "POST /predict/batch HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        try:
            connection.sendall(head.encode())
            for _ in range(200):
                connection.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # the service closed the connection, as it may
    answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=payment(), trust_env=False, timeout=PATIENCE)
    assert answer.status_code == 200


@pytest.mark.parametrize("request_line", ["GARBAGE", "GET / HTTP/9.9", "POST /predict", "\x00\x01"])
def test_what_is_not_even_http_is_refused_or_cut_off(port: int, request_line: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(request_line.encode() + b"\r\n\r\n")
        answer = connection.recv(100)
    assert not answer or b" 400 " in answer or b" 404 " in answer
    assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("name", ["content-length", "host"])
def test_a_header_that_is_no_ascii_is_no_error_of_the_service(port: int, name: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\n{name}: ²\r\nconnection: close\r\n\r\n".encode("latin-1"))
        answer = connection.recv(100)
    assert not answer or answer.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_exit_code_0_and_no_more_words(
    settings: Settings, loaded: Loaded, tmp_path: Path, number: signal.Signals
) -> None:
    assert loaded.model_version == "1"
    with serving(settings, tmp_path) as (process, port):
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE) as idle:
            assert post(idle, payment()).status_code == 200
            process.send_signal(number)  # while a connection is kept open
            out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, "")
        (line,) = out.splitlines()  # of the decision log
        assert json.loads(line)["transaction_id"] == payment()["transaction_id"]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, timeout=PATIENCE)


def one_line(out: str, err: str, *, key: str) -> str:
    """Return the one line that a start which failed has to say."""
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("antifraud: ")
    assert key not in line
    return line


def ended(folder: Path, **settings: str) -> str:
    """Return the one line with which a process ends that cannot start."""
    process = serve(folder, id_key=ID_KEY, **settings)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    return one_line(out, err, key=ID_KEY)


def test_without_a_registry_it_ends_with_one_line(tmp_path: Path) -> None:
    line = ended(tmp_path, port="0")
    assert "there is no registry" in line
    assert "antifraud train" in line
    assert not list(tmp_path.iterdir())


def test_with_an_unknown_variable_it_ends_with_one_line(tmp_path: Path) -> None:
    assert "FRAUD_PROT: there is no such setting; did you mean FRAUD_PORT?" in ended(tmp_path, prot="1")


def test_on_a_busy_port_it_ends_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        number = str(busy.getsockname()[1])
        assert f"port {number} is in use" in ended(tmp_path, port=number)


class Starter:
    """Runs `antifraud serve` in this process, where it must fail before it serves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        for name in environment().keys() ^ os.environ.keys():
            monkeypatch.delenv(name)
        monkeypatch.setattr("signal.signal", lambda *_: None)  # Ctrl-C is for the tests
        monkeypatch.chdir(folder)

    def ended(self, **settings: str) -> str:
        """Return the one line with which it ends."""
        for name, value in ({"port": "0"} | settings).items():
            self._monkeypatch.setenv(f"FRAUD_{name.upper()}", value)
        assert main(["serve"]) == 1
        out, err = self._capsys.readouterr()
        return one_line(out, err, key=settings.get("id_key", "no key"))


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Starter:
    return Starter(monkeypatch, capsys, tmp_path)


def test_without_a_champion_it_ends_with_one_line(starter: Starter, tmp_path: Path) -> None:
    open_publisher(f"sqlite:///{tmp_path / 'var' / 'mlflow.db'}")
    assert "carries the alias 'champion'" in starter.ended(id_key=ID_KEY)


def test_with_another_key_it_ends_with_one_line(starter: Starter, settings: Settings, loaded: Loaded) -> None:
    assert loaded.model_version == "1"
    key = "another key than that of the small bank"
    assert "another id key" in starter.ended(id_key=key, work_folder=str(settings.work_folder))


def test_without_a_key_it_ends_with_one_line(starter: Starter) -> None:
    assert "FRAUD_ID_KEY_FILE or FRAUD_ID_KEY must be set" in starter.ended()


@pytest.mark.parametrize("key", ["short-Zq7-k", "Zq7" * 22, ""])
def test_with_a_key_of_another_length_it_ends_with_one_line(starter: Starter, tmp_path: Path, key: str) -> None:
    file = tmp_path / "id.key"
    file.write_text(key)
    line = starter.ended(id_key_file=str(file))
    assert f"16 to 64 bytes, it has {len(key)}" in line
    assert "Zq7" not in line


def test_with_a_key_file_that_is_not_there_it_ends_with_one_line(starter: Starter) -> None:
    assert "FRAUD_ID_KEY_FILE: cannot be read (No such file or directory)" in starter.ended(id_key_file="nowhere")


def test_with_a_registry_that_does_not_answer_it_ends_with_one_line(starter: Starter) -> None:
    line = starter.ended(id_key=ID_KEY, tracking_uri="http://ada:Zq7@127.0.0.1:1")
    assert "cannot be reached" in line
    assert "Zq7" not in line


def test_a_free_port_is_taken_where_none_is_named(settings: Settings) -> None:
    with listen(settings.model_copy(update={"port": 0})) as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize("host", ["no-such-host.invalid", "192.0.2.1"])
def test_an_address_of_another_machine_cannot_be_listened_on(settings: Settings, host: str) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host}:0: [A-Z][a-z ]+"):
        listen(settings.model_copy(update={"host": host, "port": 0}))


def test_a_refusal_over_the_wire_is_what_it_is_in_process(port: int, client: TestClient) -> None:
    body = json.dumps(payment(tx_amount=-1)).encode()
    remote = httpx.post(
        f"http://127.0.0.1:{port}/predict", content=body, headers=JSON, trust_env=False, timeout=PATIENCE
    )
    assert refused(remote) == refused(post(client, body))
    assert "server" not in remote.headers


def test_told_twice_it_ends_at_once_and_loses_no_line(settings: Settings, loaded: Loaded, tmp_path: Path) -> None:
    assert loaded.model_version == "1"
    process = serve(tmp_path, id_key=ID_KEY, work_folder=str(settings.work_folder), port="0", drain_seconds="600")
    try:
        assert process.stderr is not None
        listening = LISTENING.search(process.stderr.readline())
        assert listening
        with httpx.Client(base_url=f"http://127.0.0.1:{listening[1]}", trust_env=False, timeout=PATIENCE) as idle:
            assert post(idle, payment()).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert "not ready any more" in process.stderr.readline()
            assert post(idle, payment()).status_code == 200
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert len(out.splitlines()) == 2
