"""The challenger beside the champion: a share of payments is scored by both, and nobody waits for the second.

What an answer costs for it is a copy of its row of features. Scoring happens in a process of its own with the lowest
priority (`service.challenger`), which a thread here feeds in small portions and only while no payment waits. A
challenger that cannot be loaded, crashes or hangs is noted and tried again later.
"""

import logging
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from model.decision import DECISIONS
from model.registry import Version, registry_uri
from model.settings import Settings
from model.statistics import Floats
from service import child
from service.cache import Key, key_of
from service.challenger import DIFFERENCES, PORTION, SCORES, Tally

if TYPE_CHECKING:
    import subprocess

ROOM = 1024  # payments that wait to be scored; beyond, they are dropped
PAUSE_SECONDS = 0.1  # between two portions
REPLY_SECONDS = 30.0  # for a portion
LONGEST_BACKOFF = 3600.0
_TAIL = struct.Struct("=2d")

log = logging.getLogger("antifraud")


class Shadow(Collector):
    """Feeds a challenger and shows what it says; a collector of its own metrics.

    Parameters
    ----------
    busy
        Says whether a payment waits.
    show
        Told the version in shadow, None when there is none.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        busy: Callable[[], bool],
        show: Callable[[str | None], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._busy, self._show, self._clock = settings, busy, show, clock
        self._share, self._due = settings.shadow_share, 0.0
        self._rows: deque[bytes] = deque()
        self._active: str | None = None
        self._wanted: Key | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failures, self._not_before = 0, 0.0
        self._report: dict[str, Any] = Tally().as_json()
        self.dropped = self.failed = 0

    def sample(self, row: Floats, answer: dict[str, Any]) -> None:
        """Take note of a share of payments, while there is a challenger."""
        if self._active is None:
            return
        self._due += self._share
        if self._due < 1:
            return
        self._due -= 1
        if len(self._rows) >= ROOM:
            self.dropped += 1
        else:
            decision = float(DECISIONS.index(answer["decision"]))
            self._rows.append(row.tobytes() + _TAIL.pack(answer["score"], decision))

    def follow(self, version: Version | None) -> None:
        """Let this version be the challenger from now on; one that failed is started again after a while."""
        wanted = None if version is None else key_of(version)
        if wanted != self._wanted:
            self.close()
            self._wanted, self._failures, self._not_before = wanted, 0, 0.0
        running = self._thread is not None and self._thread.is_alive()
        if version is not None and not running and self._clock() >= self._not_before:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(version, self._stop), name="shadow", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop scoring."""
        self._stop.set()
        process = self._process
        if process is not None:
            process.kill()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(self, version: Version, stop: threading.Event) -> None:
        process = self._process = child.start("service.challenger", self._request(version))
        try:
            self._feed(process, version, stop)
        except (child.ChildError, OSError, ValueError, LookupError, TypeError) as error:
            if not stop.is_set():
                self._note_failure(version, error)
        finally:
            self._active = None
            self._show(None)
            self._rows.clear()
            child.stop(process)

    def _request(self, version: Version) -> dict[str, Any]:
        names = ("name", "version", "source", "run_id")
        return {
            "version": {name: getattr(version, name) for name in names} | {"tags": dict(version.tags)},
            "cache": str(self._settings.work_folder / "cache" / "challenger"),
            "tracking_uri": registry_uri(self._settings),
            "id_key_fingerprint": self._settings.id_hasher().fingerprint,
            "memory_mb": self._settings.trial_memory_mb,
        }

    def _feed(self, process: "subprocess.Popen[bytes]", version: Version, stop: threading.Event) -> None:
        self._take(child.line_of(process, seconds=self._settings.trial_seconds))
        self._active = version.version
        self._show(version.version)
        log.info("model %s is scored in shadow", version.version)
        assert process.stdin is not None  # noqa: S101  asked for at its start
        while not stop.wait(PAUSE_SECONDS):
            if self._rows and not self._busy():
                portion = [self._rows.popleft() for _ in range(min(PORTION, len(self._rows)))]
                _write(process.stdin, b"".join(portion))
                self._take(child.line_of(process, seconds=REPLY_SECONDS))
                self._failures = 0

    def _take(self, report: dict[str, Any]) -> None:
        if "error" in report:
            raise child.ChildError(f"could not load it: {report['error']}")
        shape = [len(report["pairs"]), *map(len, report["pairs"]), len(report["differences"]), len(report["scores"])]
        if shape != [3, 3, 3, 3, len(DIFFERENCES) + 1, len(SCORES) + 1]:
            raise child.ChildError("said something that makes no sense")
        self._report = report

    def _note_failure(self, version: Version, error: Exception) -> None:
        self._failures += 1
        self.failed += 1
        pause = min(self._settings.poll_seconds * 2 ** min(self._failures, 20), LONGEST_BACKOFF)
        self._not_before = self._clock() + pause
        if self._failures == 1:
            log.error("model %s is not scored in shadow: its process %s", version.version, error)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics, as the library asks for them."""
        report, sums = self._report, self._report["sums"]
        info = GaugeMetricFamily("fraud_shadow_info", "The model in shadow; always 1.", labels=["model"])
        active = self._active
        if active is not None:
            info.add_metric([active], 1)
        yield info
        decisions = CounterMetricFamily(
            "fraud_shadow_decisions", "Payments by both decisions.", labels=["champion", "challenger"]
        )
        for champion, row in zip(DECISIONS, report["pairs"], strict=True):
            for challenger, count in zip(DECISIONS, row, strict=True):
                decisions.add_metric([champion, challenger], count)
        yield decisions
        yield _histogram(
            "fraud_shadow_score_difference",
            "The challenger's score less the champion's.",
            (DIFFERENCES, report["differences"], sums["difference"]),
        )
        yield _histogram("fraud_shadow_score", "The challenger's scores.", (SCORES, report["scores"], sums["score"]))
        yield CounterMetricFamily("fraud_shadow_seconds", "Processor time of scoring in shadow.", value=sums["seconds"])
        yield CounterMetricFamily("fraud_shadow_dropped", "Payments dropped as too many waited.", value=self.dropped)
        yield CounterMetricFamily("fraud_shadow_failures", "Times that the challenger failed.", value=self.failed)


def _histogram(name: str, text: str, counted: tuple[tuple[float, ...], list[int], float]) -> HistogramMetricFamily:
    bounds, counts, total = counted
    buckets, below = [], 0
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        below += count
        buckets.append((bound, below))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)


def _write(stream: IO[bytes], block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[stream.write(rest) :]
