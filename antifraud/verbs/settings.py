"""`antifraud settings`: every setting."""

import argparse

from antifraud.pages import add_check, print_or_compare

TEXT = "Print all settings."
EXAMPLE = "antifraud settings >docs/settings.md"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_check(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.settings_page import settings_page

    return print_or_compare(settings_page(), options.check)
