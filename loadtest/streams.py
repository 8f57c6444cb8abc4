"""The stream under test: `antifraud stream` as a process that can be ended, killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from loadtest.peers.processes import pinned
from loadtest.service import free_port
from loadtest.stream_topics import START_SECONDS, StreamingError, wait_until

STOP_SECONDS = 20.0


class StreamProcess:
    """`antifraud stream` as a process that can be ended, killed and started again.

    Parameters
    ----------
    variables
        Its settings, `FRAUD_*`; a free port is found for its pages.
    log
        File that its errors are appended to.
    core
        The one core that it may run on.
    """

    def __init__(self, variables: Mapping[str, str], *, log: Path, core: int | None = None) -> None:
        self.port = free_port()
        self.log = log
        self._core = core
        self._variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FRAUD_")},
            "FRAUD_LOG_LEVEL": "info",
            "FRAUD_DECISION_LOG": "",
            **variables,
            "FRAUD_STREAM_PORT": str(self.port),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None  # noqa: S101  it was started
        return self.process.pid

    def start(self) -> None:
        """Start it; it is not waited for."""
        cores = os.sched_getaffinity(0) if self._core is None else {self._core}
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            with self.log.open("ab") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "antifraud", "stream"],
                    env=self._variables,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                )
        finally:
            os.sched_setaffinity(0, before)

    def page(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its pages; status 0 where it does not answer."""
        opener = build_opener(ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except URLError as error:
            status = getattr(error, "code", 0)
            with suppress(AttributeError):
                error.close()  # type: ignore[attr-defined]  # of an answer with another status than 200
            return int(status), ""
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name with labels.

        Raises
        ------
        StreamingError
            If the page does not answer.
        """
        status, text = self.page("/metrics")
        if status != 200:
            raise StreamingError(f"/metrics answered with status {status}; its last words: {self.last_words()}")
        lines = text.splitlines()
        parts = (line.rpartition(" ") for line in lines if line and line[0] != "#")
        return {name: float(value) for name, _, value in parts}

    def wait_until_ready(self) -> None:
        """Wait until it has its share of the partitions.

        Raises
        ------
        StreamingError
            If it ends before, or takes too long.
        """

        def ready() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise StreamingError(f"the stream ended; its last words: {self.last_words()}")
            return self.page("/ready")[0] == 200

        wait_until(ready, seconds=START_SECONDS, what="the stream is ready")

    def last_words(self) -> str:
        """Return the end of what it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-1500:].strip()

    def end(self) -> int:
        """Tell it to end and return its exit code."""
        assert self.process is not None  # noqa: S101  it was started
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StreamingError(f"the stream had not ended after {STOP_SECONDS:g} s") from None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def streaming(variables: Mapping[str, str], *, log: Path, core: int | None = None) -> Iterator[StreamProcess]:
    """Run a stream until it is ready, and for the time of the block."""
    stream = StreamProcess(variables, log=log, core=core)
    stream.start()
    try:
        stream.wait_until_ready()
        yield stream
    finally:
        stream.kill()


def bank_variables(bank: Path, bootstrap: str) -> dict[str, str]:
    """Return the settings of a stream that serves a bank's work folder."""
    return {
        "FRAUD_WORK_FOLDER": str(bank.absolute()),
        "FRAUD_ID_KEY_FILE": str((bank / "id.key").absolute()),
        "FRAUD_KAFKA_BOOTSTRAP": bootstrap,
    }


@contextmanager
def broker_on(kafka: Any, core: int) -> Iterator[Any]:
    """Run a broker on one core."""
    with pinned(core):
        kafka.start()
    try:
        yield kafka
    finally:
        kafka.stop()
