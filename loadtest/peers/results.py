"""What was measured of each server, its median and spread, and how servers compare."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from loadtest.peers.catalogue import SERVICE, Peer
from loadtest.peers.wrk import LoadRun

# requirement: how many answers of this service there must be for one of the peer's
TARGETS = (("constant", 0.6), ("mlserver", 1.8), ("fastapi-shap", 9.0))


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some runs, and the lowest and highest of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """One server's runs, or why there are none.

    Attributes
    ----------
    answer_bytes
        Median size of the answers that were checked.
    failure
        Empty if all runs were made.
    """

    peer: Peer
    runs: tuple[LoadRun, ...] = ()
    answer_bytes: int = 0
    failure: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.runs) and not self.failure

    @property
    def answers_per_second(self) -> Spread:
        """Over the runs."""
        return spread(run.answers_per_second for run in self.runs)

    @property
    def p50_ms(self) -> Spread:
        """Over the runs."""
        return spread(run.p50_ms for run in self.runs)

    @property
    def p99_ms(self) -> Spread:
        """Over the runs."""
        return spread(run.p99_ms for run in self.runs)

    @property
    def errors(self) -> int:
        """Refused and broken requests of all runs together."""
        return sum(run.refused + run.broken for run in self.runs)


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that was required, and what it came to; None where the peer could not be measured."""

    peer: str
    required: float
    reached: float | None

    @property
    def is_met(self) -> bool:
        """Whether it was reached; what was not measured was not."""
        return self.reached is not None and self.reached >= self.required


def spread(values: Iterable[float]) -> Spread:
    """Return the median, lowest and highest of at least one value."""
    ordered = sorted(values)
    return Spread(median(ordered), ordered[0], ordered[-1])


def ratios(results: Sequence[Result]) -> dict[str, float]:
    """Return how many answers this service gives for each one of a peer's, by name; medians over medians."""
    measured = {result.peer.name: result.answers_per_second.median for result in results if result.is_measured}
    own = measured.pop(SERVICE, None)
    return {} if own is None else {name: own / theirs for name, theirs in measured.items() if theirs}


def targets(results: Sequence[Result]) -> list[Target]:
    """Return the required ratios with what was reached."""
    reached = ratios(results)
    return [Target(name, required, reached.get(name)) for name, required in TARGETS]


def winners(results: Sequence[Result]) -> list[Result]:
    """Return the peers that answer more in a second than this service, the fastest first."""
    ahead = [result for result in results if ratios(results).get(result.peer.name, 1.0) < 1.0]
    return sorted(ahead, key=lambda result: -result.answers_per_second.median)


def calmer(results: Sequence[Result]) -> list[Result]:
    """Return the peers whose 99th percentile is lower than this service's, the lowest first."""
    measured = {result.peer.name: result for result in results if result.is_measured}
    own = measured.pop(SERVICE, None)
    if own is None:
        return []
    ahead = [result for result in measured.values() if result.p99_ms.median < own.p99_ms.median]
    return sorted(ahead, key=lambda result: result.p99_ms.median)
