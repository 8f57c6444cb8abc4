"""`antifraud reasons`: the catalogue of reason codes."""

import argparse

from antifraud.pages import add_check, print_or_compare

TEXT = "Print the catalogue of reason codes."
EXAMPLE = "antifraud reasons >docs/reasons.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_check(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.reasons import catalogue

    return print_or_compare(catalogue(), options.check)
