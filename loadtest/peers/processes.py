"""Servers as processes of their own: pinned to one core, their whole group ended whatever happens."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 180  # a large package that is read from disk for the first time
STOP_SECONDS = 20
PREPARE_SECONDS = 180


class ServerError(RuntimeError):
    """A server did not start, or does not answer as it should; the text is one line."""


def free_ports(count: int) -> tuple[int, ...]:
    """Return different ports of 127.0.0.1 that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(one.getsockname()[1] for one in sockets)


def run_command(
    command: Sequence[str], *, seconds: float, folder: Path | None = None, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and return what it printed.

    Raises
    ------
    subprocess.TimeoutExpired
        If it takes too long. Then, as on Ctrl-C, it is ended with all that it started.
    """
    with subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
        except BaseException:
            _stop(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Keep this thread, and every process it starts meanwhile, on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def server(
    command: Sequence[str], *, core: int, folder: Path, variables: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server on one core, its output in the file `log`; end it and all that it started.

    Raises
    ------
    ServerError
        If there is no such command.
    """
    with log.open("wb") as output, pinned(core):
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its children share its group, and Ctrl-C is ours to pass on
            )
        except OSError as error:
            raise ServerError(f"cannot be started: {error.strerror}") from None
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[Any]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        # Also when a second Ctrl-C ends the waiting. What is left of the group has had its time.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)


def prepare(command: Sequence[str], *, folder: Path, variables: Mapping[str, str]) -> None:
    """Run a command to its end.

    Raises
    ------
    ServerError
        If it fails or takes too long.
    """
    try:
        done = run_command(command, seconds=PREPARE_SECONDS, folder=folder, variables=variables)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"cannot be prepared: {type(error).__name__}") from None
    if done.returncode:
        raise ServerError(f"cannot be prepared: {last_line(done.stderr)}")


def wait_until_answering(
    client: httpx.Client, path: str, body: bytes, *, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    """Post the body until it is answered with 200.

    Raises
    ------
    ServerError
        If the process ends, or does not answer in time.
    """
    deadline = time.monotonic() + START_SECONDS
    said = "it does not listen"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(f"ended by itself: {last_line(log.read_text(encoding='utf-8', errors='replace'))}")
        try:
            status = post(client, path, body).status_code
        except httpx.TransportError:
            time.sleep(0.2)
            continue
        if status == httpx.codes.OK:
            return
        said = f"it answers {status}"
        time.sleep(0.2)
    raise ServerError(f"not ready after {START_SECONDS} s: {said}")


def post(client: httpx.Client, path: str, body: bytes) -> httpx.Response:
    """Return the answer to a JSON body."""
    return client.post(path, content=body, headers={"content-type": "application/json"})


def score_in(answer: Any, keys: Sequence[str | int]) -> float:
    """Return the score that stands in an answer under these keys, one after the other.

    Raises
    ------
    ServerError
        If there is none.
    """
    try:
        for key in keys:
            answer = answer[key]
        return float(answer)
    except (KeyError, IndexError, TypeError, ValueError):
        raise ServerError("its answer has no score where one is expected") from None


def last_line(text: str) -> str:
    """Return the last line that says something, cut to what a table can take."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["it said nothing"])[-1][:160]
