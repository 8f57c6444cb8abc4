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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.bench import Plan, _one_round
from loadtest.cpu import QuotaError, cpu_group
from loadtest.peers import machine
from loadtest.peers.catalogue import PEERS, ROOT, SERVICE
from loadtest.peers.processes import ServerError, pinned
from loadtest.peers.report import BUSY
from loadtest.peers.workload import Workload, WorkloadError, demo_bank, make_workload
from loadtest.peers.wrk import LoadError, find_wrk
from loadtest.report import PASSED, WRONG_USAGE
from loadtest.sections import table, write_figures, write_section
from loadtest.streams import (
    StreamingError,
    StreamProcess,
    Topics,
    Watch,
    bank_variables,
    broker_on,
    fill,
    read_all,
    streaming,
    wait_until,
)

MISSED = 1
ANCESTOR_RATE = 7  # decisions a second of the system before this one, with a queue that grew
SECTION, LAG_SECTION = "stream", "stream-lag"
PARTITIONS = 4
WARM_UP_SHARE = 0.1  # of the payments, before the clock starts
QUARTER = 0.25
QUARTER_RATE = 400.0
SETTLE_SECONDS = 15.0  # of the quarter's run, before its lag counts
GROWTH_ALLOWED = QUARTER_RATE * 0.5  # messages between first and last third: half a second of traffic
WORK = ROOT / "var" / "stream"


@dataclass(frozen=True, slots=True)
class Round:
    """One round: decisions a second of the stream and answers a second of the service."""

    stream: float
    service: float


@dataclass(frozen=True, slots=True)
class Lag:
    """What waited while payments came at a fixed rate: (second, messages), and the ages of decisions in ms."""

    rate: float
    cores: float
    seconds: float
    samples: list[tuple[float, int]]
    age_p50_ms: float
    age_p99_ms: float

    def thirds(self) -> tuple[float, float]:
        """Return the mean lag of the first and of the last third, once it has settled."""
        settled = [lag for second, lag in self.samples if second >= SETTLE_SECONDS]
        third = max(len(settled) // 3, 1)
        return statistics.fmean(settled[:third]), statistics.fmean(settled[-third:])

    @property
    def grows(self) -> bool:
        """Whether more waits at the end than chance explains."""
        first, last = self.thirds()
        return last - first > GROWTH_ALLOWED


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
        figures = _rate_figures(options, rounds, load_before)
        _write(options.docs, SECTION, _rate_page(figures), figures)
        kept = figures["ratio"] >= 1
    if lag is not None:
        figures = _circumstances(load_before) | asdict(lag) | {"grows": lag.grows}
        _write(options.docs, LAG_SECTION, _lag_page(lag, figures), figures)
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


def _circumstances(load_before: float) -> dict[str, Any]:
    return {
        "load_before": load_before,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": machine.processor(),
        "system": machine.system(),
    }


def _rate_figures(options: argparse.Namespace, rounds: list[Round], load_before: float) -> dict[str, Any]:
    stream, service = (statistics.median(getattr(one, name) for one in rounds) for name in ("stream", "service"))
    return _circumstances(load_before) | {
        "messages": options.messages,
        "rounds": [asdict(one) for one in rounds],
        "stream_per_second": stream,
        "service_per_second": service,
        "ratio": round(stream / service, 3),
        "ancestor_per_second": ANCESTOR_RATE,
    }


def _noise(figures: dict[str, Any]) -> str:
    """Return a warning where other work went on."""
    if figures["load_before"] <= BUSY:
        return ""
    return (
        f"\n\nThe machine was not quiet: its load average was {figures['load_before']:.1f} before the first run. Trust "
        "the ratio little and the absolute figures less."
    )


def _rate_page(figures: dict[str, Any]) -> str:
    stream, service = figures["stream_per_second"], figures["service_per_second"]
    rows = [
        [f"round {number}", f"{one['stream']:,.0f}", f"{one['service']:,.0f}", f"{one['stream'] / one['service']:.2f}"]
        for number, one in enumerate(figures["rounds"], start=1)
    ]
    rows.append(["median", f"{stream:,.0f}", f"{service:,.0f}", f"**{figures['ratio']:.2f}**"])
    return f"""## Stream: explained decisions a second on one core

Measured on {figures["date"][:10]} on {figures["processor"]}, {figures["system"]}. `antifraud stream` had one core to
itself, a real broker (Kafka, KRaft, {PARTITIONS} partitions, transactions) the other. {figures["messages"]:,} payments
lay in the topic; the clock ran from a tenth of them to the last, by the offsets that the group had committed, and
afterwards a reader of committed data counted exactly one decision for each payment. In between the service was measured
on the same core, wrk on the other, 16 connections, the same payments. Both with all reasons, metrics and decision log.

{table(["", "stream, decisions a second", "REST, answers a second", "ratio"], rows)}{_noise(figures)}

The system before this one decided on {ANCESTOR_RATE} a second, and its queue grew; this is
{stream / ANCESTOR_RATE:,.0f} times as many. Repeat: `make stack-tools`, then `make bench-stream`."""


def _lag_page(lag: Lag, figures: dict[str, Any]) -> str:
    first, last = lag.thirds()
    shown = lag.samples[:: max(len(lag.samples) // 10, 1)]
    head = ["second", *(f"{second:.0f}" for second, _ in shown)]
    verdict = "**it grew**" if lag.grows else "**it did not grow**"
    return f"""## Stream: lag at {lag.rate:.0f} payments a second on {lag.cores:g} of a core

Measured on {figures["date"][:10]} on {figures["processor"]}, {figures["system"]}: {lag.seconds:.0f} s of payments at an
even {lag.rate:.0f} a second, the process held to {lag.cores:g} of a core by a control group. Messages without a
committed decision, once a second: on average {first:.0f} in the first third after {SETTLE_SECONDS:.0f} s, {last:.0f} in
the last: {verdict}. A decision was written {lag.age_p50_ms:,.0f} ms (median) and {lag.age_p99_ms:,.0f} ms (99 %) after
its payment; a transaction waits up to 100 ms for more (`FRAUD_STREAM_LINGER_MS`).

{table(head, [["lag", *(str(waiting) for _, waiting in shown)]])}

Repeat: `make bench-stream ARGS='--rounds 0'`."""


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
