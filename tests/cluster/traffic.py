"""Counted payments from a process of their own: `python -m tests.cluster.traffic`, told on its input what to ask."""

import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.ledger import LoadResult
from loadtest.open_loop import run_load_blocking

CUSTOMERS, TERMINALS = 2000, 4000  # of the simulated bank
TIMEOUT_S = 5.0
PATIENCE_S = 60.0  # beyond the load itself, until all time-outs are over


@dataclass(frozen=True, slots=True)
class Stage:
    """A fixed rate, payments a second, for some seconds."""

    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Door:
    """Where payments go in: the ingress with its host, or the Service itself."""

    address: str
    port: int
    host: str = ""


class Traffic:
    """A load under way. Nothing that the test does meanwhile can make it late.

    Parameters
    ----------
    retry_once
        Send once more what ended in a transport error, as gateways do.
    """

    def __init__(self, door: Door, *stages: Stage, run: str, retry_once: bool = False) -> None:
        self._seconds = sum(stage.seconds for stage in stages)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.traffic"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._end = time.monotonic() + self._seconds
        given = {
            "door": asdict(door),
            "stages": [asdict(stage) for stage in stages],
            "run": run,
            "retry_once": retry_once,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(given))
        self._process.stdin.close()
        self._process.stdin = None

    @property
    def seconds_left(self) -> float:
        """How long payments still arrive; negative when the last one has."""
        return self._end - time.monotonic()

    def end(self) -> list[LoadResult]:
        """Wait for the last answer and return the account of each stage."""
        said, _ = self._process.communicate(timeout=max(self.seconds_left, 0) + PATIENCE_S)
        assert self._process.returncode == 0
        results = [read(one) for one in json.loads(said)]
        assert all(result.adds_up for result in results), results
        return results

    def stop(self) -> None:
        """End the process whatever it is at, after a test that failed."""
        self._process.kill()
        self._process.communicate()


def read(figures: dict[str, Any]) -> LoadResult:
    """Return an account from its JSON, where null stands for what has no figure."""
    given: dict[str, Any] = {name: math.inf if value is None else value for name, value in figures.items()}
    return LoadResult(**given)


def payments(run: str) -> Iterator[bytes]:
    """Return payments of the simulated bank's customers, each with an id of its own, without end."""
    for number in itertools.count():
        yield json.dumps(
            {
                "transaction_id": f"{run}-{number}",
                "tx_datetime": "2026-04-01T10:00:00Z",
                "customer_id": number % CUSTOMERS,
                "terminal_id": 7 * number % TERMINALS,
                "tx_amount": 10.0 + number % 300,
            }
        ).encode()


def ask(door: Door, stages: Sequence[Stage], *, run: str, retry_once: bool) -> list[LoadResult]:
    """Ask one stage after the other."""
    bodies = payments(run)
    headers = [("host", door.host)] if door.host else []
    return [
        run_load_blocking(
            door.address,
            door.port,
            stage.rate,
            stage.seconds,
            bodies,
            timeout=TIMEOUT_S,
            headers=headers,
            retry_once=retry_once,
        )
        for stage in stages
    ]


if __name__ == "__main__":
    wanted = json.load(sys.stdin)
    results = ask(
        Door(**wanted["door"]),
        [Stage(**stage) for stage in wanted["stages"]],
        run=wanted["run"],
        retry_once=wanted["retry_once"],
    )
    json.dump([result.as_json() for result in results], sys.stdout)
