"""The service as gateways meet it: real processes, counted requests, each of them accounted for."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.ledger import LoadResult, Outcome
from loadtest.open_loop import run_load_blocking
from loadtest.service import free_port
from model.settings import Settings
from service.scorer import Loaded
from tests.conftest import ID_KEY

pytestmark = [pytest.mark.slow, pytest.mark.integration]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
PATIENCE = 240.0
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (system package nginx-light)")


class Instance:
    """One service process with a decision log of its own."""

    def __init__(self, settings: Settings, folder: Path, *, program: str = "antifraud serve", **given: str) -> None:
        folder.mkdir(parents=True)
        self.log = folder / "decisions"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")}
        environment |= {
            "FRAUD_ID_KEY": ID_KEY,
            "FRAUD_WORK_FOLDER": str(settings.work_folder),
            "FRAUD_PORT": "0",
            "FRAUD_DECISION_LOG": str(self.log),
            # On a machine that does other work too, a payment may wait longer than by default, and is refused for that.
            "FRAUD_LONGEST_WAIT_MS": "10000",
            **{f"FRAUD_{name.upper()}": value for name, value in given.items()},
        }
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        command = [sys.executable, "-m", *program.split()]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=folder)
        assert self.process.stderr is not None
        said = ""
        while not (found := re.search(r"serving model .* on http://127\.0\.0\.1:(\d+)", said)):
            line = self.process.stderr.readline()
            assert line, said
            said += line
        self.port = int(found[1])

    def lines(self) -> list[int]:
        """Return the transaction ids of all lines of the decision log."""
        return [json.loads(line)["transaction_id"] for line in self.log.read_text().splitlines()]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=PATIENCE)


@contextmanager
def instances(count: int, settings: Settings, folder: Path, **given: str) -> Iterator[list[Instance]]:
    with ExitStack() as stack:
        started = []
        for number in range(count):
            instance = Instance(settings, folder / f"instance-{number}", **given)
            stack.callback(instance.process.communicate)  # reads what is left and closes the pipe
            stack.callback(instance.process.kill)
            started.append(instance)
        yield started


@contextmanager
def nginx(ports: Sequence[int], folder: Path) -> Iterator[int]:
    """Run a proxy over several instances, set up as the ingress is; a POST is safe to repeat and repeated once."""
    port = free_port()
    upstream = " ".join(f"server 127.0.0.1:{one} max_fails=0;" for one in ports)
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
        events {{ worker_connections 1024; }}
        http {{
          access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
          keepalive_requests 1000000;
          upstream scoring {{ {upstream} keepalive 64; keepalive_timeout 60s; keepalive_requests 1000000; }}
          server {{
            listen 127.0.0.1:{port};
            location / {{
              proxy_pass http://scoring; proxy_http_version 1.1; proxy_set_header Connection "";
              proxy_next_upstream error timeout http_503 non_idempotent; proxy_next_upstream_tries 2;
            }}
          }}
        }}
        """
    )
    assert NGINX is not None
    process = subprocess.Popen([NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


def payments(start: int = 0) -> Iterator[bytes]:
    """Return payments with different transaction ids, some of unknown customers, without end."""
    for number in itertools.count(start):
        yield json.dumps(
            {
                "transaction_id": number,
                "tx_datetime": "2026-02-10T10:00:00Z",
                "customer_id": number % 600,
                "terminal_id": number % 900,
                "tx_amount": 10.0 + number % 300,
            }
        ).encode()


def load(
    port: int,
    *,
    rate: float,
    seconds: float,
    start: int = 0,
    retry_once: bool = False,
    connections: int = 64,
    timeout: float = 20.0,
    answered: list[int] | None = None,
) -> LoadResult:
    """Ask at a rate; the transaction ids of whole answers go into `answered`."""

    def note(outcome: Outcome, _: bytes, response: bytes) -> None:
        if outcome is Outcome.ANSWERED and answered is not None:
            answered.append(json.loads(response)["transaction_id"])

    result = run_load_blocking(
        "127.0.0.1",
        port,
        rate,
        seconds,
        payments(start),
        timeout=timeout,
        retry_once=retry_once,
        connections=connections,
        observe=note,
    )
    assert result.adds_up
    return result


@contextmanager
def meanwhile(*actions: tuple[float, object]) -> Iterator[None]:
    """Do things at their times (seconds from now) while the block runs."""
    timers = [threading.Timer(after, action) for after, action in actions]  # type: ignore[arg-type]
    for timer in timers:
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.join()


@needs_nginx
def test_ending_instances_one_after_the_other_behind_nginx_loses_none_of_20_000(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    assert loaded.model_version == "1"
    with (
        instances(2, settings, tmp_path, drain_seconds="1") as (old, other),
        nginx([old.port, other.port], tmp_path) as port,
    ):
        codes: list[int] = []
        with meanwhile((15.0, lambda: codes.append(old.end()))):
            result = load(port, rate=400, seconds=50)
        assert result.due == result.answered == 20_000, result
        assert codes == [0]
        assert sorted(old.lines() + _lines_after_end(other)) == list(range(20_000))


def _lines_after_end(instance: Instance) -> list[int]:
    assert instance.end() == 0
    return instance.lines()


@needs_nginx
def test_killing_one_of_two_behind_nginx_loses_none_with_one_retry(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    assert loaded.model_version == "1"
    with instances(2, settings, tmp_path) as (killed, other), nginx([killed.port, other.port], tmp_path) as port:
        with meanwhile((5.0, killed.process.kill)):
            result = load(port, rate=300, seconds=12, retry_once=True)
        assert result.due == result.answered, result
        assert killed.process.wait(timeout=PATIENCE) == -signal.SIGKILL


def test_hundreds_of_slow_clients_harm_nobody(settings: Settings, loaded: Loaded, tmp_path: Path) -> None:
    assert loaded.model_version == "1"
    head = b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n"
    with (
        instances(1, settings, tmp_path, read_seconds="5") as (instance,),
        ExitStack() as stack,
    ):
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", instance.port))) for _ in range(400)]
        for number, connection in enumerate(slow):
            connection.sendall(head[: 20 + number % 40] if number % 2 else head + b'{"transaction_id": ')
        result = load(instance.port, rate=200, seconds=3)
        assert result.due == result.answered, result
        for connection in slow:
            connection.settimeout(PATIENCE)
            assert connection.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert _lines_after_end(instance) == list(range(600))


def test_ten_times_the_capacity_for_30_seconds_leaves_nine_tenths_of_it_and_is_forgotten_at_once(
    settings: Settings, loaded: Loaded, tmp_path: Path
) -> None:
    """With a model so slow that refusing is cheap beside answering, as a large one on a small share of a core.

    Its capacity is what it answers in a second of processor time: other work on the machine takes nothing of that.
    """
    assert loaded.model_version == "1"
    with ExitStack() as stack:
        # A longer wait than by default: on a machine that does other work too, answers come in bursts.
        instance = Instance(
            settings, tmp_path / "slow", program="tests.integration.slow_service", longest_wait_ms="250"
        )
        stack.callback(instance.process.communicate)
        stack.callback(instance.process.kill)
        answered: list[int] = []
        before = _capacity(instance, answered)
        health: list[int] = []
        stop = threading.Event()
        watcher = threading.Thread(target=_watch, args=(instance.port, health, stop))
        watcher.start()
        flood, flooded = _worked(instance, rate=10 * before.rate, seconds=30, start=10**6, answered=answered)
        stop.set()
        watcher.join()
        after = load(instance.port, rate=before.rate / 4, seconds=3, start=2 * 10**6, answered=answered)
        assert after.due == after.answered, after
        assert len(health) > 50
        assert set(health) == {200}
        assert flood.errors == 0, flood  # 200 or 503 with Retry-After, and nothing else
        again = _capacity(instance, answered, start=3 * 10**6)
        least = 0.9 * min(before.per_second_of_work, again.per_second_of_work)
        assert flood.answered / flooded.run >= least, (flood, flooded, before, again)
        assert flooded.idle < 0.1 * flooded.wall, (flood, flooded)  # it refused nothing that it had time for
        # Each 200 has exactly one line, and nothing that was refused has one.
        logged = _lines_after_end(instance)
        assert sorted(logged) == sorted(answered)
        assert len(answered) == before.count + flood.answered + after.answered + again.count


@dataclass(frozen=True)
class Work:
    """What a process did in some seconds: ran, waited for a core that others had, or neither."""

    wall: float
    run: float
    idle: float


@dataclass(frozen=True)
class Capacity:
    """How many payments two connections that are always busy got answered: of the clock, of the processor's time."""

    count: int
    rate: float
    per_second_of_work: float


def _capacity(instance: Instance, answered: list[int], *, start: int = 0) -> Capacity:
    count = 500
    result, work = _worked(
        instance,
        rate=count * 10,
        seconds=0.1,
        start=start,
        connections=2,
        timeout=PATIENCE,
        answered=answered,
    )
    assert result.answered == count, result
    return Capacity(count, count / work.wall, count / work.run)


def _worked(instance: Instance, **asked: Any) -> tuple[LoadResult, Work]:
    """Ask, and return also what the thread that answers did meanwhile."""
    before = _times(instance.process.pid)
    result = load(instance.port, **asked)
    wall, run, waited = (now - then for now, then in zip(_times(instance.process.pid), before, strict=True))
    return result, Work(wall, run, wall - run - waited)


def _times(process: int) -> tuple[float, float, float]:
    """Return the seconds of the clock, and those that the first thread of a process ran and waited for a core."""
    run, waited, _ = Path(f"/proc/{process}/task/{process}/schedstat").read_text().split()
    return time.monotonic(), int(run) / 1e9, int(waited) / 1e9


def _watch(port: int, seen: list[int], stop: threading.Event) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, trust_env=False) as client:
        while not stop.wait(0.2):
            seen.append(client.get("/health").status_code)
