"""Processes beside the service: what may crash, hang or take too much memory happens there, and ends there.

A child is started fresh (never forked: a fork of a process that computed with several threads may hang), runs with a
low claim on processor and memory, and ends when its parent does, however that ends.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

NICENESS = 10
LONGEST_REPLY = 2**20  # bytes
_FIRST_TO_BE_KILLED = "1000"  # where the machine has no memory left, this process goes, not the service
_MEGABYTE = 2**20


class ChildError(RuntimeError):
    """A child ended without a reply, or with one that makes no sense."""


def start(module: str, request: Mapping[str, Any]) -> "subprocess.Popen[bytes]":
    """Start a module of this package in a new interpreter and send it one line of JSON.

    The request goes through a pipe, because others can read arguments and it may hold credentials.
    """
    here = str(Path(__file__).parents[1])  # the very code that runs now
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-P", "-m", module],
        env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    assert process.stdin is not None  # noqa: S101  asked for above
    with suppress(BrokenPipeError):  # it is gone already; whoever reads its reply will see
        process.stdin.write(json.dumps(request).encode() + b"\n")
    return process


def reply_of(process: "subprocess.Popen[bytes]", *, seconds: float) -> dict[str, Any]:
    """Wait for the one reply of a child and for its end.

    Raises
    ------
    ChildError
        If it was killed, took longer than `seconds`, or said nothing that makes sense.
    """
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdout is not None  # noqa: S101  asked for at its start
        reply = _read(process.stdout)
    finally:
        timer.cancel()
        stop(process)
    if late.is_set():
        raise ChildError(f"took longer than {seconds:g} s")
    with suppress(ValueError):
        found = json.loads(reply)
        if isinstance(found, dict):
            return found
    raise ChildError(ending(process.returncode))


def line_of(process: "subprocess.Popen[bytes]", *, seconds: float) -> dict[str, Any]:
    """Wait for one line of JSON from a child that goes on.

    Raises
    ------
    ChildError
        If there is none within `seconds`, or it makes no sense.
    """
    assert process.stdout is not None  # noqa: S101  asked for at its start
    line, deadline = b"", time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise ChildError(f"said nothing for {seconds:g} s")
        part = process.stdout.read(LONGEST_REPLY)
        line += part
        if not part or len(line) > LONGEST_REPLY:
            raise ChildError(ending(process.poll()))
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    raise ChildError("said something that makes no sense")


def _read(stream: IO[bytes]) -> bytes:
    reply = b""
    while len(reply) < LONGEST_REPLY and (part := stream.read(LONGEST_REPLY)):
        reply += part
    return reply


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a child, if it has not ended, and let go of it."""
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.wait()


def ending(code: int | None) -> str:
    """Return in words how a process ended: `was ended by SIGSEGV`."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
    return "ended without a reply" if code is None else f"ended with code {code} and without a reply"


def settle(*, memory_mb: int, niceness: int = NICENESS) -> None:
    """Called in a child first: take a low claim on the machine, and no more memory than allowed."""
    with suppress(OSError):
        os.nice(niceness)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_BE_KILLED, encoding="ascii")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * _MEGABYTE,) * 2)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def take_output() -> int:
    """Return a descriptor of standard output for this process's own words; native libraries print to nowhere."""
    own = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return own


def end_with_parent() -> None:
    """End this process as soon as standard input ends: the parent is gone, or wants no reply any more."""

    def watch() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
