"""`antifraud land`: what stands in a topic becomes files that analysts and the next refresh read."""

import argparse
import signal
import sys
from threading import Event

from antifraud.options import settings_from

TEXT = "Land the committed records of a Kafka topic as files, each record in exactly one."
EXIT_CODES = (
    "Exit code: 0 landed (--once) or told to end by SIGTERM, 3 brokers or store were away for too long (run it again:\n"
    "it goes on where it ended), 1 failed, 2 wrong usage, 130 interrupted before all had landed (--once)."
)
EXAMPLE = "antifraud land --topic reports --to history/reports --kafka-bootstrap broker:9092 --once"

AWAY, INTERRUPTED = 3, 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = f"{TEXT}\n\n{EXIT_CODES}"
    parser.add_argument("--topic", choices=("decisions", "reports"), required=True, help="what to land")
    parser.add_argument(
        "--to", required=True, metavar="ADDRESS", help="folder for the files: a path, s3://bucket/prefix or hdfs://..."
    )
    parser.add_argument("--once", action="store_true", help="land what is there by now and end")
    parser.add_argument("--kafka-bootstrap", metavar="HOST:PORT", help="brokers to ask first, with commas between")
    parser.add_argument("--landing-every", metavar="1m", help="longest wait of a record for its file to be closed")
    parser.add_argument("--landing-records", type=int, metavar="N", help="most records of a file")
    parser.add_argument("--landing-patience", metavar="5m", help="how long to wait for brokers or store; 0s: for ever")
    parser.add_argument("--landing-port", type=int, metavar="PORT", help="port of /health and /metrics; 0: a free one")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.training.landing import AwayError, land

    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        tally = land(
            options.topic,
            options.to,
            settings=settings_from(options),
            once=options.once,
            stop=stop,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except AwayError as error:
        print(f"antifraud: {error}", file=sys.stderr)
        return AWAY
    print(f"LANDED: {tally.render()}")
    return INTERRUPTED if options.once and stop.is_set() else 0
