"""Measure how many payments a second one instance can answer, and write what an autoscaler is sized from.

For each CPU limit: the rate is doubled until p99 is over its limit, the gap is halved until it is small, and the rate
found is confirmed by longer trials. Arrivals come at a fixed rate; times count from the moment a payment was due.
"""

import argparse
import itertools
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.cpu import Group, QuotaError, busy_seconds, choose_cores, cpu_group, process_seconds
from loadtest.ledger import LoadResult
from loadtest.open_loop import even_schedule, random_schedule, run_load_blocking
from loadtest.payments import day_after, read_payments, request_bodies
from loadtest.profiles import P99_MS
from loadtest.report import PASSED, UNRELIABLE, WRONG_USAGE, describe_machine, write_json
from loadtest.service import DEMO, Service, ServiceError, prepare_demo, running_service

CORES = (0.25, 0.5, 1.0)
OUT = Path(__file__).with_name("capacity.json")
FIRST_RATE = 400.0  # a second and core; where the search begins
HIGHEST_RATE = 20_000.0  # a second; where it ends at the latest
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
CONNECTIONS = 64
ANSWER_TIMEOUT = 1.0  # seconds; far beyond the limit, and a failed trial ends soon


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the file; return 0, 2 for wrong usage, or 3 if nothing could be measured reliably."""
    options = _parser().parse_args(arguments)
    try:
        document = measure_all(options)
    except UnreliableError as error:
        print(f"capacity: {error}; nothing was written", file=sys.stderr)
        return UNRELIABLE
    except (ServiceError, ValueError, OSError) as error:
        print(f"capacity: {error}", file=sys.stderr)
        return WRONG_USAGE
    write_json(options.out, document)
    print(f"written: {options.out}")
    return PASSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cores", type=float, nargs="+", default=CORES, help="CPU limits; default: 0.25 0.5 1")
    parser.add_argument("--p99-ms", type=float, default=P99_MS, help=f"limit of p99; default: {P99_MS:g}")
    parser.add_argument("--arrivals", choices=("even", "random"), default="even", help="distances between arrivals")
    parser.add_argument("--trial-seconds", type=float, default=4.0, help="length of a searching trial")
    parser.add_argument("--confirm-seconds", type=float, default=15.0, help="length of a confirming trial")
    parser.add_argument("--work-folder", type=Path, default=DEMO, help=f"what is served; default: {DEMO}")
    parser.add_argument("--history", type=Path, help="payments to ask with; default: the history in the work folder")
    parser.add_argument("--python", default=sys.executable, help="interpreter that the service is installed in")
    parser.add_argument("--out", type=Path, default=OUT, help=f"file to write; default: loadtest/{OUT.name}")
    return parser


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Return the capacity file's content."""
    if options.work_folder == DEMO:
        prepare_demo(options.python)
    payments = read_payments(options.history or options.work_folder / "history")
    cores = choose_cores()
    if cores.shared:
        raise ServiceError("two cores are needed, one for the service and one for the load generator")
    with ExitStack() as stack:
        group = _group(stack, options)
        service = stack.enter_context(running_service(options.work_folder, python=options.python, core=cores.service))
        os.sched_setaffinity(0, {cores.generator})
        if group is not None and service.process is not None:
            group.add(service.process)
        bodies = request_bodies(
            payments,
            run=f"{time.time_ns() // 1000:x}",
            as_of=service.statistics_as_of() or day_after(payments),
            rng=random.Random(1),  # noqa: S311  no secret, and repeatable
        )
        measure = _measurer(service, bodies, options)
        print("warming up ...", flush=True)
        measure(FIRST_RATE / 2, 5)
        results = [_measure_one(measure, limit, group, options) for limit in options.cores]
        return _document(options, service, results)


def _group(stack: ExitStack, options: argparse.Namespace) -> Group | None:
    try:
        return stack.enter_context(cpu_group())
    except QuotaError as error:
        whole = [limit for limit in options.cores if limit == 1]
        print(f"{error}", file=sys.stderr)
        if not whole:
            raise ServiceError("without a CPU quota only 1 core can be measured") from None
        options.cores = whole
        return None


def _measurer(service: Service, bodies: Iterator[bytes], options: argparse.Namespace) -> Measure:
    rng = random.Random(1)  # noqa: S311  no secret, and repeatable

    def measure(rate: float, seconds: float) -> Trial:
        is_random = options.arrivals == "random"
        schedule = random_schedule(rate, seconds, rng) if is_random else even_schedule(rate, seconds)
        watch = _Watch(service)
        result = _load(service, rate, seconds, bodies, schedule)
        trial = Trial(result, options.p99_ms, watch.other_work())
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


def _measure_one(measure: Measure, cores: float, group: Group | None, options: argparse.Namespace) -> dict[str, Any]:
    print(f"{cores:g} core: searching ...", flush=True)
    if group is not None:
        group.limit(cores)
    bracket = search(measure, first=FIRST_RATE * cores, seconds=options.trial_seconds)
    print(f"{cores:g} core: confirming ...", flush=True)
    return summarise(cores, bracket, confirm(measure, bracket.passed, seconds=options.confirm_seconds))


def _document(options: argparse.Namespace, service: Service, results: list[dict[str, Any]]) -> dict[str, Any]:
    versions = service.get("/version")
    facts = versions["model"]
    # The largest limit that was measured: smaller ones lose some of it to being stopped within a period.
    largest = max(results, key=lambda result: float(result["cores"]))
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": {"service": versions["service"], **versions["libraries"]},
        "model": {"trees": facts["trees"], "leaves": facts["leaves"], "version": versions["model_version"]},
        "p99_limit_ms": options.p99_ms,
        "arrivals": options.arrivals,
        "results": results,
        "rate_per_core": largest["rate_per_core"],
    }


if __name__ == "__main__":
    sys.exit(main())
