"""The service as a pod runs it, to be measured: only its own packages, registry over HTTP; or as `make run` does."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.cpu import process_seconds
from loadtest.locked import Environment
from loadtest.peers.catalogue import ROOT
from loadtest.service import Service, ServiceError, free_port, running_service

POD = Environment("service", ROOT / "requirements" / "service.txt")
REGISTRY_SECONDS = 120.0  # MLflow's server, started for the first time
_WATCH_SECONDS = 0.05
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@dataclass(frozen=True, slots=True)
class Runner:
    """How services are started.

    Attributes
    ----------
    python
        Interpreter with the service's packages.
    registry
        Address of the registry server; empty reads the one embedded in the work folder.
    core
        The one core that services may run on.
    """

    python: Path
    registry: str
    core: int

    @contextmanager
    def service(self, folder: Path) -> Iterator[Service]:
        """Serve what a work folder holds for the time of the block."""
        # Nothing is published while it is measured, and the registry is gone by then.
        given = {"FRAUD_POLL_SECONDS": "0", "PYTHONPATH": os.pathsep.join(map(str, (ROOT, _described(folder))))}
        if self.registry:
            given["FRAUD_TRACKING_URI"] = self.registry
        with _variables(given):
            started = running_service(folder, python=str(self.python), core=self.core)
            service = started.__enter__()
        try:
            yield service
        finally:
            started.__exit__(None, None, None)


def _described(folder: Path) -> Path:
    """Return a folder that says which version this tree is, which is not installed in a pod's environment here."""
    version = importlib.metadata.version("antifraud")
    place = folder / "installed" / f"antifraud-{version}.dist-info"
    place.mkdir(parents=True, exist_ok=True)
    text = f"Metadata-Version: 2.1\nName: antifraud\nVersion: {version}\n"
    (place / "METADATA").write_text(text, encoding="utf-8")
    return place.parent


@contextmanager
def _variables(given: dict[str, str]) -> Iterator[None]:
    """Give processes that are started meanwhile these variables."""
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def registry_server(folder: Path, *, core: int) -> Iterator[str]:
    """Run an MLflow server with an empty registry and hand out its address.

    Raises
    ------
    ServiceError
        If it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files"]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | _QUIET, stdout=log, stderr=log, start_new_session=True
        )
    try:
        os.sched_setaffinity(process.pid, {core})
        _wait(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        # Its workers are processes of their own, all in the session that was started for them.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)


def _wait(address: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + REGISTRY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(address, timeout=5, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise ServiceError("the registry's server did not start")


def memory_mb(process: int) -> tuple[float, float]:
    """Return what a process holds of the machine's memory now and what it held at most, in millions of bytes."""
    kilobytes = _kilobytes(process)
    return kilobytes["VmRSS"] * 1024 / 1e6, kilobytes["VmHWM"] * 1024 / 1e6


def _kilobytes(process: int) -> dict[str, int]:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition(":") for line in lines if line.endswith("kB"))
    return {name: int(rest.split()[0]) for name, _, rest in pairs}


class StartPeak:
    """Watches what processes that this one starts hold at most, with all that they start themselves.

    A service may try what it loads in a process of its own first, and a pod's limit is for both together. Pages of
    files are counted once, since processes share them.

    Attributes
    ----------
    megabytes
        The most so far, in millions of bytes.
    """

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._older = _children(os.getpid())
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "StartPeak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_WATCH_SECONDS):
            held = [_kilobytes_or_none(one) for one in _descendants(_children(os.getpid()) - self._older)]
            anonymous = sum(one.get("RssAnon", 0) for one in held)
            files = max((one.get("RssFile", 0) for one in held), default=0)
            self.megabytes = max(self.megabytes, (anonymous + files) * 1024 / 1e6)


def _kilobytes_or_none(process: int) -> dict[str, int]:
    try:
        return _kilobytes(process)
    except (OSError, ValueError, IndexError):  # it has just ended
        return {}


def _children(process: int) -> set[int]:
    found: set[int] = set()
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            found.update(map(int, file.read_text(encoding="utf-8").split()))
    return found


def _descendants(processes: set[int]) -> set[int]:
    found: set[int] = set()
    while processes:
        found |= processes
        processes = {child for process in processes for child in _children(process)} - found
    return found


def cpu_seconds(process: int) -> float:
    """Return how long all threads of a process have worked; to the nanosecond where the kernel counts so."""
    try:
        files = list(Path(f"/proc/{process}/task").glob("*/schedstat"))
        spent = sum(int(file.read_text(encoding="utf-8").split()[0]) for file in files) / 1e9
    except OSError:
        spent = 0.0
    return spent or process_seconds(process)
