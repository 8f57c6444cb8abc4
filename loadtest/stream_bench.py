"""Measure the stream beside the REST service on the same core, and its lag on a quarter of one: `make bench-stream`."""

import argparse
import itertools
import json
import signal
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.bench import Plan, _one_round
from loadtest.cpu import QuotaError, cpu_group
from loadtest.peers import machine
from loadtest.peers.catalogue import PEERS, ROOT, SERVICE
from loadtest.peers.processes import ServerError, pinned
from loadtest.peers.workload import Workload, WorkloadError, demo_bank, make_workload
from loadtest.peers.wrk import LoadError, find_wrk
from loadtest.report import PASSED, WRONG_USAGE
from loadtest.sections import write_figures, write_section
from loadtest.stream_report import (
    PARTITIONS,
    QUARTER_RATE,
    Lag,
    Round,
    circumstances,
    lag_page,
    rate_figures,
    rate_page,
)
from loadtest.stream_topics import StreamingError, Topics, Watch, fill, read_all, wait_until
from loadtest.streams import StreamProcess, bank_variables, broker_on, streaming

MISSED = 1
SECTION, LAG_SECTION = "stream", "stream-lag"
WARM_UP_SHARE = 0.1  # of the payments, before the clock starts
QUARTER = 0.25
WORK = ROOT / "var" / "stream"


@dataclass(frozen=True, slots=True)
class _Place:
    kafka: Any
    bank: Path
    workload: Workload
    server_core: int
    load_core: int

    def variables(self, topics: Topics) -> dict[str, str]:
        log = {"FRAUD_DECISION_LOG": str(WORK / "decisions.jsonl"), "FRAUD_STREAM_MEMBER": "bench"}
        return bank_variables(self.bank, self.kafka.bootstrap) | topics.variables() | log

    def bodies(self) -> Iterator[bytes]:
        lines = self.workload.bodies("payments").read_text(encoding="utf-8").splitlines()
        payments = [json.loads(line) for line in lines]
        for number, payment in enumerate(itertools.cycle(payments)):
            yield json.dumps(payment | {"transaction_id": number}).encode()


def measure_rate(place: _Place, topics: Topics, count: int) -> float:
    """Return decisions a second over a full topic, by what the group has committed; each is counted afterwards.

    Raises
    ------
    StreamingError
        If not exactly one decision a payment is committed in the end.
    """
    topics.make(place.kafka, partitions=PARTITIONS)
    fill(place.kafka.bootstrap, topics.input, itertools.islice(place.bodies(), count))
    warm, marks = int(count * WARM_UP_SHARE), []
    stream = StreamProcess(place.variables(topics), log=WORK / "bench.log", core=place.server_core)
    with Watch(place.kafka.bootstrap, topics) as watch:
        stream.start()
        try:
            for target in (warm, count):
                wait_until(lambda target=target: watch.committed() >= target, seconds=300, what="progress", pause=0.02)  # type: ignore[misc]
                marks.append((time.monotonic(), watch.committed()))
            stream.end()
        finally:
            stream.kill()
    found = sum(1 for _ in read_all(place.kafka.bootstrap, topics.output))
    if found != count:
        raise StreamingError(f"{found} decisions are committed for {count} payments")
    (began, before), (ended, after) = marks
    return (after - before) / (ended - began)


def measure_service(place: _Place, plan: Plan) -> float:
    """Return answers a second of the service, measured as `make bench` does."""
    peer = next(peer for peer in PEERS if peer.name == SERVICE)
    return _one_round(peer, plan, place.workload, place.bank).run.answers_per_second


def measure_lag(place: _Place, topics: Topics, seconds: float) -> Lag:
    """Let payments come at a fixed rate to a stream on a quarter of a core, and look every second at what waits."""
    topics.make(place.kafka, partitions=PARTITIONS)
    count = int(QUARTER_RATE * seconds)
    with (
        cpu_group() as group,
        streaming(place.variables(topics), log=WORK / "lag.log", core=place.server_core) as stream,
        Watch(place.kafka.bootstrap, topics) as watch,
    ):
        group.add(stream.pid)
        group.limit(QUARTER)
        bodies = itertools.islice(place.bodies(), count)
        options = {"rate": QUARTER_RATE}
        writer = threading.Thread(target=fill, args=(place.kafka.bootstrap, topics.input, bodies), kwargs=options)
        began = time.monotonic()
        writer.start()
        samples = []
        while writer.is_alive():
            time.sleep(1)
            committed = watch.committed()  # first: what comes meanwhile waits too, and nothing counts as less than none
            samples.append((round(time.monotonic() - began, 1), watch.ends() - committed))
        writer.join()
        wait_until(lambda: watch.committed() == count, seconds=60, what="the rest is decided")
        group.limit(1)
        stream.end()
    ages = _ages_ms(place, topics)
    cuts = statistics.quantiles(ages, n=100)
    return Lag(QUARTER_RATE, QUARTER, seconds, samples, round(cuts[49], 1), round(cuts[98], 1))


def _ages_ms(place: _Place, topics: Topics) -> list[float]:
    """Return how long after a payment's message its decision was written, in ms; less the commit, a few ms."""
    written = {}
    for message in read_all(place.kafka.bootstrap, topics.input):
        written[message.partition(), message.offset()] = message.timestamp()[1]
    ages = []
    for message in read_all(place.kafka.bootstrap, topics.output):
        headers = dict(message.headers())
        source = written[int(headers["source-partition"]), int(headers["source-offset"])]
        ages.append(float(message.timestamp()[1] - source))
    return ages


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 0, 1 if a requirement is missed, 2 if it could not be measured."""
    options = _parser().parse_args(arguments)
    from stack import servers

    load_before = machine.load_average()
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    errors = (servers.Missing, servers.ServerError, StreamingError, ServerError, LoadError, WorkloadError)
    try:
        rounds, lag = _measure(options)
    except (*errors, QuotaError, machine.CoresError, OSError) as error:
        print(f"stream_bench: {error}", file=sys.stderr)
        return WRONG_USAGE
    finally:
        signal.signal(signal.SIGTERM, previous)
    kept = True
    if rounds:
        figures = rate_figures(options.messages, rounds, load_before)
        _write(options.docs, SECTION, rate_page(figures), figures)
        kept = figures["ratio"] >= 1
    if lag is not None:
        figures = circumstances(load_before) | asdict(lag) | {"grows": lag.grows}
        _write(options.docs, LAG_SECTION, lag_page(lag, figures), figures)
        kept = kept and not lag.grows
    return PASSED if kept else MISSED


def _write(docs: Path, section: str, text: str, figures: dict[str, Any]) -> None:
    print(text)
    write_section(docs / "benchmarks.md", section, text, command="make bench-stream")
    write_figures(docs / "benchmarks.json", section, figures)


def _measure(options: argparse.Namespace) -> tuple[list[Round], Lag | None]:
    from stack import servers

    find_wrk()
    server_core, load_core = machine.two_cores()
    WORK.mkdir(parents=True, exist_ok=True)
    folder = ROOT / "var" / "bench" / "200x31"
    bank = (options.bank or demo_bank(folder, trees=200, leaves=31)).resolve()
    work = (folder / "work").resolve()
    work.mkdir(parents=True, exist_ok=True)
    workload = make_workload(bank, work)
    plan = Plan((), options.seconds, options.rounds, 16, server_core, load_core)
    first, rounds = time.time_ns() // 10**6, []
    kafka = servers.Kafka(WORK / "kafka")
    with broker_on(kafka, load_core), pinned(load_core):
        place = _Place(kafka, bank, workload, server_core, load_core)
        for number in range(options.rounds):
            stream = measure_rate(place, Topics.numbered(first + number), options.messages)
            service = measure_service(place, plan)
            rounds.append(Round(round(stream, 1), round(service, 1)))
            print(f"round {number + 1}: stream {stream:,.0f}, service {service:,.0f} a second", flush=True)
        topics = Topics.numbered(first + options.rounds)
        lag = measure_lag(place, topics, options.lag_seconds) if options.lag_seconds else None
    return rounds, lag


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.stream_bench", description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000, help="payments in the topic; default: 200000")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3; 0: none")
    parser.add_argument("--seconds", type=int, default=15, help="of the service's load in a round; default: 15")
    parser.add_argument("--lag-seconds", type=float, default=75, help="of the run on a quarter of a core; 0: none")
    parser.add_argument("--bank", type=Path, metavar="DIR", help="work folder of a bank made by `antifraud run`")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", metavar="DIR", help="where the results go")
    return parser


if __name__ == "__main__":
    sys.exit(main())
