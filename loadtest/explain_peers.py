"""Other libraries' kernels, each in a process and an environment of its own, taking turns with this one."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.locked import Environment
from loadtest.peers.catalogue import ROOT, SOURCES, threads_off
from loadtest.peers.environments import EnvironmentMissingError
from loadtest.peers.processes import last_line, run_command

LEAST_PYTHON = (3, 12)  # both peers refuse older ones
ANSWER_SECONDS = 180.0  # training the largest model on a slow machine
_NAMES = ("python3.12", "python3.13")
_PROBE = f"import sys; sys.exit(sys.version_info[:2] < {LEAST_PYTHON})"


class PeerError(RuntimeError):
    """A peer cannot be measured; the text is one line."""


@dataclass(frozen=True, slots=True)
class KernelPeer:
    """A library whose kernel is measured beside ours.

    Attributes
    ----------
    titles
        What the report calls each of its ways.
    """

    name: str
    titles: dict[str, str] = field(hash=False)

    @property
    def script(self) -> Path:
        """What runs in its environment."""
        return SOURCES / self.name / "measure.py"

    @property
    def environment(self) -> Environment:
        """Where its packages are."""
        return Environment(self.name, SOURCES / self.name / "requirements.txt")


KERNEL_PEERS = (
    KernelPeer("shapiq", {"one row": "shapiq `TreeExplainer.explain`, C++"}),
    KernelPeer(
        "xgboost",
        {
            "one row": "XGBoost `pred_contribs`, its own model, one row alone",
            "batch": "XGBoost `pred_contribs`, its own model, per row of a batch of 1000",
        },
    ),
)


def find_python(asked: Path | None) -> Path:
    """Return an interpreter that is new enough to make the peers' environments.

    Parameters
    ----------
    asked
        The only one to consider; default: this one, then `python3.12` and `python3.13` on the PATH.

    Raises
    ------
    EnvironmentMissingError
        If there is none.
    """
    names = [str(asked)] if asked else [sys.executable, *_NAMES]
    for name in names:
        found = shutil.which(name)
        # A name on the PATH may be a version manager's, for a version that is not chosen.
        if found and run_command([found, "-c", _PROBE], seconds=60).returncode == 0:
            return Path(found)
    where = "that is not one" if asked else "none is on the PATH"
    raise EnvironmentMissingError(f"Python 3.12 is needed, and {where}; name one with --python")


class PeerProcess:
    """A peer at work: it waits until it is asked.

    Attributes
    ----------
    versions
        Of Python and its libraries, as its own environment has them.
    """

    def __init__(self, peer: KernelPeer, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._peer = peer
        self._process = process
        self._log = log
        self.versions: dict[str, str] = self._answer()["versions"]

    def load(self, shape: str) -> tuple[list["PeerWay"], dict[str, Any]]:
        """Return its ways to explain a model of that size, and what it says of it.

        Raises
        ------
        PeerError
            If it ends, or does not answer in time.
        """
        said = self.ask({"load": shape})
        ways = [PeerWay(self, way, self._peer.titles[way], rows) for way, rows in said.pop("ways").items()]
        return ways, said

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one question; errors as of `load`."""
        assert self._process.stdin is not None  # noqa: S101  opened as a pipe
        try:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        output = self._process.stdout
        assert output is not None  # noqa: S101  opened as a pipe
        # One line for one question, so nothing can wait in the buffer.
        if not select.select([output], [], [], ANSWER_SECONDS)[0]:
            raise PeerError(f"no answer in {ANSWER_SECONDS:.0f} s")
        line = output.readline()
        if not line:
            raise self._ended()
        return dict(json.loads(line))

    def _ended(self) -> PeerError:
        return PeerError(f"ended by itself: {last_line(self._log.read_text(encoding='utf-8', errors='replace'))}")


class PeerWay:
    """One of a peer's ways to explain, timed in its own process."""

    def __init__(self, process: PeerProcess, way: str, title: str, rows: int) -> None:
        self.name = title
        self.rows = rows
        self._process = process
        self._way = way

    def run(self, seconds: float) -> list[int]:
        """Work for about so long and return the nanoseconds of each call."""
        return [int(one) for one in self._process.ask({"way": self._way, "seconds": seconds})["nanoseconds"]]


@contextmanager
def running(peer: KernelPeer, folder: Path) -> Iterator[PeerProcess]:
    """Run a peer for the time of the block; it inherits the core of this process.

    Parameters
    ----------
    folder
        Has the rows and models that it is to read.

    Raises
    ------
    PeerError
        If it does not start.
    """
    log = folder / f"{peer.name}.log"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    variables |= threads_off() | {"PYTHONPATH": str(ROOT)}
    with log.open("wb") as errors:
        try:
            process = subprocess.Popen(
                [str(peer.environment.python), str(peer.script), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=variables,
            )
        except OSError as error:
            raise PeerError(f"cannot be started: {error.strerror}") from None
    with process:
        try:
            yield PeerProcess(peer, process, log)
        finally:
            process.kill()
