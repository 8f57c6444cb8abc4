"""What Prometheus sees of the stream, and whether its loop still turns."""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.stream.topics import REASONS

AGES: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)  # seconds
TRANSACTION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
RESULTS: Final = ("committed", "aborted", "fenced")
MOVES: Final = ("assigned", "revoked", "lost")
STUCK_SECONDS: Final = 60.0  # without a turn; the longest single question to the brokers takes a twelfth of it

Lags = Callable[[], Iterable[tuple[int, int]]]


class Beat:
    """When the loop last turned.

    Parameters
    ----------
    clock
        Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    def turn(self) -> None:
        """Say that it goes on."""
        self._last = self._clock()

    @property
    def is_stuck(self) -> bool:
        """Whether it has not turned for a long time."""
        return self._clock() - self._last > STUCK_SECONDS


class Ages(Collector):
    """How old messages were when their decision was committed; plain numbers, because each message is counted."""

    def __init__(self) -> None:
        self._counts = [0] * (len(AGES) + 1)
        self._sum = 0.0

    def add(self, seconds: Iterable[float]) -> None:
        """Count some."""
        for one in seconds:
            self._counts[bisect_left(AGES, one)] += 1
            self._sum += one

    def collect(self) -> Iterator[Metric]:
        """Return the metric, as the library asks for it."""
        buckets, total = [], 0
        for bound, count in zip((*map(str, AGES), "+Inf"), list(self._counts), strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "fraud_stream_age_seconds",
            "From a message's own time to the commit of its decision.",
            buckets=buckets,
            sum_value=self._sum,
        )


class Lag(Collector):
    """What waits in each partition, computed when somebody asks.

    Attributes
    ----------
    source
        Returns partition and messages for each partition that is this member's.
    """

    def __init__(self) -> None:
        self.source: Lags = tuple

    def collect(self) -> Iterator[Metric]:
        """Return the metric, as the library asks for it."""
        lag = GaugeMetricFamily(
            "fraud_stream_lag", "Messages of a partition without a committed decision.", labels=["partition"]
        )
        for partition, messages in self.source():
            lag.add_metric([str(partition)], messages)
        yield lag


class Meters:
    """The metrics of one member.

    Parameters
    ----------
    registry
        Where they are registered, beside those of the judge.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ages, self.lag = Ages(), Lag()
        registry.register(self.ages)
        registry.register(self.lag)
        self.messages = Counter("fraud_stream_messages", "Messages dealt with, committed.", registry=registry)
        self.letters = Counter("fraud_stream_dead_letters", "Dead letters.", ("reason",), registry=registry)
        self.transactions = Counter("fraud_stream_transactions", "Transactions.", ("result",), registry=registry)
        self.seconds = Histogram(
            "fraud_stream_transaction_seconds",
            "From the first message of a transaction to its commit.",
            buckets=TRANSACTION_BUCKETS,
            registry=registry,
        )
        self.moves = Counter(
            "fraud_stream_rebalances", "Changes of this member's share.", ("event",), registry=registry
        )
        self.repeated = Counter(
            "fraud_stream_repeated", "Messages that the client gave a second time, left out.", registry=registry
        )
        self.partitions = Gauge("fraud_stream_partitions", "Partitions that are this member's.", registry=registry)
        self.connected = Gauge("fraud_stream_connected", "1 while a broker is connected.", registry=registry)
        self.waits = Counter(
            "fraud_stream_full_queue", "Times that a decision waited for room in the queue to the brokers.",
            registry=registry,
        )  # fmt: skip
        for reason in REASONS:
            self.letters.labels(reason)
        for result in RESULTS:
            self.transactions.labels(result)
        for event in MOVES:
            self.moves.labels(event)
