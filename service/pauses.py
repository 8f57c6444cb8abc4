"""How long the garbage collector stopped everything, as a histogram.

Counted is the processor time that a collection takes: if the system gives the core to somebody else meanwhile, that is
not the collector's doing, and would have happened without it. The collector may run at any allocation, also inside a
lock of the metrics library; so the counts are plain numbers here and become a metric only when somebody asks.
"""

import gc
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

BUCKETS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1)  # seconds; requirement: none over 0.005
NAME = "fraud_gc_pause_seconds"


class GcPauses(Collector):
    """Times the garbage collections of this process while it watches.

    Parameters
    ----------
    clock
        Seconds, monotonic; by default those that the present thread was at work.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._counts = [0] * (len(BUCKETS) + 1)
        self._sum = 0.0
        self._started: float | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Time every collection while the block runs."""
        gc.callbacks.append(self._note)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._started = self._clock()
        elif self._started is not None:
            pause = self._clock() - self._started
            self._started = None
            self._counts[bisect_left(BUCKETS, pause)] += 1
            self._sum += pause

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Return the metric, as the library asks for it."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            NAME,
            "Processor time of each garbage collection; nothing is answered meanwhile.",
            buckets=buckets,
            sum_value=self._sum,
        )
