"""Run a load profile with Locust, against a service that is there or one that is started for it."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.cpu import QuotaError, choose_cores, cpu_group
from loadtest.options import SHAPES, add_load_options, profile_from
from loadtest.profiles import P99_MS, PROFILES, SPIKE
from loadtest.report import UNRELIABLE, WRONG_USAGE
from loadtest.service import DEMO, Service, ServiceError, find_service, prepare_demo, running_service

EASY = 0.5  # of the capacity: a spike that is no higher must be answered whole
LOCUST_RATE = 2000  # a second; what one process of Locust makes without being late itself
REPORTS = Path("var/load")
CAPACITY_FILE = Path(__file__).with_name("capacity.json")

_DESCRIPTION = """Ask for decisions at a fixed rate and hold the answers to limits.

Without --host the demonstration's service is started on a free port, on one core, with Locust on another."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one profile; return 0 if all limits held, 1 if not, 2 for wrong usage, 3 if the generator was late."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.profile == "spike" and not options.host and not options.capacity:
        print(fit_spike(options, measured_capacity(CAPACITY_FILE, options.cores or 1.0)), flush=True)
    highest = profile_from(options.profile, options).highest_rate
    if highest > LOCUST_RATE:
        print(
            f"{highest:g} a second is more than Locust makes in one process ({LOCUST_RATE}): state a smaller "
            "--capacity, or limit the service with --cores; loadtest/open_loop.py makes more",
            file=sys.stderr,
        )
        return UNRELIABLE
    try:
        with _service(options) as service:
            return _run(service, options)
    except (ServiceError, QuotaError, ValueError, OSError) as error:
        print(f"load: {error}", file=sys.stderr)
        return WRONG_USAGE


def measured_capacity(file: Path, cores: float) -> float | None:
    """Return how many payments a second were measured with so many cores; None if that is not known."""
    try:
        results = json.loads(file.read_text(encoding="utf-8"))["results"]
        return next((float(one["highest_rate"]) for one in results if one["cores"] == cores), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def fit_spike(options: argparse.Namespace, capacity: float | None) -> str:
    """Make a spike as hard as the capacity asks for, and return a line that says so.

    Ten times an ordinary day is no overload for a service that answers thousands a second: of such a service the whole
    spike is asked. Where Locust can make ten times the capacity, that is the spike.
    """
    if capacity is None:
        return "spike: the capacity is not known (`make capacity` measures it), so it is ten times an ordinary day"
    if SPIKE * capacity <= LOCUST_RATE:
        options.capacity = capacity
        return f"spike: ten times the measured capacity of {capacity:g} a second"
    height = SPIKE * options.normal
    if height > EASY * capacity:
        return f"spike: {height:g} a second, near the measured capacity of {capacity:g}"
    calm = {"spike_refused": 0.0, "spike_p99_ms": options.p99_ms or P99_MS, "spike_answered_rate": 0.0}
    for name, limit in calm.items():
        if getattr(options, name) is None:
            setattr(options, name, limit)
    return (
        f"spike: {height:g} a second is little beside the measured capacity of {capacity:g}, so all of it must be "
        "answered as on an ordinary day; tests/integration overloads the service"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.run",
        description=_DESCRIPTION,
        epilog=SHAPES + "\n\nexample: python -m loadtest.run step --host http://127.0.0.1:8000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("profile", choices=PROFILES, metavar="PROFILE", help="one of the profiles below")
    parser.add_argument("--host", help="a running service, http://host:port; default: start the demonstration's")
    parser.add_argument("--cores", type=float, help="limit the service that is started to so much of its core")
    parser.add_argument("--work-folder", type=Path, default=DEMO, help=f"what is served if started; default: {DEMO}")
    parser.add_argument("--python", default=sys.executable, help="interpreter that the service is installed in")
    parser.add_argument("--out", type=Path, default=REPORTS, help=f"folder for the reports; default: {REPORTS}")
    add_load_options(parser)
    return parser


@contextmanager
def _service(options: argparse.Namespace) -> Iterator[Service]:
    """Hand out the service that is there, or one that is started for the time of the block."""
    if options.host:
        service = find_service(options.host)
        if not service.is_ready():
            raise ServiceError(f"{service.address}/ready does not answer; without --host (HOST=) one is started")
        yield service
        return
    if options.work_folder == DEMO:
        prepare_demo(options.python)
    with ExitStack() as stack:
        # The group is left by the service's end, and only then taken away.
        group = stack.enter_context(cpu_group()) if options.cores else None
        core = choose_cores().service
        service = stack.enter_context(running_service(options.work_folder, python=options.python, core=core))
        if group is not None and service.process is not None:
            group.limit(options.cores)
            group.add(service.process)
        yield service


def _run(service: Service, options: argparse.Namespace) -> int:
    options.history = options.history or _history(options.work_folder)
    options.summary = options.summary or options.out / f"{options.profile}.json"
    page = options.out / f"{options.profile}.html"
    options.out.mkdir(parents=True, exist_ok=True)
    seconds = profile_from(options.profile, options).seconds
    print(f"{options.profile}: {seconds:.0f} s of payments to {service.address}", flush=True)
    command = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
    command += ["--profile", options.profile, "--host", service.address, "--html", str(page)]
    command += [
        "--only-summary",
        "--json-file",
        str(options.out / f"{options.profile}-locust"),
        "--loglevel",
        "WARNING",
        *_passed_on(options),
    ]
    process = subprocess.Popen(command)
    cores = choose_cores()
    if cores.shared:
        print("only one core may be used: the load generator and a service here get in each other's way")
    os.sched_setaffinity(process.pid, {cores.generator})
    code = _wait(process)
    print(f"\nreport: {page} and {options.summary}")
    return code


def _wait(process: "subprocess.Popen[bytes]") -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # it reaches Locust as well, which then writes what it has
            continue


def _history(folder: Path) -> Path:
    """Return the demonstration's payments; its bank is the same wherever it is simulated."""
    for known in (folder / "history", REPORTS / "history"):
        if known.is_dir():
            return known
    from model.training.simulation import PROFILES as BANKS
    from model.training.simulation import simulate

    print("Simulating a small bank to ask with ...", flush=True)
    simulate(BANKS["small"], REPORTS / "history")
    return REPORTS / "history"


def _passed_on(options: argparse.Namespace) -> Iterator[str]:
    shared = argparse.ArgumentParser(add_help=False)
    add_load_options(shared)
    for action in shared._actions:
        value = getattr(options, action.dest)
        if value is not None:
            yield from (action.option_strings[0], str(value))


if __name__ == "__main__":
    sys.exit(main())
