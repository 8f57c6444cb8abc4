"""Compare this service with its peers on one core: `make bench`, or `python -m loadtest.bench`."""

import argparse
import os
import signal
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import httpx

from loadtest.peers import machine
from loadtest.peers.catalogue import ENVIRONMENTS, PEERS, ROOT, SERVICE, Peer, Place, threads_off
from loadtest.peers.environments import EnvironmentMissingError, install, is_installed, package_versions
from loadtest.peers.processes import ServerError, free_ports, post, prepare, score_in, server, wait_until_answering
from loadtest.peers.report import Circumstances, as_text, write_documents
from loadtest.peers.results import Result
from loadtest.peers.workload import Workload, WorkloadError, clean_variables, demo_bank, make_workload
from loadtest.peers.wrk import LoadError, LoadRun, find_wrk, put_load, wrk_version

WARM_UP_SECONDS = 5
CHECKED = 50  # answers that are compared with the model before a server is measured
TOLERANCE = 1e-9  # of a score
WORK = ROOT / "var" / "bench"


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    peers: tuple[Peer, ...]
    seconds: int
    runs: int
    connections: int
    server_core: int
    load_core: int


@dataclass(frozen=True, slots=True)
class _Round:
    """One run of one server, with what was found out beside its speed."""

    run: LoadRun
    answer_bytes: int
    notes: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the ratios and write the documents; return 0, 1 for a failure, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    # What ends this process must not leave a server behind.
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _bench(options)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except (LoadError, WorkloadError, machine.CoresError, OSError) as error:
        _say(f"bench: {error}")
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)


def _parser() -> argparse.ArgumentParser:
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument(
        "--install", action="store_true", help=f"install peers that are missing, into {_short(ENVIRONMENTS)}"
    )
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"any of {', '.join(names)}")
    parser.add_argument("--seconds", type=_positive, default=15, help="length of a run; default: 15")
    parser.add_argument("--runs", type=_positive, default=3, help="runs of each server; default: 3")
    parser.add_argument("--connections", type=_positive, default=16, help="keep-alive connections; default: 16")
    parser.add_argument("--trees", type=_positive, default=200, help="trees of the model; default: 200")
    parser.add_argument("--leaves", type=_positive, default=31, help="leaves of a tree; default: 31")
    parser.add_argument("--bank", type=Path, metavar="DIR", help="work folder of a bank made by `antifraud run`")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="DIR", help="where the results go")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def _bench(options: argparse.Namespace) -> int:
    find_wrk()
    server_core, load_core = machine.two_cores()
    load_before = machine.load_average()
    peers = tuple(peer for peer in PEERS if not options.only or peer.name in options.only)
    plan = Plan(peers, options.seconds, options.runs, options.connections, server_core, load_core)
    missing = _environments(peers, may_install=options.install)
    bank, workload = _prepare(options)
    results, notes = measure(plan, workload, bank, missing=missing)
    _say(as_text(results), to=sys.stdout)
    _say("\n".join(notes))
    if options.only:
        _say("Only some servers were measured, so the documents stay as they are.")
        return 0
    circumstances = _circumstances(plan, workload, notes=notes, load_before=load_before)
    write_documents(options.docs, results, circumstances)
    _say(f"{_short(options.docs)}/benchmarks.md and benchmarks.json are written.")
    return 0 if all(result.is_measured for result in results if result.peer.name == SERVICE) else 1


def _say(text: str, *, to: TextIO | None = None) -> None:
    stream = to or sys.stderr
    if text:
        stream.write(text + "\n")
        stream.flush()


# --- what is needed before the first run ------------------------------------------------------------------------------


def _environments(peers: Sequence[Peer], *, may_install: bool) -> dict[str, str]:
    """Return, by environment, why it cannot be used; install those that are missing if that was asked for."""
    failures: dict[str, str] = {}
    done: set[str] = set()
    for peer in peers:
        if peer.environment is None or peer.environment in done or is_installed(peer):
            continue
        done.add(peer.environment)
        if not may_install:
            failures[peer.environment] = "not installed; `make bench INSTALL=1` does it"
            continue
        _say(f"Installing {peer.environment} into {_short(peer.python.parents[1])} (a minute or two, once) ...")
        try:
            install(peer)
        except EnvironmentMissingError as error:
            failures[peer.environment] = str(error)
            _say(f"  {error}")
    return failures


def _prepare(options: argparse.Namespace) -> tuple[Path, Workload]:
    folder = WORK / f"{options.trees}x{options.leaves}"
    if options.bank is None:
        _say(f"Using the bank in {_short(folder)}; it is made first if it is not there (a minute or two) ...")
    bank = (options.bank or demo_bank(folder, trees=options.trees, leaves=options.leaves)).resolve()
    work = (WORK / "given" if options.bank else folder / "work").resolve()
    work.mkdir(parents=True, exist_ok=True)
    return bank, make_workload(bank, work)


def _circumstances(plan: Plan, workload: Workload, *, notes: Sequence[str], load_before: float) -> Circumstances:
    versions = {peer.name: package_versions(peer) for peer in plan.peers if is_installed(peer)}
    return Circumstances(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        processor=machine.processor(),
        cores=os.cpu_count() or 0,
        system=machine.system(),
        load_before=load_before,
        wrk=wrk_version(),
        versions=versions,
        trees=workload.trees,
        leaves=workload.leaves,
        features=workload.features,
        connections=plan.connections,
        seconds=plan.seconds,
        warm_up_seconds=WARM_UP_SECONDS,
        runs=plan.runs,
        service_notes=tuple(notes),
    )


# --- measuring --------------------------------------------------------------------------------------------------------


def measure(
    plan: Plan, workload: Workload, bank: Path, *, missing: Mapping[str, str]
) -> tuple[list[Result], tuple[str, ...]]:
    """Measure each server once a round, so that what drifts on the machine drifts for all of them.

    Parameters
    ----------
    missing
        Why an environment cannot be used, by its name.

    Returns
    -------
    tuple
        A result for each server, also for those that could not be measured, and notes on this service.
    """
    results = {peer.name: Result(peer, failure=missing.get(peer.environment or "", "")) for peer in plan.peers}
    notes: tuple[str, ...] = ()
    for number in range(1, plan.runs + 1):
        for peer in plan.peers:
            if results[peer.name].failure:
                continue
            results[peer.name], found = _next_run(results[peer.name], number, plan, workload, bank)
            notes = found or notes
    return list(results.values()), notes


def _next_run(
    result: Result, number: int, plan: Plan, workload: Workload, bank: Path
) -> tuple[Result, tuple[str, ...]]:
    title = f"run {number} of {plan.runs}: {result.peer.title}"
    try:
        done = _one_round(result.peer, plan, workload, bank)
    except (ServerError, LoadError, httpx.HTTPError) as error:
        reason = str(error) or type(error).__name__
        _say(f"{title}: {reason}")
        return replace(result, failure=reason), ()
    rate, slow = done.run.answers_per_second, done.run.p99_ms
    _say(f"{title}: {rate:,.0f} answers a second, p99 {slow:.1f} ms")
    return replace(result, runs=(*result.runs, done.run), answer_bytes=done.answer_bytes), done.notes


def _one_round(peer: Peer, plan: Plan, workload: Workload, bank: Path) -> _Round:
    """Start a server, compare its answers with the model, warm it up, measure it and end it."""
    bodies = workload.bodies(peer.body)
    with _running(peer, plan.server_core, workload, bank) as (address, log):
        with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
            sizes = _check(client, peer, bodies, workload.scores)
        load = {"core": plan.load_core, "connections": plan.connections}
        put_load(address + peer.path, bodies, seconds=WARM_UP_SECONDS, **load)
        run = put_load(address + peer.path, bodies, seconds=plan.seconds, **load)
        if run.answers == 0:
            raise ServerError("no request was answered with 200 while it was measured")
        notes = _service_notes(address, log) if peer.name == SERVICE else ()
    return _Round(run, int(statistics.median(sizes)), notes)


@contextmanager
def _running(peer: Peer, core: int, workload: Workload, bank: Path) -> Iterator[tuple[str, Path]]:
    """Run a server until it has answered once; give its address and the file of its output."""
    place = Place(folder=workload.folder, bank=bank, ports=_three(free_ports(3)))
    variables = clean_variables() | threads_off() | peer.variables(place)
    # Some servers start others by name, which must be those of their own environment.
    variables["PATH"] = f"{peer.python.parent}{os.pathsep}{variables.get('PATH', '')}"
    folder = ROOT if peer.environment is None else workload.folder
    for command in peer.prepare(place):
        prepare(command, folder=workload.folder, variables=variables)
    log = workload.folder / f"{peer.name}.log"
    address = f"http://127.0.0.1:{place.ports[0]}"
    with server(peer.command(place), core=core, folder=folder, variables=variables, log=log) as process:
        body = _first_lines(workload.bodies(peer.body), 1)[0]
        with httpx.Client(base_url=address, timeout=30, trust_env=False) as client:
            wait_until_answering(client, peer.path, body, process=process, log=log)
        yield address, log


def _three(ports: tuple[int, ...]) -> tuple[int, int, int]:
    first, second, third = ports
    return first, second, third


def _first_lines(path: Path, count: int) -> list[bytes]:
    with path.open("rb") as file:
        return [line.rstrip(b"\n") for line, _ in zip(file, range(count), strict=False)]


def _check(client: httpx.Client, peer: Peer, bodies: Path, scores: Sequence[float]) -> list[int]:
    """Return the sizes of some answers, once it is known that each has the model's score.

    Raises
    ------
    ServerError
        If an answer is not 200, empty, or has another score.
    """
    sizes = []
    for body, expected in zip(_first_lines(bodies, CHECKED), scores, strict=False):
        answer = post(client, peer.path, body)
        if answer.status_code != httpx.codes.OK or not answer.content:
            raise ServerError(f"it answers {answer.status_code} with {len(answer.content)} bytes")
        if peer.score and abs(score_in(answer.json(), peer.score) - expected) > TOLERANCE:
            raise ServerError("its scores are not those of the model")
        sizes.append(len(answer.content))
    return sizes


def _service_notes(address: str, log: Path) -> tuple[str, ...]:
    """Say what was switched off although the comparison promises that it is on."""
    metrics = httpx.get(f"{address}/metrics", timeout=10, trust_env=False)
    notes = []
    if metrics.status_code != httpx.codes.OK or "fraud_requests" not in metrics.text:
        notes.append("This service counted no metrics while it was measured.")
    with log.open("rb") as file:
        if not any(b'"decision"' in line for line, _ in zip(file, range(1000), strict=False)):
            notes.append("This service wrote no decision log while it was measured.")
    return tuple(notes)


if __name__ == "__main__":
    sys.exit(main())
