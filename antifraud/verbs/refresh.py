"""`antifraud refresh`: what a scheduler runs every hour, so that answers rest on what is known by now."""

import argparse
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from antifraud.options import add_common, add_history, add_reports, settings_from

if TYPE_CHECKING:
    from model.training.refresh import RefreshOutcome

TEXT = "Add new payments and reports to the statistics and publish them."
EXIT_CODES = (
    "Exit code: 0 published or nothing to do, 11 busy (another refresh is at work; the next run makes up for it),\n"
    "1 failed (the statistics in use stay), 2 wrong usage."
)
EXAMPLE = "antifraud refresh --history history --as-of now --id-key-file id.key"

DONE, BUSY = 0, 11
HISTORY_END, NOW = "data", "now"
HOUR = 3600


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = f"{TEXT}\n\n{EXIT_CODES}"
    add_history(parser, or_prepared=True)
    parser.add_argument(
        "--as-of",
        type=_hour,
        default=HISTORY_END,
        metavar="WHEN",
        help="hour to add up for: data (default; the full hour after the last payment), now, or a time such as"
        " 2026-11-22T13:00:00Z, whose started hour is left out",
    )
    add_reports(parser)
    add_common(parser)
    parser.add_argument("--label-delay", metavar="1d", help="from a payment to its report where nobody gives its time")
    parser.add_argument("--longest-report-delay", metavar="30d", help="how long after a payment reports are waited for")
    parser.add_argument("--kept-statistics", type=int, metavar="N", help="versions that the registry keeps")
    parser.add_argument("--threads", type=int, help="processor cores to use")
    parser.add_argument("--memory-limit", metavar="4GB", help="memory before work spills to disk")


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import LockedError, registry_uri
    from model.training.refresh import RefreshBusyError, refresh

    settings = settings_from(options)
    try:
        outcome = refresh(
            options.history,
            settings=settings,
            tracking_uri=registry_uri(settings),
            as_of_hour=options.as_of,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    except (RefreshBusyError, LockedError) as error:
        print(f"antifraud: {error}", file=sys.stderr)
        return BUSY
    print(told(outcome))
    for note in outcome.notes:
        print(f"antifraud: {note}", file=sys.stderr)
    return DONE


def told(outcome: "RefreshOutcome") -> str:
    """Return what a person wants to know of a run."""
    from model.statistics import hour_text

    if outcome.from_prepared:
        lines = [f"{outcome.files_read:,} files of a prepared history"]
    else:
        lines = [f"{outcome.files_read:,} files new or changed, {outcome.files_gone:,} gone or changed"]
    if outcome.files_read:
        lines.append(outcome.cleaning.render())
    if outcome.too_old:
        lines.append(f"  {outcome.too_old:,} rows are older than any window and were left out")
    if outcome.reports.read:
        lines.append(f"  {outcome.reports.read:,} lines of reports, {outcome.reports.unusable:,} of them unusable")
    lines.append("took " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in outcome.seconds.items()))
    as_of = hour_text(outcome.as_of_hour)
    if outcome.verdict == "published":
        known = f"{outcome.customers:,} customers, {outcome.terminals:,} terminals"
        gone = f"; {outcome.pruned} old versions deleted" if outcome.pruned else ""
        lines.append(f"PUBLISHED: {outcome.statistics} is current, as of {as_of}: {known}{gone}")
    else:
        lines.append(f"UNCHANGED: nothing new; {outcome.statistics}, as of {as_of}, stays current")
    return "\n".join(lines)


def _hour(text: str) -> int | None:
    """Return the last full hour of a moment, hours since 1970; None where the history is to say."""
    if text == HISTORY_END:
        return None
    if text == NOW:
        return int(datetime.now().astimezone().timestamp()) // HOUR
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise argparse.ArgumentTypeError("must be data, now, or a time with its zone such as 2026-11-22T13:00:00Z")
    return int(moment.timestamp()) // HOUR
