"""The shapes of load that a service must carry, as stages of a fixed rate, and what each stage is held to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from loadtest.ledger import LoadResult

NORMAL_RATE = 50.0  # requirement: payments a second on an ordinary day
PEAK_RATE = 400.0  # requirement: payments a second at the peak
SPIKE = 10  # requirement: times the normal load, or times the capacity where that is stated
P99_MS = 5.0  # requirement: at up to the peak rate
GC_PAUSE_MS = 5.0  # requirement: no pause of the service's garbage collector is longer
SPIKE_P99_MS = 100.0  # of what is answered under a load that nobody can carry whole
KEPT_CAPACITY = 0.9  # requirement: share of the capacity still answered under ten times of it
WARM_UP_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a stage is held to. All are inclusive."""

    p99_ms: float = P99_MS
    """99th percentile of the answered ones, from due."""
    refused: float = 0.0
    """Share of what was due that may be refused with 503 and `Retry-After`."""
    errors: float = 0.0
    """Share of what was due that may end in any other way."""
    answered_rate: float = 0.0
    """Answers a second that there must be."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A fixed rate for some seconds. Without limits it is not judged: a warm-up."""

    name: str
    rate: float
    seconds: float
    limits: Limits | None

    def breaches(self, result: LoadResult) -> list[str]:
        """Return a sentence for each limit that was missed, and one if the books do not add up."""
        if not result.adds_up:
            return [f"{self.name}: {result.due} due, but {result.sent} sent and {result.unsent} unsent do not add up"]
        if self.limits is None:
            return []
        shares = {"refused": result.refused / max(result.due, 1), "errors": result.errors / max(result.due, 1)}
        found = [
            f"{self.name}: {name} {share:.2%}, limit {getattr(self.limits, name):.2%}"
            for name, share in shares.items()
            if share > getattr(self.limits, name)
        ]
        if result.p99_ms > self.limits.p99_ms:
            found.append(f"{self.name}: p99 {result.p99_ms:.2f} ms, limit {self.limits.p99_ms:g} ms")
        if result.answered_rate < self.limits.answered_rate:
            found.append(f"{self.name}: {result.answered_rate:.1f} answers/s, limit {self.limits.answered_rate:g}")
        return found


@dataclass(frozen=True, slots=True)
class Profile:
    """Stages, one after the other."""

    name: str
    stages: tuple[Stage, ...]

    @property
    def seconds(self) -> float:
        """How long arrivals go on."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def highest_rate(self) -> float:
        """The rate that the generator must be able to make."""
        return max(stage.rate for stage in self.stages)

    def arrivals(self) -> Iterator[tuple[float, int]]:
        """Yield the moment of each arrival, in seconds from the start, and the number of its stage."""
        start = 0.0
        for number, stage in enumerate(self.stages):
            for arrival in range(round(stage.rate * stage.seconds)):
                yield start + arrival / stage.rate, number
            start += stage.seconds

    def stretched(self, factor: float) -> "Profile":
        """Return the same shape with all judged stages longer or shorter."""
        stages = (replace(one, seconds=one.seconds * factor) if one.limits else one for one in self.stages)
        return replace(self, stages=tuple(stages))


PROFILES = {
    "normal": "50/s for a minute",
    "peak": "400/s for a minute",
    "step": "50/s, 400/s, 50/s: half a minute, a minute, half a minute",
    "spike": "50/s, ten times that (or ten times --capacity) for half a minute, 50/s",
    "soak": "400/s for ten minutes; --stretch 6 makes an hour of it",
}


def make_profile(
    name: str,
    *,
    normal: float = NORMAL_RATE,
    peak: float = PEAK_RATE,
    capacity: float | None = None,
    calm: Limits | None = None,
    spike: Limits | None = None,
) -> Profile:
    """Return a profile by its name, for the stated rates and limits.

    Parameters
    ----------
    capacity
        Payments a second that the service can answer at most; the spike is ten times that. Default: ten times normal.
    calm, spike
        Limits for rates that the service must carry, and for the spike; what a spike asks for by default is that no
        request is lost and that the service still answers 90 % of what it can.
    """
    calm = calm or Limits()
    height = SPIKE * (capacity or normal)
    kept = KEPT_CAPACITY * min(capacity or peak, height)
    spike = spike or Limits(p99_ms=SPIKE_P99_MS, refused=1.0, answered_rate=kept)
    shapes: dict[str, list[tuple[str, float, float, Limits]]] = {
        "normal": [("normal", normal, 60, calm)],
        "peak": [("peak", peak, 60, calm)],
        "step": [("before", normal, 30, calm), ("step", peak, 60, calm), ("after", normal, 30, calm)],
        "spike": [("before", normal, 20, calm), ("spike", height, 30, spike), ("after", normal, 20, calm)],
        "soak": [("soak", peak, 600, calm)],
    }
    warm_up = Stage("warm-up", normal, WARM_UP_SECONDS, None)
    return Profile(name, (warm_up, *(Stage(*stage) for stage in shapes[name])))
