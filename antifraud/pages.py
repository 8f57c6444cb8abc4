"""Generated pages: printed, or compared with the file that holds them."""

import argparse
import sys
from pathlib import Path


def add_check(parser: argparse.ArgumentParser) -> None:
    """Add the option that compares."""
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare with a file instead of printing")


def print_or_compare(page: str, file: Path | None) -> int:
    """Print a generated page, or compare it with a file and return 1 if they differ."""
    if file is None:
        print(page, end="")
        return 0
    if file.read_text(encoding="utf-8") == page:
        return 0
    print(f"{file} is not what the code says: run `make docs`", file=sys.stderr)
    return 1
