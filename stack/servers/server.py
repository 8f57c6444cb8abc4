"""A server as a process of its own that can be stopped, killed and started again, also by a later command."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

START_SECONDS = 180  # MLflow without compiled files beside it needs two minutes
STOP_SECONDS = 20
_SETTINGS = ("FRAUD_", "AWS_", "MLFLOW_", "PG")  # of the product, S3's clients, MLflow and PostgreSQL


class ServerError(RuntimeError):
    """A server did not start; the text ends with the end of its log."""


class Server:
    """A server on loopback, living in a folder: its port, its log and its process id stay there.

    As a context manager it starts when entered, and stops and is deleted when left.

    Parameters
    ----------
    folder
        A folder of its own, made where it is not there; with what an earlier server of this kind left in it, the server
        goes on with the same content.
    port
        A TCP port of 127.0.0.1; without one the folder's former port, else an unused one.
    """

    name = "server"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.home = self.folder  # where its processes work
        self.port = self._number("port", port)
        self.log = self.folder / "log.txt"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.delete()

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens where it runs already.

        Raises
        ------
        Missing
            If a program is not installed.
        ServerError
            If it ends, or does not answer in time.
        """
        raise NotImplementedError

    def stop(self) -> None:
        """Ask it to end, and kill it if it does not."""
        for part in reversed(self._parts()):
            self._end(part, signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut would."""
        for part in reversed(self._parts()):
            self._end(part, signal.SIGKILL)

    def delete(self) -> None:
        """Remove what lies outside its folder."""

    def runs(self) -> bool:
        """Return whether its processes are there."""
        return all(self._pid(part) is not None for part in self._parts())

    def any_runs(self) -> bool:
        """Return whether one of its processes is there."""
        return any(self._pid(part) is not None for part in self._parts())

    def _parts(self) -> tuple[str, ...]:
        """Return the names of its processes, in the order of their start."""
        return (self.name,)

    def _number(self, name: str, given: int | None = None) -> int:
        """Return a port that stays the same for this folder."""
        noted = self.folder / name
        known = noted.read_text().strip() if given is None and noted.is_file() else ""
        if known:
            return int(known)
        port = given or unused_port()
        note(noted, f"{port}\n")
        return port

    def _launch(
        self,
        command: Sequence[str | Path],
        ready: Callable[[], bool],
        *,
        part: str = "",
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        part = part or self.name
        if self._pid(part) is not None:  # perhaps of a command that was interrupted before it was ready
            self._wait(lambda: self._pid(part) is not None, ready)
            return
        if part in (self.name, self._parts()[0]) and listens(self.port):
            raise ServerError(f"{self.name}: port {self.port} of {self.folder} is used by another process")
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.home,
                env=neutral_environment() | {**(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=[] if user else None,
            )
        self._processes[part] = process
        note(self.folder / f"{part}.pid", f"{process.pid}\n")
        self._wait(lambda: process.poll() is None, ready)

    def _wait(self, lives: Callable[[], bool], ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while lives() and time.monotonic() < deadline:
            with suppress(OSError):
                if ready():
                    return
            time.sleep(0.1)
        ended = f"did not answer within {START_SECONDS} s" if lives() else "ended"
        self.kill()
        raise ServerError(f"{self.name} {ended}; the end of {self.log}:\n{self._end_of_log()}")

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.is_file() else ""

    def _pid(self, part: str) -> int | None:
        """Return the id of a running process of this server, whoever started it."""
        known = self._processes.get(part)
        if known is not None:
            return known.pid if known.poll() is None else None
        noted = self.folder / f"{part}.pid"
        if not noted.is_file():
            return None
        pid = int(noted.read_text())
        return pid if self._is_ours(pid) else None

    def _is_ours(self, pid: int) -> bool:
        """Return whether a process still works in its folder: its id may belong to another one by now."""
        with suppress(OSError):
            where = Path(f"/proc/{pid}/cwd").readlink()
            return self.home in (where, *where.parents)  # some go down into their content
        lister = ["ps", "-o", "command=", "-p", str(pid)]
        return str(self.home) in subprocess.run(lister, capture_output=True, text=True, check=False).stdout

    def _end(self, part: str, how: signal.Signals) -> None:
        pid = self._pid(part)
        if pid is not None:
            self._signal(pid, how)
            if not self._is_gone(part, STOP_SECONDS):
                self._signal(pid, signal.SIGKILL)
                self._is_gone(part, STOP_SECONDS)
            # Workers are processes of their own, in the session that was made for them.
            self._signal(pid, signal.SIGKILL)
        self._processes.pop(part, None)
        (self.folder / f"{part}.pid").unlink(missing_ok=True)

    @staticmethod
    def _signal(pid: int, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(pid, how)

    def _is_gone(self, part: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._pid(part) is None:
                return True
            time.sleep(0.05)
        return False


def note(path: Path, text: str, *, secret: bool = False) -> None:
    """Write a small file whole or not at all, so that no later command finds half of it where the disk was full."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    draft.touch(0o600 if secret else 0o644)
    draft.write_text(text)
    draft.replace(path)


def neutral_environment() -> dict[str, str]:
    """Return this process's environment without what would have its child speak to other servers, or as somebody."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}


def unused_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether somebody accepts connections on a port of 127.0.0.1."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
