"""One trial of a capacity: a load at a fixed rate on a running service, beside what else its core had to do."""

import itertools
import os
import random
import time
from collections.abc import Iterator, Sequence

from loadtest.capacity_search import Measure, Trial
from loadtest.cpu import busy_seconds, process_seconds
from loadtest.ledger import LoadResult
from loadtest.open_loop import run_load_blocking
from loadtest.schedules import even_schedule, random_schedule
from loadtest.service import Service, ServiceError

CONNECTIONS = 64
ANSWER_TIMEOUT = 1.0  # seconds; far beyond the limit, and a failed trial ends soon


def trials_on(service: Service, bodies: Iterator[bytes], *, p99_limit_ms: float, random_arrivals: bool) -> Measure:
    """Return what makes a trial on this service, says how it went, and waits until the service is ready again."""
    rng = random.Random(1)  # noqa: S311  no secret, and repeatable

    def measure(rate: float, seconds: float) -> Trial:
        schedule = random_schedule(rate, seconds, rng) if random_arrivals else even_schedule(rate, seconds)
        watch = _Watch(service)
        result = _load(service, rate, seconds, bodies, schedule)
        trial = Trial(result, p99_limit_ms, watch.other_work())
        _say(trial)
        _settle(service)
        return trial

    return measure


class _Watch:
    """Tells how much of the service's core goes to anything but the service."""

    def __init__(self, service: Service) -> None:
        self._process = service.process or 0
        (self._core,) = os.sched_getaffinity(self._process)
        self._start = self._now()

    def _now(self) -> tuple[float, float, float]:
        return time.monotonic(), busy_seconds(self._core), process_seconds(self._process)

    def other_work(self) -> float:
        """Return the share of the core, 0 to 1, since the start."""
        wall, busy, own = (now - then for now, then in zip(self._now(), self._start, strict=True))
        return max(busy - own, 0) / wall


def _load(
    service: Service, rate: float, seconds: float, bodies: Iterator[bytes], schedule: Sequence[float]
) -> LoadResult:
    return run_load_blocking(
        service.host,
        service.port,
        rate,
        seconds,
        itertools.islice(bodies, len(schedule)),
        connections=CONNECTIONS,
        timeout=ANSWER_TIMEOUT,
        schedule=schedule,
    )


def _say(trial: Trial) -> None:
    result = trial.result
    word = "passed" if trial.passed else f"in doubt: {trial.doubt}" if trial.doubt else "failed"
    print(
        f"  {result.rate:8.1f}/s  p50 {result.p50_ms:7.2f}  p99 {result.p99_ms:7.2f} ms  "
        f"not answered {result.due - result.answered:5d}  {word}",
        flush=True,
    )


def _settle(service: Service) -> None:
    """Wait until what a failed trial left behind is done, or the next one starts with its queue."""
    for _ in range(20):
        time.sleep(0.25)
        if service.is_ready():
            return
    raise ServiceError("the service does not answer any more")
