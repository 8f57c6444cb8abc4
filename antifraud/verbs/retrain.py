"""`antifraud retrain`: what a scheduler runs to keep the champion young."""

import argparse
import sys
from typing import TYPE_CHECKING

from antifraud.options import add_common, add_history, add_training, settings_from

if TYPE_CHECKING:
    from model.training.retrain import RetrainOutcome

TEXT = "Train a challenger, hold it against the champion, promote it on evidence."
EXIT_CODES = (
    "Exit code: 0 promoted, 10 kept (the challenger is registered, the champion stays), 11 busy or overtaken (another\n"
    "run is at work, or moved the champion meanwhile), 1 failed, 2 wrong usage. With --leave-champion: 0 registered,\n"
    "whatever the gate says; 11 busy, 1 and 2."
)
EXAMPLE = "antifraud retrain --history history --id-key-file id.key"

PROMOTED, KEPT, BUSY, WAITING = 0, 10, 11, 0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = f"{TEXT}\n\n{EXIT_CODES}"
    add_history(parser, or_prepared=True)
    add_common(parser)
    parser.add_argument(
        "--kept-is-success", action="store_true", help="exit with 0 in place of 10 and 11, for simple schedulers"
    )
    parser.add_argument(
        "--leave-champion",
        action="store_true",
        help="train and judge only; `antifraud gate` says what was found, `antifraud promote` acts on it",
    )
    add_training(parser)
    parser.add_argument("--max-training-rows", type=int, metavar="N", help="from how many rows on to take a sample")
    parser.add_argument("--gate-alpha", type=float, metavar="0.05", help="error that the comparison allows")
    parser.add_argument("--gate-resamples", type=int, metavar="N", help="resamples of the bootstrap")
    parser.add_argument("--gate-recall-margin", type=float, metavar="0.005", help="loss of recall to be excluded")
    parser.add_argument(
        "--gate-fpr-tolerance", type=float, metavar="0.005", help="room above its budget for a false positive rate"
    )
    parser.add_argument(
        "--gate-require-improvement", action="store_true", default=None, help="promote only what is shown to be better"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb and return its exit code."""
    from model.registry import LockedError, LockLostError, registry_uri
    from model.training.retrain import retrain

    settings = settings_from(options)
    try:
        outcome = retrain(
            options.history,
            settings=settings,
            tracking_uri=registry_uri(settings),
            may_promote=not options.leave_champion,
        )
    except (LockedError, LockLostError) as error:
        print(f"antifraud: {error}", file=sys.stderr)
        code = BUSY
    else:
        print(told(outcome))
        code = {"promoted": PROMOTED, "kept": KEPT, "overtaken": BUSY, "waiting": WAITING}[outcome.verdict]
    return PROMOTED if options.kept_is_success else code


def told(outcome: "RetrainOutcome") -> str:
    """Return what a person wants to know of a run."""
    what = {
        "promoted": f"{outcome.model} is the champion now",
        "kept": f"{outcome.model} is registered; the champion, {outcome.champion}, stays",
        "overtaken": f"{outcome.model} is registered; another job moved the champion meanwhile",
        "waiting": f"{outcome.model} is registered and judged; `antifraud promote` acts on it",
    }[outcome.verdict]
    return "\n".join(
        (
            outcome.cleaning.render(),
            "",
            (outcome.report / "evaluation.txt").read_text(encoding="utf-8").rstrip(),
            "",
            *outcome.reasons,
            f"{str(outcome.verdict).upper()}: {what}; {outcome.statistics}",
            f"report: {outcome.report}",
        )
    )
