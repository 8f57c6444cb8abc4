"""`antifraud serve`: the champion over HTTP."""

import argparse

from antifraud.options import add_common, settings_from

TEXT = "Serve the champion over HTTP."
EXAMPLE = "antifraud serve --id-key-file id.key --port 8000"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_common(parser)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from service.server import serve

    return serve(settings_from(options))
