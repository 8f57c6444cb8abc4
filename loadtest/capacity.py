"""Measure how many payments a second one instance can answer, and write what an autoscaler is sized from.

For each CPU limit: the rate is doubled until p99 is over its limit, the gap is halved until it is small, and the rate
found is confirmed by longer trials. Arrivals come at a fixed rate; times count from the moment a payment was due.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.capacity_search import Measure, UnreliableError, confirm, search, summarise
from loadtest.capacity_trials import trials_on
from loadtest.cpu import Group, QuotaError, choose_cores, cpu_group
from loadtest.payments import day_after, read_payments, request_bodies
from loadtest.profiles import P99_MS
from loadtest.report import PASSED, UNRELIABLE, WRONG_USAGE, describe_machine, write_json
from loadtest.service import DEMO, Service, ServiceError, prepare_demo, running_service

CORES = (0.25, 0.5, 1.0)
OUT = Path(__file__).with_name("capacity.json")
FIRST_RATE = 400.0  # a second and core; where the search begins


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
        measure = trials_on(service, bodies, p99_limit_ms=options.p99_ms, random_arrivals=options.arrivals == "random")
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
