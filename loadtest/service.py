"""The service under test: started here on a core of its own, or found where somebody else runs it."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEMO = Path("var/demo")  # where `make run` puts its bank
START_SECONDS = 60  # how long the service may take to be ready
STOP_SECONDS = 30
PAGE_SECONDS = 10  # how long a page may take; nearly all of it is for a machine that does other work too


class ServiceError(RuntimeError):
    """The service cannot be started or asked."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service that answers."""

    host: str
    port: int
    process: int | None = None
    """Its process id, if it was started here."""

    @property
    def address(self) -> str:
        """The address as a browser takes it."""
        return f"http://{self.host}:{self.port}"

    def get(self, path: str) -> Any:
        """Return a JSON page.

        Raises
        ------
        ServiceError
            If there is no answer, or another status than 200.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PAGE_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(f"{self.address}{path}: {type(error).__name__}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise ServiceError(f"{self.address}{path}: status {answer.status}")
        return json.loads(body)

    def is_ready(self) -> bool:
        """Whether it says that it can score."""
        try:
            self.get("/ready")
        except ServiceError:
            return False
        return True

    def statistics_as_of(self) -> datetime | None:
        """Return the moment of the loaded statistics, or None where the service does not say."""
        try:
            return datetime.fromisoformat(self.get("/version")["statistics_as_of"])
        except (ServiceError, KeyError, TypeError, ValueError):
            return None


def find_service(address: str) -> Service:
    """Return a running service by its address, `http://host:port`.

    Raises
    ------
    ServiceError
        If the address is of another form.
    """
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
        raise ServiceError(f"{address} is no address like http://127.0.0.1:8000")
    return Service(parts.hostname, parts.port or 80)


def prepare_demo(python: str) -> None:
    """Simulate and train the small bank of `make run`, unless that was done before."""
    if (DEMO / "trained.json").exists():
        return
    print("The demonstration's bank is not there yet; simulating and training it, once ...", flush=True)
    command = [*_antifraud(python), "run", "--once", "--work-folder", str(DEMO.parent), "--port", str(free_port())]
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
        raise ServiceError("the demonstration's bank could not be made; `make run` says why")


@contextmanager
def running_service(folder: Path, *, python: str = sys.executable, core: int | None = None) -> Iterator[Service]:
    """Serve what a work folder holds, on a free port of this machine, for the time of the block.

    Parameters
    ----------
    folder
        Work folder with a champion, and beside it `id.key`, as `make run` makes it.
    python
        Interpreter in whose environment the service is installed.
    core
        The one core that it may run on.
    """
    port = free_port()
    environment = os.environ | {"FRAUD_WORK_FOLDER": str(folder), "FRAUD_LOG_LEVEL": "warning"}
    if (folder / "id.key").exists():  # else the one that is configured
        environment["FRAUD_ID_KEY_FILE"] = str(folder / "id.key")
    process = subprocess.Popen(
        [*_antifraud(python), "serve", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        service = Service("127.0.0.1", port, process.pid)
        _wait_until_ready(service, process)
        yield service
    finally:
        _stop(process)


def _antifraud(python: str) -> Sequence[str]:
    # -P: the installed package, not whatever folder of that name lies where this command was given.
    return (python, "-P", "-m", "antifraud")


def _wait_until_ready(service: Service, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServiceError(f"the service did not start (exit code {process.returncode}); its last line says why")
        if service.is_ready():
            return
        time.sleep(0.1)
    raise ServiceError(f"the service was not ready after {START_SECONDS} s")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
