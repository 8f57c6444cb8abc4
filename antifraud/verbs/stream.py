"""`antifraud stream`: the champion over a Kafka topic."""

import argparse

from antifraud.options import add_common, settings_from

TEXT = "Decide on the payments of a Kafka topic, each exactly once, and write the decisions to another."
EXAMPLE = "antifraud stream --id-key-file id.key --kafka-bootstrap broker:9092"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("--kafka-bootstrap", metavar="HOST:PORT", help="brokers to ask first, with commas between")
    parser.add_argument("--stream-input", metavar="TOPIC", help="topic of the payments")
    parser.add_argument("--stream-output", metavar="TOPIC", help="topic of the decisions")
    parser.add_argument("--stream-dead-letter", metavar="TOPIC", help="topic for what no decision can be made on")
    parser.add_argument("--stream-group", metavar="NAME", help="consumer group")
    parser.add_argument("--stream-member", metavar="NAME", help="name of this member; default: the host's")
    parser.add_argument("--stream-port", type=int, metavar="PORT", help="port of /health, /ready and /metrics")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from service.stream.run import run_stream

    return run_stream(settings_from(options))
