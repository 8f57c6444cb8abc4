"""What was measured with each size, held to the requirements, as a page for readers and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from loadtest.ledger import LoadResult
from loadtest.profiles import P99_MS, PEAK_RATE
from loadtest.sections import table
from loadtest.sizes_bank import Case

READY_SECONDS, RESIDENT_MB = 10.0, 400.0  # requirement: with a million customers
REQUIRED_AT = 1_000_000  # customers
MOST_GROWTH = 1.10  # of the cost of an answer from the fewest customers to the most: what measuring twice may differ by
MOST_BEND = 0.10  # of the cost of an answer in the middle, from the straight line between the ends


@dataclass(frozen=True, slots=True)
class Start:
    """One start: until it is ready, and what it then holds."""

    seconds: float
    resident_mb: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Round:
    """One load at the peak rate."""

    result: LoadResult
    cpu_us: float
    """Processor time of an answer, with HTTP, the log and all."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One case: a start without and starts with downloaded files, loads, and memory after them.

    Attributes
    ----------
    leaves
        Of all trees together.
    """

    case: Case
    leaves: int
    cold: Start
    warm: tuple[Start, ...]
    rounds: tuple[Round, ...]
    resident_mb: float
    peak_mb: float

    @property
    def warm_seconds(self) -> float:
        """Median of the starts with downloaded files."""
        return median(one.seconds for one in self.warm)

    @property
    def cpu_us(self) -> float:
        """Median of the rounds."""
        return median(one.cpu_us for one in self.rounds)

    @property
    def p50_ms(self) -> float:
        """Median of the rounds."""
        return median(one.result.p50_ms for one in self.rounds)

    @property
    def p99_ms(self) -> float:
        """Median of the rounds."""
        return median(one.result.p99_ms for one in self.rounds)

    @property
    def unanswered(self) -> int:
        """How many payments of all rounds were not answered."""
        return sum(one.result.due - one.result.answered for one in self.rounds)


@dataclass(frozen=True, slots=True)
class Check:
    """A requirement, and what was measured; None if it was not."""

    text: str
    is_met: bool | None
    measured: str

    def __str__(self) -> str:
        word = {True: "met", False: "NOT MET", None: "not measured"}[self.is_met]
        return f"{self.text}: **{word}**{', ' + self.measured if self.measured else ''}"


def by_customers(results: Sequence[Measured]) -> list[Measured]:
    """Return the cases of the model that most cases have, the fewest customers first."""
    shapes = [one.case.shape for one in results]
    most = max(shapes, key=shapes.count)
    return sorted((one for one in results if one.case.shape == most), key=lambda one: one.case.customers)


def by_leaves(results: Sequence[Measured]) -> list[Measured]:
    """Return the cases with the fewest customers, the smallest model first."""
    fewest = min(one.case.customers for one in results)
    return sorted((one for one in results if one.case.customers == fewest), key=lambda one: one.leaves)


def checks(results: Sequence[Measured]) -> list[Check]:
    """Return each requirement with what was measured."""
    return [
        *_million(next((one for one in by_customers(results) if one.case.customers == REQUIRED_AT), None)),
        _growth(by_customers(results)),
        _linear(by_leaves(results)),
        _tail(results),
    ]


def _million(one: Measured | None) -> list[Check]:
    ready = f"Ready in at most {READY_SECONDS:g} s with 1 million customers"
    resident = f"At most {RESIDENT_MB:g} MB resident with 1 million customers"
    if one is None:
        return [Check(ready, None, ""), Check(resident, None, "")]
    memory = f"{one.resident_mb:.0f} MB after the load (peak {one.peak_mb:.0f} MB, starting included)"
    return [
        Check(ready, one.cold.seconds <= READY_SECONDS, f"{one.cold.seconds:.1f} s"),
        Check(resident, one.resident_mb <= RESIDENT_MB, memory),
    ]


def _growth(results: Sequence[Measured]) -> Check:
    text = f"An answer costs as much with many customers as with few (within {MOST_GROWTH - 1:.0%})"
    if len(results) < 2:
        return Check(text, None, "")
    first, last = results[0], results[-1]
    growth = last.cpu_us / first.cpu_us
    words = f"{growth - 1:+.1%} from {first.case.customers:,} to {last.case.customers:,} customers"
    return Check(text, growth <= MOST_GROWTH, words)


def _linear(results: Sequence[Measured]) -> Check:
    """Hold the models between the smallest and the largest to the straight line between these two."""
    text = f"The cost of an answer grows linearly in leaves (within {MOST_BEND:.0%})"
    if len(results) < 3:
        return Check(text, None, "")
    first, *between, last = results
    slope = (last.cpu_us - first.cpu_us) / (last.leaves - first.leaves)
    bends = [one.cpu_us / (first.cpu_us + slope * (one.leaves - first.leaves)) - 1 for one in between]
    worst = max(bends, key=abs)
    words = f"{slope * 1000:.1f} us for each 1000 leaves; the model between is {worst:+.1%} off the line"
    return Check(text, abs(worst) <= MOST_BEND and slope > 0, words)


def _tail(results: Sequence[Measured]) -> Check:
    worst = max(results, key=lambda one: one.p99_ms)
    lost = sum(one.unanswered for one in results)
    words = f"at most {worst.p99_ms:.2f} ms ({worst.case.shape.name}, {worst.case.customers:,} customers)"
    words += f"; {lost} payments unanswered" if lost else ""
    text = f"p99 of at most {P99_MS:g} ms at {PEAK_RATE:g} a second with every size, each payment answered"
    return Check(text, worst.p99_ms <= P99_MS and not lost, words)


def as_page(results: Sequence[Measured], about: Mapping[str, Any]) -> str:
    """Return the section of the page for readers."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    machine = about["machine"]
    head = (
        f"Measured on {about['date']} on {machine['processor']}, {machine['cores']} cores, {machine['system']}; "
        f"{versions}. {_environment(about)} The service had one core, the load generator another; {PEAK_RATE:g} "
        "payments a second, open loop, of known customers that are asked about for the first time, "
        f"{about['rounds']} rounds of {about['seconds']:g} s, all sizes in turn. Memory is in millions of bytes and "
        "counts the pages of mapped files that were touched; the peak counts what the service itself starts in order "
        "to load. Processor time is that of a whole answer with HTTP, metrics and decision log; at this rate the "
        "process falls asleep between two payments, which costs more than the same answer under full load."
    )
    if machine["load_average"] > 0.5:
        head += f" The machine was not quiet: load average {machine['load_average']:.1f} before."
    lines = "\n".join(f"- {check}." for check in checks(results))
    return f"{head}\n\n{customers_table(results)}\n\n{leaves_table(results)}\n\n{lines}"


def _environment(about: Mapping[str, Any]) -> str:
    if about["as_a_pod"]:
        return "As in a pod: only the service's own packages, the registry read over HTTP."
    return "In the development environment with an embedded registry, which take more memory and time than a pod."


def customers_table(results: Sequence[Measured]) -> str:
    """Return start, memory and latency by the number of customers."""
    head = ["customers", "ready, nothing downloaded", "ready again", "resident when ready", "after the load", "peak"]
    head += ["p50", "p99", "processor time of an answer"]
    return table(
        head,
        [
            [
                f"{one.case.customers:,}",
                f"{one.cold.seconds:.1f} s",
                f"{one.warm_seconds:.1f} s",
                f"{one.cold.resident_mb:.0f} MB",
                f"{one.resident_mb:.0f} MB",
                f"{one.peak_mb:.0f} MB",
                f"{one.p50_ms:.2f} ms",
                f"{one.p99_ms:.2f} ms",
                f"{one.cpu_us:.0f} us",
            ]
            for one in by_customers(results)
        ],
    )


def leaves_table(results: Sequence[Measured]) -> str:
    """Return the cost of an answer by the size of the model."""
    return table(
        ["model", "leaves", "p50", "p99", "processor time of an answer"],
        [
            [
                f"{one.case.shape.trees} trees x {one.case.shape.leaves} leaves",
                f"{one.leaves:,}",
                f"{one.p50_ms:.2f} ms",
                f"{one.p99_ms:.2f} ms",
                f"{one.cpu_us:.0f} us",
            ]
            for one in by_leaves(results)
        ],
    )


def as_json(results: Sequence[Measured], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that was measured, in plain JSON values."""
    return {
        **about,
        "cases": [
            {
                "trees": one.case.shape.trees,
                "leaves_of_a_tree": one.case.shape.leaves,
                "leaves": one.leaves,
                "customers": one.case.customers,
                "cold": asdict(one.cold),
                "warm": [asdict(start) for start in one.warm],
                "resident_mb": one.resident_mb,
                "peak_mb": one.peak_mb,
                "cpu_us": one.cpu_us,
                "p50_ms": one.p50_ms,
                "p99_ms": one.p99_ms,
                "rounds": [{"cpu_us": each.cpu_us, **each.result.as_json()} for each in one.rounds],
            }
            for one in results
        ],
        "checks": [asdict(check) for check in checks(results)],
    }
