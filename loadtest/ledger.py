"""What became of each request: counted once, in one of six ways, and timed from the moment it was due."""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """How one request ended."""

    ANSWERED = "answered"
    """200, the answer is whole."""
    REFUSED = "refused"
    """503 with `Retry-After`: the service said that it has no room, as it should."""
    CLIENT_ERROR = "client_errors"
    """4xx: the request was wrong, or was taken for wrong."""
    SERVER_ERROR = "server_errors"
    """Any other status: 500, 502, a 503 that does not say when to come again."""
    TRANSPORT_ERROR = "transport_errors"
    """No whole answer: no connection, connection lost, nothing within the time-out."""
    UNSENT = "unsent"
    """Due, but no connection became free within the time-out; never put on the wire."""


ERRORS = (Outcome.CLIENT_ERROR, Outcome.SERVER_ERROR, Outcome.TRANSPORT_ERROR, Outcome.UNSENT)


def classify(status: int, *, retry_after: bool) -> Outcome:
    """Return the outcome that a whole answer with this status is."""
    if status == 200:
        return Outcome.ANSWERED
    if status == 503 and retry_after:
        return Outcome.REFUSED
    return Outcome.CLIENT_ERROR if 400 <= status < 500 else Outcome.SERVER_ERROR


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all values do not exceed (nearest rank).

    Infinite without values: where nothing was answered, nothing was answered in time.
    """
    if not ordered:
        return math.inf
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What was asked and what came back. All times are milliseconds from the moment a request was due."""

    rate: float
    """Requests a second that were due."""
    seconds: float
    due: int
    sent: int
    answered: int
    refused: int
    client_errors: int
    server_errors: int
    transport_errors: int
    unsent: int
    retried: int
    """Requests sent a second time after a transport error; they count once, by their last outcome."""
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    """Percentiles and maximum of the answered ones."""
    refused_p99_ms: float
    lag_ms: float
    """The generator's own lateness, 99th percentile: from due to noticed, not counting a wait for a connection."""
    lag_max_ms: float
    causes: dict[str, int]
    """What the errors were."""

    @property
    def adds_up(self) -> bool:
        """Whether each request is accounted for exactly once."""
        ended = self.answered + self.refused + self.client_errors + self.server_errors + self.transport_errors
        return self.sent == ended and self.due == self.sent + self.unsent

    @property
    def errors(self) -> int:
        """How many were neither answered nor refused."""
        return self.due - self.answered - self.refused

    @property
    def answered_rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def as_json(self) -> dict[str, Any]:
        """Return it for a JSON file: rounded, and null for the percentiles of nothing."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    return value


class Ledger:
    """Counts outcomes and keeps latencies, eight bytes each."""

    def __init__(self) -> None:
        self.counts: Counter[Outcome] = Counter()
        self.causes: Counter[str] = Counter()
        self.retried = 0
        self._latencies = {Outcome.ANSWERED: array("d"), Outcome.REFUSED: array("d")}
        self._lags = array("d")

    @property
    def recorded(self) -> int:
        """How many requests have ended."""
        return self.counts.total()

    @property
    def noticed(self) -> int:
        """How many requests were due so far."""
        return len(self._lags)

    def notice(self, lag: float) -> None:
        """Note how late, in seconds, the generator noticed that a request was due."""
        self._lags.append(lag)

    def record(self, outcome: Outcome, latency: float, cause: str = "") -> None:
        """Note how one request ended, and how many seconds after it was due."""
        self.counts[outcome] += 1
        if outcome in self._latencies:
            self._latencies[outcome].append(latency)
        else:
            self.causes[cause or outcome] += 1

    def result(self, *, rate: float, seconds: float, due: int | None = None) -> LoadResult:
        """Return the sums and percentiles.

        Parameters
        ----------
        due
            How many requests there must be an end for; default: as many as have ended.
        """
        answered, refused = (sorted(values) for values in self._latencies.values())
        lags = sorted(self._lags)
        counts = {outcome.value: self.counts[outcome] for outcome in Outcome}
        return LoadResult(
            rate=rate,
            seconds=seconds,
            due=self.recorded if due is None else due,
            sent=self.recorded - self.counts[Outcome.UNSENT],
            **counts,
            retried=self.retried,
            p50_ms=1000 * percentile(answered, 0.5),
            p90_ms=1000 * percentile(answered, 0.9),
            p99_ms=1000 * percentile(answered, 0.99),
            max_ms=1000 * percentile(answered, 1),
            refused_p99_ms=1000 * percentile(refused, 0.99),
            lag_ms=1000 * percentile(lags, 0.99),
            lag_max_ms=1000 * percentile(lags, 1),
            causes=dict(self.causes.most_common()),
        )
