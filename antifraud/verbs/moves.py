"""`antifraud moves`: who moved an alias, when, from which version to which, and why."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from antifraud.options import add_common, settings_from

if TYPE_CHECKING:
    from model.registry import Move

TEXT = "List the moves of the model's (or the statistics') aliases, newest first."
EXAMPLE = "antifraud moves --statistics"

_HEAD = ("when (UTC)", "alias", "from", "to", "who", "what became of it", "why")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--statistics", action="store_true", help="of the statistics instead of the model")
    parser.add_argument("--json", action="store_true", help="for machines: a list of objects")
    add_common(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import MODEL_NAME, STATISTICS_NAME, open_publisher, registry_uri

    publisher = open_publisher(registry_uri(settings_from(options)), create=False)
    name = STATISTICS_NAME if options.statistics else MODEL_NAME
    moves = publisher.moves(name)
    if options.json:
        print(json.dumps([_plain(move) for move in moves], indent=2))
    elif moves:
        print(_table([_HEAD, *(_row(move) for move in moves)]))
    else:
        print(f"no alias of {name} was ever moved")
    return 0


def _plain(move: "Move") -> dict[str, str | None]:
    return {
        "name": move.name,
        "alias": move.alias,
        "from": move.before,
        "to": move.after,
        "who": move.who,
        "why": move.why,
        "when": None if move.at is None else move.at.isoformat(),
        "state": str(move.state),
    }


def _row(move: "Move") -> tuple[str, ...]:
    when = "unknown" if move.at is None else f"{move.at:%Y-%m-%d %H:%M:%S}"
    return (when, move.alias, move.before or "-", move.after or "-", move.who, str(move.state), move.why)


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
