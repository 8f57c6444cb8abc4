"""How the highest rate is found: doubled until it fails, the gap halved, then confirmed by longer trials."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.ledger import LoadResult
from loadtest.service import ServiceError

HIGHEST_RATE = 20_000.0  # a second; where the search ends at the latest
LOWEST_RATE = 5.0
PRECISION = 0.04  # of the rate, at which the search is fine enough
# Of the rate, where longer trials do not confirm it: at first in small steps, then sooner out of reach of luck.
STEPS_BACK = (0.95, 0.95, 0.95, 0.9, 0.9, 0.85, 0.85, 0.8, 0.8)
CONFIRMATIONS = 3  # longer trials, of which most must pass
RETRIES = 3  # of a trial that failed, before that is believed
SURE_FAILURES = 2  # of a rate, before it is too high: on a machine with other work a short trial fails by bad luck
MAX_LAG = 0.2  # of the limit for p99: how late the generator itself may be, 99th percentile
MAX_OTHER_WORK = 0.05  # of the service's core
GENERATOR_RATE = 5000.0  # a second; what the generator makes on an idle core of today without being late


class UnreliableError(RuntimeError):
    """What was measured tells nothing about the service: the generator was late, or its core had other work."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """The highest rate that passed, and the lowest that failed or could not be made."""

    passed: float
    failed: float
    limited_by: str
    """`service`, or `generator` where the generator cannot make `failed`: then `passed` is a lower bound."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One load at a fixed rate, and what it says."""

    result: LoadResult
    p99_limit_ms: float
    other_work: float
    """Share of the service's core that went to other processes or other machines."""

    @property
    def passed(self) -> bool:
        """Whether every payment was answered, and 99 % of them within the limit.

        A late generator and a busy core only make times longer, so what passed has passed.
        """
        return self.result.answered == self.result.due and self.result.p99_ms <= self.p99_limit_ms

    @property
    def doubt(self) -> str:
        """Why a failure may not be the service's fault; empty if it surely is, or if there is none."""
        if self.passed:
            return ""
        if self.result.lag_ms > MAX_LAG * self.p99_limit_ms:
            return f"the generator was {self.result.lag_ms:.1f} ms late"
        if self.other_work > MAX_OTHER_WORK:
            return f"other work took {self.other_work:.0%} of the service's core"
        return ""


Measure = Callable[[float, float], Trial]
"""Rate and seconds to a trial."""


def search(measure: Measure, *, first: float, seconds: float) -> Bracket:
    """Find the highest rate that passes, by doubling and then halving the gap.

    Raises
    ------
    UnreliableError
        If what failed may not be the service's fault, at a rate that the generator should make.
    ServiceError
        If not even the lowest rate passes.
    """
    passed, failed, limited_by = 0.0, HIGHEST_RATE, "generator"
    rate = first
    while failed > passed * (1 + PRECISION):
        trial = _tried(measure, rate, seconds)
        if trial.passed:
            passed = rate
        else:
            failed, limited_by = rate, "generator" if trial.doubt else "service"
        if trial.doubt and rate <= GENERATOR_RATE:
            raise UnreliableError(f"at {rate:.0f} a second {trial.doubt}")
        if failed < LOWEST_RATE:
            raise ServiceError(f"p99 is over its limit even at {failed:g} payments a second")
        doubled = min(2 * passed, HIGHEST_RATE)
        rate = doubled if passed and doubled < failed else (passed + failed) / 2
    return Bracket(passed, failed, limited_by)


def _tried(measure: Measure, rate: float, seconds: float) -> Trial:
    """Return a trial that passed or, where none does, one that surely failed or else is in doubt."""
    failures: list[Trial] = []
    for _ in range(1 + RETRIES):
        trial = measure(rate, seconds)
        if trial.passed:
            return trial
        failures.append(trial)
        if sum(not failure.doubt for failure in failures) == SURE_FAILURES:
            break
    return min(failures, key=lambda failure: failure.doubt)  # one without doubt if there is one


def confirm(measure: Measure, rate: float, *, seconds: float) -> list[Trial]:
    """Return longer trials of which most passed, at this rate or, where it was too high, the next lower ones.

    A trial that failed in doubt counts as failed: other work on the service's core only makes times longer, so the rate
    that is confirmed may be too low and is never too high.

    Raises
    ------
    UnreliableError
        If no rate could be confirmed.
    """
    for lower in (1.0, *STEPS_BACK):
        rate *= lower
        trials = _trials(measure, rate, seconds)
        if sum(trial.passed for trial in trials) > CONFIRMATIONS // 2:
            return trials
    raise UnreliableError(f"no rate was confirmed, down to {rate:.0f} a second")


def _trials(measure: Measure, rate: float, seconds: float) -> list[Trial]:
    """Return trials at one rate; those in doubt are repeated a few times and then taken as they are.

    Where most of them surely failed the rest is not made.
    """
    trials: list[Trial] = []
    doubtful: list[Trial] = []
    while len(trials) < CONFIRMATIONS and len(doubtful) < RETRIES:
        trial = measure(rate, seconds)
        (doubtful if trial.doubt else trials).append(trial)
        if sum(not trial.passed for trial in trials) > CONFIRMATIONS // 2:
            break
    return trials + doubtful[: CONFIRMATIONS - len(trials)]


def summarise(cores: float, bracket: Bracket, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return one entry of the file: medians over the confirming trials."""
    results = [trial.result for trial in trials]
    rate = results[0].rate
    names = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
    return {
        "cores": cores,
        "highest_rate": round(rate, 1),
        "limited_by": bracket.limited_by,
        **{name: round(statistics.median(getattr(result, name) for result in results), 3) for name in names},
        "p99_ms_of_trials": [round(result.p99_ms, 3) for result in results],
        "generator_lag_p99_ms": round(statistics.median(result.lag_ms for result in results), 3),
        "other_work": round(statistics.median(trial.other_work for trial in trials), 3),
        "failed_rate": round(bracket.failed, 1),
        "rate_per_core": round(rate / cores, 1),
    }
