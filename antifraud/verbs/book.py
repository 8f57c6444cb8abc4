"""`antifraud book`: the protocol of a public book, with its baselines and ours."""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from antifraud.options import add_history, address, settings_from

if TYPE_CHECKING:
    from model.settings import Settings

TEXT = "Run the protocol of a public book on a history: its baselines reproduced, ours beside them."
EXAMPLE = "antifraud book --history transactions.parquet --report book"
_OPEN_KEY = b"only groups rows; nothing keyed leaves this command"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_history(parser)
    parser.add_argument(
        "--report", type=address, required=True, metavar="ADDRESS", help="folder for book.json and book.md"
    )
    parser.add_argument(
        "--until", type=_day, metavar="YYYY-MM-DD", help="leave out this day and all later ones; default: none"
    )
    parser.add_argument(
        "--weeks", type=_weeks, default=4, metavar="N", help="test weeks, counted from the end; default: 4"
    )
    parser.add_argument("--threads", type=int, help="processor cores to use")
    parser.add_argument("--memory-limit", metavar="4GB", help="memory for preparation before it spills to disk")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.training.addresses import worked_on_here

    settings = settings_from(options)
    with worked_on_here(options.report, settings.work_folder) as report:
        _write_book(options, settings, report)
    print(f"report: {options.report / 'book.md' if isinstance(options.report, Path) else options.report}")
    return 0


def _write_book(options: argparse.Namespace, settings: "Settings", report: Path) -> None:
    import json
    import tempfile

    from model.training.book import STAGES, run_book
    from model.training.book_page import as_dict, render, render_markdown
    from model.training.book_protocol import Protocol
    from model.training.progress import Stages
    from model.transaction import IdHasher

    report.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="scratch-", dir=report) as scratch,
        Stages(STAGES, shown=True) as stages,
    ):
        comparison = run_book(
            options.history,
            settings=settings,
            hasher=IdHasher(_OPEN_KEY),
            scratch=Path(scratch),
            protocol=Protocol(weeks=options.weeks),
            until=options.until,
            begin=stages.begin,
        )
    figures = json.dumps(as_dict(comparison), indent=2, allow_nan=False)
    (report / "book.json").write_text(figures + "\n", encoding="utf-8")
    (report / "book.md").write_text(render_markdown(comparison), encoding="utf-8")
    print(render(comparison))


def _day(text: str) -> int:
    try:
        return int(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day as YYYY-MM-DD") from None


def _weeks(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 52:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 52")
    return int(text)
