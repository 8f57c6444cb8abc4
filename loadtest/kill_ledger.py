"""Kill the stream again and again while it works, and count what a reader of committed data finds in the end.

`python -m loadtest.kill_ledger` writes 100 000 payments, ends the process twenty times as a power cut would, starts it
again each time, and compares, message by message, what came in with what went out.
"""

import argparse
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.peers import machine
from loadtest.peers.catalogue import ROOT
from loadtest.peers.workload import WorkloadError, demo_bank
from loadtest.report import PASSED, WRONG_USAGE
from loadtest.sections import table, write_section
from loadtest.stream_topics import StreamingError, Topics, Watch, fill, read_all, wait_until
from loadtest.streams import StreamProcess, bank_variables

FAILED = 1
MESSAGES = 100_000
KILLS = 20
PARTITIONS = 4
POISON_EVERY = 100  # one message in so many is none that can be decided on
ENOUGH_SECONDS = 900.0
DOCS = ROOT / "docs"
WORK = ROOT / "var" / "stream"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: seconds since the start of the run, messages committed by then, seconds until more were committed."""

    number: int
    at_seconds: float
    committed: int
    resumed_seconds: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What came in and what went out.

    Attributes
    ----------
    lost
        Messages that came in, and of which neither a decision nor a dead letter is committed.
    double
        Messages of which more than one is.
    strange
        Decisions and dead letters of messages that never came in, or of the wrong kind.
    """

    messages: int
    decisions: int
    dead_letters: int
    lost: int
    double: int
    strange: int

    @property
    def is_clean(self) -> bool:
        """Whether each message was decided on exactly once."""
        return not (self.lost or self.double or self.strange)


def bodies(payments: Sequence[dict[str, Any]], count: int, *, poison_every: int = POISON_EVERY) -> Iterator[bytes]:
    """Return so many bodies with numbers for ids; some are no JSON, but have their number too."""
    for number, payment in zip(range(count), itertools.cycle(payments), strict=False):
        body = json.dumps(payment | {"transaction_id": number}).encode()
        yield body[:-1] if poison_every and number % poison_every == 0 else body


def balance(bootstrap: str, topics: Topics, count: int, *, poison_every: int = POISON_EVERY) -> Ledger:
    """Compare what came in with what is committed, by the place in the input that every outgoing message names."""
    expected = {_place_of(message): _is_poison(message.value()) for message in read_all(bootstrap, topics.input)}
    seen: Counter[tuple[int, int]] = Counter()
    kinds: Counter[str] = Counter()
    strange = 0
    for message in read_all(bootstrap, topics.output, topics.dead_letter):
        headers = dict(message.headers())
        place = int(headers["source-partition"]), int(headers["source-offset"])
        seen[place] += 1
        kinds[message.topic()] += 1
        strange += expected.get(place) != (message.topic() == topics.dead_letter)
    if len(expected) != count:
        raise StreamingError(f"{topics.input}: {len(expected)} messages instead of {count}")
    return Ledger(
        messages=len(expected),
        decisions=kinds[topics.output],
        dead_letters=kinds[topics.dead_letter],
        lost=sum(place not in seen for place in expected),
        double=sum(times > 1 for times in seen.values()),
        strange=strange,
    )


def _place_of(message: Any) -> tuple[int, int]:
    return message.partition(), message.offset()


def _is_poison(value: bytes) -> bool:
    return not value.endswith(b"}")


def run_and_kill(stream: StreamProcess, watch: Watch, *, count: int, kills: int, rng: random.Random) -> list[Kill]:
    """Start the stream, kill it at random moments as often as asked, and let it finish; return the kills.

    The moments are drawn by how far it has come, so that all kills fall into the work, however fast that is.
    """
    moments = sorted(rng.sample(range(count // 100, count - count // 20), kills))
    done: list[Kill] = []
    began = time.monotonic()
    stream.start()
    for number, moment in enumerate(moments, start=1):
        _wait_for(watch, moment)
        time.sleep(rng.uniform(0, 0.1))  # anywhere between two commits
        stream.kill()
        killed, committed = time.monotonic(), watch.committed()
        stream.start()
        _wait_for(watch, min(committed + 1, count))
        done.append(Kill(number, round(killed - began, 1), committed, round(time.monotonic() - killed, 1)))
        print(
            f"kill {number} of {kills}: at {committed} of {count}, goes on after {done[-1].resumed_seconds} s",
            flush=True,
        )
    _wait_for(watch, count)
    stream.wait_until_ready()
    if stream.end():
        raise StreamingError(f"the stream ended badly: {stream.last_words()}")
    return done


def _wait_for(watch: Watch, committed: int) -> None:
    what = f"{committed} messages are committed"
    wait_until(lambda: watch.committed() >= committed, seconds=ENOUGH_SECONDS, what=what, pause=0.01)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write the ledger; return 0, 1 if it is not clean, 2 if it could not be made."""
    options = _parser().parse_args(arguments)
    from stack import servers

    try:
        kills, ledger = _run(options)
    except (StreamingError, WorkloadError, servers.Missing, servers.ServerError, OSError) as error:
        print(f"kill_ledger: {error}", file=sys.stderr)
        return WRONG_USAGE
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": machine.processor(),
        "system": machine.system(),
        "seed": options.seed,
        "partitions": PARTITIONS,
        **asdict(ledger),
        "kills": [asdict(kill) for kill in kills],
    }
    options.docs.mkdir(parents=True, exist_ok=True)
    (options.docs / "stream.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    write_section(options.docs / "stream.md", "ledger", page(document), command="make kill-ledger")
    print(f"{ledger}\nwritten: stream.md and stream.json")
    return PASSED if ledger.is_clean else FAILED


def _run(options: argparse.Namespace) -> tuple[list[Kill], Ledger]:
    from stack import servers

    bank = options.bank or demo_bank(ROOT / "var" / "bench" / "200x31", trees=200, leaves=31)
    WORK.mkdir(parents=True, exist_ok=True)
    rng = random.Random(options.seed)  # noqa: S311  no secret, and repeatable
    topics = Topics.numbered(time.time_ns() // 10**6)
    with servers.Kafka(WORK / "kafka") as kafka:
        topics.make(kafka, partitions=PARTITIONS)
        fill(kafka.bootstrap, topics.input, bodies(_payments(bank), options.messages))
        variables = bank_variables(bank, kafka.bootstrap) | topics.variables()
        variables |= {"FRAUD_STREAM_MEMBER": "ledger", "FRAUD_STREAM_SESSION_SECONDS": "6"}
        stream = StreamProcess(variables, log=WORK / "ledger.log")
        try:
            with Watch(kafka.bootstrap, topics) as watch:
                kills = run_and_kill(stream, watch, count=options.messages, kills=options.kills, rng=rng)
        finally:
            stream.kill()
        return kills, balance(kafka.bootstrap, topics, options.messages)


def _payments(bank: Path) -> list[dict[str, Any]]:
    from loadtest.peers.workload import make_workload

    folder = bank.parent / "work"
    folder.mkdir(parents=True, exist_ok=True)
    lines = make_workload(bank.resolve(), folder.resolve()).bodies("payments").read_text(encoding="utf-8")
    return [json.loads(line) for line in lines.splitlines()]


def page(document: dict[str, Any]) -> str:
    """Return the section of the page."""
    verdict = f"**{document['lost']} lost, {document['double']} double**"
    rows = [
        [str(kill["number"]), f"{kill['at_seconds']:.1f}", f"{kill['committed']:,}", f"{kill['resumed_seconds']:.1f}"]
        for kill in document["kills"]
    ]
    head = ["kill", "second of the run", "messages committed by then", "seconds until more were committed"]
    return (
        f"## The kill test: {verdict}\n\n"
        f"On {document['date'][:10]} ({document['processor']}, {document['system']}) {document['messages']:,} "
        f"messages, one in {POISON_EVERY} of them no JSON, lay in {document['partitions']} partitions. The process was "
        f"ended by SIGKILL {len(document['kills'])} times at random moments and started again. In the end a reader of "
        f"committed data found {document['decisions']:,} decisions and {document['dead_letters']:,} dead letters; "
        f"compared one by one with the input: {verdict}, {document['strange']} strange. A restarted process loads and "
        "tries its model, and waits until the group misses the dead one (here 6 s, `FRAUD_STREAM_SESSION_SECONDS`)."
        f"\n\n{table(head, rows)}\n\nRepeat: `make kill-ledger`. Figures: [stream.json](stream.json)."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.kill_ledger",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=MESSAGES, help=f"default: {MESSAGES}")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"default: {KILLS}")
    parser.add_argument("--seed", type=int, default=1, help="of the moments; default: 1")
    parser.add_argument("--bank", type=Path, metavar="DIR", help="work folder of a bank made by `antifraud run`")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR", help="where the ledger goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
