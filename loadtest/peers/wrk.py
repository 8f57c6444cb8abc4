"""The load generator wrk: run on a core of its own, and what it prints turned into numbers."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loadtest.peers.processes import pinned, run_command

SCRIPT = Path(__file__).with_name("post.lua")
SLACK_SECONDS = 60  # beyond the time it was told to run
ANSWER_SECONDS = 10  # after which wrk calls an answer timed out

_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}
_TIME = r"(\d+(?:\.\d+)?)(us|ms|s|m|h)"
_TOTAL = re.compile(rf"(\d+) requests in {_TIME},")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_SOCKET_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")


class LoadError(RuntimeError):
    """wrk is missing, or did not say what was expected."""


@dataclass(frozen=True, slots=True)
class LoadRun:
    """What one run of wrk saw.

    Attributes
    ----------
    answers
        With status 2xx or 3xx.
    refused
        With any other status.
    broken
        Connections that failed, and answers that did not come within `ANSWER_SECONDS`.
    """

    seconds: float
    answers: int
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def answers_per_second(self) -> float:
        """Good answers only."""
        return self.answers / self.seconds


def milliseconds(text: str) -> float:
    """Return a time as wrk writes it in milliseconds.

    >>> milliseconds("812.00us"), milliseconds("6.09ms"), milliseconds("1.50s")
    (0.812, 6.09, 1500.0)
    """
    match = re.fullmatch(_TIME, text.strip())
    if match is None:
        raise LoadError(f"wrk gave a time that cannot be read: {text!r}")
    return float(match[1]) * _MILLISECONDS[match[2]]


def parse_run(text: str) -> LoadRun:
    """Return the numbers in the output of `wrk --latency`.

    Raises
    ------
    LoadError
        If the total or the latency distribution is missing.
    """
    total = _TOTAL.search(text)
    if total is None:
        raise LoadError("wrk did not print a total")
    refused = _REFUSED.search(text)
    errors = _SOCKET_ERRORS.search(text)
    count = int(refused[1]) if refused else 0
    return LoadRun(
        seconds=milliseconds(total[2] + total[3]) / 1000,
        answers=int(total[1]) - count,
        refused=count,
        broken=sum(map(int, errors.groups())) if errors else 0,
        p50_ms=_percentile(text, 50),
        p99_ms=_percentile(text, 99),
    )


def _percentile(text: str, percent: int) -> float:
    match = re.search(rf"^\s*{percent}%\s+{_TIME}\s*$", text, re.MULTILINE)
    if match is None:
        raise LoadError(f"wrk did not print the {percent}th percentile")
    return milliseconds(match[1] + match[2])


def find_wrk() -> str:
    """Return the path of wrk.

    Raises
    ------
    LoadError
        If it is not installed; the text says how to.
    """
    path = shutil.which("wrk")
    if path is None:
        raise LoadError("wrk is needed to make the load; on Debian and Ubuntu: apt-get install wrk")
    return path


def wrk_version() -> str:
    """Return the version of wrk, without its build."""
    said = run_command([find_wrk(), "-v"], seconds=10)
    match = re.search(r"\d+\.\d+\.\d+", said.stdout)
    return match[0] if match else "unknown"


def put_load(address: str, bodies: Path, *, core: int, connections: int, seconds: int) -> LoadRun:
    """Post the lines of a file, each as soon as the answer before it is in, on so many connections at once."""
    command = [find_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", f"--timeout={ANSWER_SECONDS}s"]
    command += ["-s", str(SCRIPT), address, "--", str(bodies)]
    with pinned(core):
        try:
            done = run_command(command, seconds=seconds + SLACK_SECONDS)
        except subprocess.TimeoutExpired:
            raise LoadError("wrk did not end in time") from None
    if done.returncode:
        raise LoadError(f"wrk failed: {(done.stderr or done.stdout).strip()[-200:]}")
    return parse_run(done.stdout)
