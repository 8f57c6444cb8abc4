"""`antifraud evaluate`: how good the product would have been, week after week, on a history."""

import argparse
from datetime import UTC, date, datetime
from pathlib import Path

from antifraud.options import add_common, add_history, add_training, address, settings_from

TEXT = "Walk forward through a history: train, choose cut-offs and test, as the product would have served it."
EXAMPLE = (
    "antifraud evaluate --history history --label-delay 1d --statistics-age 1h --report report --id-key-file id.key"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_history(parser, or_prepared=True)
    parser.add_argument(
        "--report",
        type=address,
        required=True,
        metavar="ADDRESS",
        help="folder for the report, a path or an address as of the history; what is finished stays there",
    )
    parser.add_argument("--no-register", action="store_true", help="keep the report out of the MLflow registry")
    parser.add_argument("--quick", action="store_true", help="without the table of label delays and statistics ages")
    parser.add_argument(
        "--until",
        type=_midnight,
        metavar="YYYY-MM-DD",
        help="leave out this day (UTC) and all after it: a final slice to look at once, at the end",
    )
    parser.add_argument("--folds", type=int, metavar="N", help="test periods; default: as many as fit, at most 4")
    parser.add_argument("--test-days", type=int, default=7, metavar="N", help="days of a test period; default: 7")
    parser.add_argument("--stride-days", type=int, metavar="N", help="from one test to the next; default: test days")
    parser.add_argument(
        "--resample-by",
        choices=("terminal", "customer", "day"),
        default="terminal",
        help="what is drawn again for intervals; default: terminal, where the longest runs of fraud are",
    )
    parser.add_argument("--resamples", type=int, default=400, metavar="N", help="draws for intervals; default: 400")
    add_common(parser)
    add_training(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import RegistryError, registry_uri
    from model.training.addresses import worked_on_here
    from model.training.walk_forward.folds import FoldPlan
    from model.training.walk_forward.measuring import Resampling
    from model.training.walk_forward.register import register
    from model.training.walk_forward.run import EvaluationPlan, evaluate_history

    settings = settings_from(options)
    stride = options.test_days if options.stride_days is None else options.stride_days
    plan = EvaluationPlan(
        folds=FoldPlan(options.folds, options.test_days, stride),
        resampling=Resampling(options.resample_by, options.resamples, settings.seed),
        until=options.until,
        quick=options.quick,
    )
    with worked_on_here(options.report, settings.work_folder) as report:
        document = evaluate_history(options.history, report, settings=settings, plan=plan)
        print((report / "evaluation.txt").read_text(encoding="utf-8"), end="")
        kept: str | RegistryError = ""
        if not options.no_register:
            try:
                kept = register(document, report, tracking_uri=registry_uri(settings))
            except RegistryError as error:
                kept = error  # said once the report is where it was asked for
    where = options.report / "evaluation.html" if isinstance(options.report, Path) else options.report
    print(f"\nreport: {where}")
    if isinstance(kept, RegistryError):
        raise kept
    if kept:
        print(f"kept in the registry as run {kept}")
    return 0


def _midnight(text: str) -> int:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a day as YYYY-MM-DD") from None
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
