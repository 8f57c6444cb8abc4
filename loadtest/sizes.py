"""How start, memory and the cost of an answer depend on the number of customers and on the size of the model.

Real services, one core, payments at a fixed rate. As in a pod they have only the packages of requirements/service.txt
(--install puts them into var/peers) and read the registry over HTTP, from an MLflow server started here. Models are
trained once, into var/bench; statistics of made-up customers are written into var/sizes, two gigabytes for five million
of them, and removed in the end.
"""

import argparse
import itertools
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.cpu import Cores, choose_cores
from loadtest.explain_engines import SHAPES, Shape
from loadtest.open_loop import run_load_blocking
from loadtest.payments import request_bodies
from loadtest.peers.catalogue import ROOT
from loadtest.peers.environments import EnvironmentMissingError
from loadtest.peers.workload import WorkloadError, demo_bank
from loadtest.profiles import PEAK_RATE
from loadtest.report import describe_machine, write_json
from loadtest.sections import write_figures, write_section
from loadtest.service import Service, ServiceError
from loadtest.sizes_bank import Case, is_current, make_bank, make_payments
from loadtest.sizes_report import Measured, Round, Start, as_json, as_page, checks, customers_table, leaves_table
from loadtest.sizes_service import POD, Runner, StartPeak, cpu_seconds, memory_mb, registry_server
from model.registry import RegistryError

WORK = ROOT / "var" / "sizes"
TRAINED = ROOT / "var" / "bench"  # shared with `make bench`
CUSTOMERS = (10_000, 1_000_000, 5_000_000)
SHAPE = Shape(200, 31)
WARM_STARTS = 2
WARM_UP_SECONDS = 3.0
CONNECTIONS = 16
COMMAND = "python -m loadtest.sizes"

Bodies = Iterator[bytes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the documents; return 0 if all requirements are met, 1 if not, 2 if it cannot be."""
    options = _parser().parse_args(arguments)
    try:
        results, about = measure(options)
    except (EnvironmentMissingError, RegistryError, WorkloadError, ServiceError, ValueError, OSError) as error:
        print(f"sizes: {error}", file=sys.stderr)
        return 2
    finally:
        if not options.keep:
            for folder in options.work.glob("*x*-*/"):
                shutil.rmtree(folder)
    print(f"\n{customers_table(results)}\n\n{leaves_table(results)}\n")
    print("\n".join(str(check) for check in checks(results)))
    write_json(options.work / "sizes.json", as_json(results, about))
    if options.whole:
        write_section(options.docs / "performance.md", "sizes", as_page(results, about), command=COMMAND)
        write_figures(options.docs / "performance.json", "sizes", as_json(results, about))
        print("performance.md and performance.json are written.", file=sys.stderr)
    else:
        print("Only some sizes were measured, so the documents stay as they are.", file=sys.stderr)
    return 0 if all(check.is_met for check in checks(results)) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, nargs="+", default=CUSTOMERS, help="default: 10000 1000000 5000000")
    parser.add_argument(
        "--shapes", type=Shape.parse, nargs="+", default=SHAPES, metavar="TREESxLEAVES", help="sizes of models"
    )
    parser.add_argument("--install", action="store_true", help="make a pod's environment, if it is missing")
    parser.add_argument(
        "--embedded",
        action="store_true",
        help="measure with this environment and an embedded registry, which take more",
    )
    parser.add_argument("--rounds", type=int, default=5, help="loads of each size, in turn; default: 5")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a load; default: 10")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the banks; default: var/sizes")
    parser.add_argument("--trained", type=Path, default=TRAINED, help="folder of trained banks; default: var/bench")
    parser.add_argument("--keep", action="store_true", help="leave the banks where they are")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the results go; default: docs")
    return parser


def cases(customers: Sequence[int], shapes: Sequence[Shape]) -> list[Case]:
    """Return each number of customers with the usual model, and the other models with the fewest customers."""
    usual = SHAPE if SHAPE in shapes else shapes[0]
    found = [Case(usual, count) for count in sorted(customers)]
    return found + [Case(shape, found[0].customers) for shape in shapes if shape != usual]


def measure(options: argparse.Namespace) -> tuple[list[Measured], dict[str, Any]]:
    """Return what was measured of each case, and the circumstances."""
    options.whole = set(options.customers) >= set(CUSTOMERS) and set(options.shapes) >= set(SHAPES)
    cores = choose_cores()
    if cores.shared:
        raise ServiceError("two cores are needed, one for the service and one for the load generator")
    python = _python(options)
    about: dict[str, Any] = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": describe_machine()}
    wanted = cases(options.customers, options.shapes)
    shapes = dict.fromkeys(case.shape for case in wanted)
    trained = {shape: _trained(options.trained / shape.name, shape) for shape in shapes}
    os.sched_setaffinity(0, {cores.generator})
    with ExitStack() as stack:
        started = {
            case: _start(stack, case, options.work / case.name, trained[case.shape], python=python, cores=cores)
            for case in wanted
        }
        rounds = _loads({case: one.service for case, one in started.items()}, options)
        results = [one.measured(case, rounds[case]) for case, one in started.items()]
        said = started[wanted[0]].service.get("/version")
    about |= {
        "versions": {"service": said["service"], **said["libraries"]},
        "rate": PEAK_RATE,
        "as_a_pod": bool(python),
    }
    return results, about | {"rounds": options.rounds, "seconds": options.seconds, "repeat": COMMAND}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _python(options: argparse.Namespace) -> Path | None:
    """Return the interpreter of a pod's environment; None to measure with this one and an embedded registry."""
    if options.embedded:
        return None
    if options.install and not POD.is_installed():
        _say("Installing the service's packages into var/peers (a minute, once) ...")
        POD.install(Path(sys.executable))
    if not POD.is_installed():
        raise EnvironmentMissingError(f"a pod's environment is not installed; `{COMMAND} --install` does it")
    return POD.python


def _trained(folder: Path, shape: Shape) -> Path:
    """Return a bank with a champion of this shape; one that was made by another version of the code is made anew."""
    _say(f"{shape.name}: using the champion in {folder.name}; it is trained first if it is not there ...")
    bank = demo_bank(folder, trees=shape.trees, leaves=shape.leaves)
    if not is_current(bank):
        shutil.rmtree(bank)
        bank = demo_bank(folder, trees=shape.trees, leaves=shape.leaves)
    return bank


@dataclass(frozen=True, slots=True)
class Started:
    """A case whose service runs."""

    service: Service
    leaves: int
    starts: tuple[Start, ...]

    def measured(self, case: Case, rounds: Sequence[Round]) -> Measured:
        """Return the case with its loads, and its memory now."""
        cold, *warm = self.starts
        resident, peak = memory_mb(_process(self.service))
        peak = max(peak, *(start.peak_mb for start in self.starts))
        return Measured(case, self.leaves, cold, tuple(warm), tuple(rounds), resident, peak)


def _start(stack: ExitStack, case: Case, folder: Path, trained: Path, *, python: Path | None, cores: Cores) -> Started:
    """Start a case's service once with nothing downloaded, then again, and at last for as long as the stack lives."""
    _say(f"{case.name}: making the bank ...")
    with (
        registry_server(folder.with_suffix(".registry"), core=cores.generator) if python else nullcontext("") as address
    ):
        leaves = make_bank(case, trained, folder, registry=address)
        runner = Runner(python or Path(sys.executable), address, cores.service)
        starts = []
        for number in range(1 + WARM_STARTS):
            begin = time.perf_counter()
            with ExitStack() as here:
                with StartPeak() as most:
                    service = (stack if number == WARM_STARTS else here).enter_context(runner.service(folder))
                    seconds = time.perf_counter() - begin
                resident, peak = memory_mb(_process(service))
                starts.append(Start(seconds, resident, max(peak, most.megabytes)))
            _say(f"{case.name}: ready in {seconds:.1f} s with {starts[-1].resident_mb:.0f} MB")
    return Started(service, leaves, tuple(starts))


def _process(service: Service) -> int:
    assert service.process is not None  # noqa: S101  it was started here
    return service.process


def _loads(services: dict[Case, Service], options: argparse.Namespace) -> dict[Case, list[Round]]:
    """Ask all services in turn, so that what drifts on the machine drifts for all of them."""
    bodies = {case: _bodies(case, service) for case, service in services.items()}
    found: dict[Case, list[Round]] = {case: [] for case in services}
    for case, service in services.items():
        _load(service, bodies[case], WARM_UP_SECONDS)
    for number, case in itertools.product(range(1, options.rounds + 1), services):
        found[case].append(_load(services[case], bodies[case], options.seconds))
        last = found[case][-1]
        _say(f"round {number}, {case.name}: {last.cpu_us:.0f} us an answer, p99 {last.result.p99_ms:.2f} ms")
    return found


def _bodies(case: Case, service: Service) -> Bodies:
    rng = random.Random(case.customers)  # noqa: S311  no secret, and repeatable
    as_of = service.statistics_as_of()
    if as_of is None:
        raise ServiceError(f"{case.name}: the service does not say of when its statistics are")
    run = f"{time.time_ns() // 1000:x}"
    return request_bodies(make_payments(case, rng), run=run, as_of=as_of, rng=rng, unknown_share=0)


def _load(service: Service, bodies: Bodies, seconds: float) -> Round:
    wanted = list(itertools.islice(bodies, round(PEAK_RATE * seconds)))
    before = cpu_seconds(_process(service))
    result = run_load_blocking(service.host, service.port, PEAK_RATE, seconds, wanted, connections=CONNECTIONS)
    spent = cpu_seconds(_process(service)) - before
    if not result.answered:
        raise ServiceError("the service answers no payment")
    return Round(result, spent / result.answered * 1e6)


if __name__ == "__main__":
    sys.exit(main())
