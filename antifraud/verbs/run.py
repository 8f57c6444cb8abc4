"""`antifraud run`: the first five minutes."""

import argparse
from pathlib import Path

from antifraud.options import settings_from

TEXT = "Train if needed, serve, and show two example payments."
EXAMPLE = "antifraud run"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--history", type=Path, metavar="PATH", help="real history; default: a simulated small bank")
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")
    parser.add_argument("--work-folder", type=Path, metavar="DIR", help="folder for all that is made locally")
    parser.add_argument("--once", action="store_true", help="stop after the two example payments")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from antifraud import demo

    return demo.run(settings_from(options), history=options.history, once=options.once)
