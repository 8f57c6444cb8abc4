"""`antifraud cutoffs`: what another budget would do, so that a bank can choose."""

import argparse
import tempfile
from pathlib import Path

from antifraud.options import address, settings_from

TEXT = "Show what other budgets would do in recall, payments stopped a day and money a month."
EXAMPLE = "antifraud cutoffs --report report --flagged-budget 0.03"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--report",
        type=address,
        metavar="ADDRESS",
        help="report of `antifraud evaluate` or of a training; default: that of the last training, in the work folder",
    )
    parser.add_argument("--flagged-budget", type=float, metavar="SHARE", help="ask about this review budget, 0 to 1")
    parser.add_argument("--declined-budget", type=float, metavar="SHARE", help="ask about this decline budget, 0 to 1")
    parser.add_argument("--monthly-loss-limit", type=float, metavar="MONEY", help="what fraud may cost a month")
    parser.add_argument("--work-folder", type=Path, metavar="DIR", help="folder for all that is made locally")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.training.addresses import fetched
    from model.training.walk_forward.budget_page import read_budgets, render_budgets

    settings = settings_from(options)
    with tempfile.TemporaryDirectory() as copy:
        given = settings.work_folder / "report" if options.report is None else options.report
        budgets = read_budgets(fetched(given, Path(copy)), called=given)
    asked = {
        kind: getattr(options, name)
        for kind, name in (("review", "flagged_budget"), ("decline", "declined_budget"))
        if getattr(options, name) is not None
    }
    print(render_budgets(budgets, settings=settings, asked=asked), end="")
    return 0
