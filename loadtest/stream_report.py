"""What the measurements of the stream found: its rate beside the service's, its lag, and the pages that say so."""

import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from loadtest.peers import machine
from loadtest.peers.report import BUSY
from loadtest.sections import table

ANCESTOR_RATE = 7  # decisions a second of the system before this one, with a queue that grew
PARTITIONS = 4
QUARTER_RATE = 400.0
SETTLE_SECONDS = 15.0  # of the quarter's run, before its lag counts
GROWTH_ALLOWED = QUARTER_RATE * 0.5  # messages between first and last third: half a second of traffic


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


def circumstances(load_before: float) -> dict[str, Any]:
    """Return when and on what it was measured, and how busy the machine was before."""
    return {
        "load_before": load_before,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": machine.processor(),
        "system": machine.system(),
    }


def rate_figures(messages: int, rounds: list[Round], load_before: float) -> dict[str, Any]:
    """Return the figures of the rate, over so many messages a round."""
    stream, service = (statistics.median(getattr(one, name) for one in rounds) for name in ("stream", "service"))
    return circumstances(load_before) | {
        "messages": messages,
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


def rate_page(figures: dict[str, Any]) -> str:
    """Return the section of the rate, Markdown."""
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


def lag_page(lag: Lag, figures: dict[str, Any]) -> str:
    """Return the section of the lag, Markdown."""
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
